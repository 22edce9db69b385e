#include "formats/iq4.h"

namespace nibble {

using fitting::FourLanes;

// Four times the same block costs as much as one.
IQ4_NL::Params IQ4_NL::fit(const float* x, const float* importance) {
  Params found[FourLanes::width];
  fit_lanes<FourLanes>({{x, x, x, x}, {importance, importance, importance, importance}}, found);
  return found[0];
}

IQ4_XS::Params IQ4_XS::fit(const float* x, const float* importance) {
  return fit_with<FourLanes>(x, importance);
}

}  // namespace nibble
