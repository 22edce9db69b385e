#include <cmath>

#include "model/program.h"
#include "ops/rope.h"

namespace nibble {

bool layer_is_local(const Hparams& hparams, int64_t layer) {
  if (hparams.window <= 0) return false;
  return hparams.window_every <= 1 || (layer + 1) % hparams.window_every != 0;
}

RopeTable rope_table(const Hparams& hparams, bool local, const RopeFactors& factors) {
  RopeTable table;
  if (local && hparams.rope_theta_local > 0) {  // these layers never see far enough to be stretched
    table.frequency = rope_frequencies(hparams.rope_dim, hparams.rope_theta_local);
    return table;
  }
  table.frequency = rope_frequencies(hparams.rope_dim, hparams.rope_theta);
  if (!factors.all.empty()) {
    rope_divide(table.frequency, factors.all);
    return table;
  }
  const auto original = static_cast<double>(hparams.rope_original_context > 0 ? hparams.rope_original_context
                                                                              : hparams.context);
  const double factor = hparams.rope_factor;
  switch (hparams.rope_scaling) {
    case RopeScaling::none:
      break;
    case RopeScaling::linear:
      rope_scale_linear(table.frequency, factor);
      break;
    case RopeScaling::llama3:
      rope_divide(table.frequency, rope_llama3_factors(table.frequency, factor, hparams.rope_low_freq,
                                                       hparams.rope_high_freq, original));
      break;
    case RopeScaling::yarn:
      rope_scale_yarn(table.frequency, hparams.rope_theta, factor, original, hparams.rope_beta_fast,
                      hparams.rope_beta_slow);
      table.magnitude = hparams.rope_attn_factor > 0 ? hparams.rope_attn_factor
                                                     : (factor > 1 ? 0.1 * std::log(factor) + 1 : 1.0);
      break;
    case RopeScaling::longrope: {
      const auto& far = factors.long_context.empty() ? hparams.rope_long : factors.long_context;
      const auto& near = factors.short_context.empty() ? hparams.rope_short : factors.short_context;
      table.long_frequency = table.frequency;
      table.long_from = static_cast<int64_t>(original);
      rope_divide(table.long_frequency, far);
      rope_divide(table.frequency, near);
      const double stretch = static_cast<double>(hparams.context) / original;
      if (hparams.rope_attn_factor > 0) {
        table.magnitude = hparams.rope_attn_factor;
      } else if (stretch > 1) {
        table.magnitude = std::sqrt(1 + std::log(stretch) / std::log(original));
      }
      break;
    }
  }
  return table;
}

}  // namespace nibble
