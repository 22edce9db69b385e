#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "methods/transforms/channel_scales.h"

namespace nibble {

/// A matrix that reads an input, wherever its weights are.
struct InputReader {
  const Format& format;  ///< what it will be rounded to
  int64_t rows = 0;
  /// Rows [row, row + n) as f32: n * cols numbers.
  std::function<void(int64_t row, int64_t n, float* out)> read;
};

/// The scales of an input's channels, and a word about them for the ledger.
struct ChannelChoice {
  std::vector<float> scale;  ///< [cols], positive; empty: scaling gains nothing
  std::string note;
};

/// A way to scale the channels of inputs (channel_scales.h) so that what follows loses less.
class ChannelTransform {
 public:
  virtual ~ChannelTransform() = default;
  virtual std::string_view name() const noexcept = 0;
  virtual std::string_view summary() const noexcept = 0;
  virtual Needs needs() const noexcept = 0;
  /// Does not depend on the threads. Throws Error{bad_input} for statistics that are missing or do not fit.
  virtual ChannelChoice choose(std::span<const InputReader> readers, const Stats& stats,
                               ThreadPool& pool) const = 0;
};

/// Every one, in the order of list.inc.
std::span<const ChannelTransform* const> channel_transforms();
/// Null if there is none of that name.
const ChannelTransform* find_channel_transform(std::string_view name);

}  // namespace nibble
