#include "formats/iq4.h"

#include "formats/super_search.h"

namespace nibble {
namespace {

struct Iq4Grid {
  static constexpr float low = iq4_values.front(), high = iq4_values.back();
  static lanes::F4 nearest(lanes::F4 u) noexcept {
    using namespace lanes;
    F4 v = splat(iq4_values[0]);
    for (size_t k = 1; k < 16; ++k) {
      const F4 middle = splat(0.5f * static_cast<float>(iq4_values[k - 1] + iq4_values[k]));
      v += u > middle ? splat(static_cast<float>(iq4_values[k] - iq4_values[k - 1])) : F4{};
    }
    return v;
  }
};

constexpr fitting::ScaleStarts starts{80.0f, 160.0f, 4.0f, true};

}  // namespace

IQ4_NL::Params IQ4_NL::fit(const float* x, const float* importance) {
  const uint16_t stored = fitting::fit_f16_scale<32>(Iq4Grid{}, starts, 1, x, importance);
  const float d = f16_to_f32(stored);
  return {d, fitting::reciprocal(d), stored};
}

IQ4_XS::Params IQ4_XS::fit(const float* x, const float* importance) {
  static constexpr int candidates[] = {-32, 31, -31, 30, -30, 29, -29, 28, -28};
  fitting::ScaleSuperSearch<32, 8, Iq4Grid> search({}, starts, -32, 31, x, importance);
  const auto found = search.run(candidates, 0.05f);
  Params p{{}, {}, found.d, {}};
  for (int j = 0; j < 8; ++j) {
    p.scale_code[j] = found.scale[j];
    p.scale[j] = f16_to_f32(found.d) * static_cast<float>(found.scale[j]);
    p.inverse[j] = fitting::reciprocal(p.scale[j]);
  }
  return p;
}

}  // namespace nibble
