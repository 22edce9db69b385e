#pragma once

#include "ops/op.h"

namespace nibble {

/// Angles of rotary position embedding (Su et al. 2021): pair j of a head turns by position * frequency[j].
struct RopeTable {
  std::vector<double> frequency;       ///< one per pair
  std::vector<double> long_frequency;  ///< used where the context exceeds `long_from`; empty: never
  int64_t long_from = 0;
  double magnitude = 1;  ///< factor on the rotated entries
};

/// theta^(-2j / dim), j < dim / 2
std::vector<double> rope_frequencies(int64_t dim, double theta);
/// Linear interpolation (Chen et al. 2023).
void rope_scale_linear(std::vector<double>& frequency, double factor);
/// Divides each frequency by its own factor (LongRoPE; GGUF's rope_freqs). Throws Error{bad_input} if the
/// counts differ or a factor is not positive.
void rope_divide(std::vector<double>& frequency, std::span<const double> factors);
/// Llama 3.1's factors: long waves are stretched by `factor`, short ones not.
std::vector<double> rope_llama3_factors(std::span<const double> frequency, double factor, double low_freq,
                                        double high_freq, double original_context);
/// YaRN (Peng et al. 2023): pairs that turn less than beta_slow times within the original context are
/// interpolated, those above beta_fast are not.
void rope_scale_yarn(std::vector<double>& frequency, double theta, double factor, double original_context,
                     double beta_fast, double beta_slow);

/// Rotates the heads of each row by the positions of the batch.
extern const Op rope_op;

struct RopeAttributes {
  std::shared_ptr<const RopeTable> table;
  int64_t head_dim = 0;
  bool interleaved = false;  ///< pairs (2j, 2j + 1); else (j, j + dim / 2) of the first `dim` entries
};

}  // namespace nibble
