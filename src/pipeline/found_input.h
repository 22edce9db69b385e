#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "pipeline/stats_source.h"

namespace nibble {

/// Statistics of one part of a model, by the matrix that reads them; experts that saw too few tokens are
/// given those of all experts together.
class FoundInputs {
 public:
  void clear();
  void reset(std::vector<InputStats> inputs);
  /// Nothing where none were collected. Throws Error{bad_input} where they do not fit the matrix.
  const InputStats* seen(const CanonicalTensor& t) const;
  std::optional<KnownInput> find(const CanonicalTensor& t, int64_t expert);

 private:
  KnownInput known(const InputStats& s, const CanonicalTensor& t);
  KnownInput pooled(const CanonicalTensor& t, const InputStats* seen);

  std::vector<InputStats> inputs_;
  std::map<std::tuple<std::string, int64_t>, const InputStats*> index_;
  std::map<std::string, InputStats> pooled_;
  struct Columns {
    std::vector<float> importance, maxima;
  };
  std::map<const InputStats*, Columns> columns_;
};

}  // namespace nibble
