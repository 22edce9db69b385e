#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nibble {

/// How rotary positions are stretched beyond the trained context.
enum class RopeScaling : uint8_t { none, linear, yarn, llama3, longrope };

enum class Activation : uint8_t { silu, gelu_tanh, gelu_erf, relu };

/// Hyper-parameters of a model in nibble's own terms, whatever file they came from. Zero means "does not
/// apply".
struct Hparams {
  int64_t vocab = 0;
  int64_t hidden = 0;  ///< width of the residual stream
  int64_t layers = 0;
  int64_t context = 0;  ///< trained context in tokens
  int64_t heads = 0;
  int64_t kv_heads = 0;  ///< = heads without grouped-query attention
  int64_t head_dim = 0;  ///< of keys, queries and values
  int64_t ffn = 0;       ///< inner width of the dense feed-forward block
  double norm_eps = 1e-5;

  int64_t rope_dim = 0;  ///< leading entries of a head that rotate; = head_dim when all do
  double rope_theta = 10000;
  double rope_theta_local = 0;  ///< of sliding-window layers where it differs (Gemma 3)
  RopeScaling rope_scaling = RopeScaling::none;
  double rope_factor = 1;
  int64_t rope_original_context = 0;
  double rope_low_freq = 1, rope_high_freq = 4;    ///< llama3
  double rope_attn_factor = 0;                     ///< yarn and longrope magnitude; 0: the method's default
  double rope_beta_fast = 32, rope_beta_slow = 1;  ///< yarn
  std::vector<double> rope_long, rope_short;       ///< longrope, rope_dim / 2 entries each

  int64_t window = 0;  ///< sliding window in tokens; 0: full attention
  int64_t window_every =
      0;  ///< n > 1: of each n layers the last one attends fully; 0: every layer uses the window
  double attn_softcap = 0;  ///< scores become cap * tanh(score / cap)
  double logit_softcap = 0;
  double query_scale = 0;      ///< factor on scores; 0: 1 / sqrt(head_dim)
  double embedding_scale = 1;  ///< factor on the token embedding

  int64_t experts = 0;
  int64_t experts_used = 0;
  int64_t expert_ffn = 0;
  bool experts_renormalize = true;  ///< weights of the chosen experts sum to one

  int64_t position_offset = 0;  ///< added to positions before a learned position embedding is read (OPT: 2)
  int64_t token_types = 0;      ///< BERT segment embeddings
  bool parallel_residual = false;
  std::optional<Activation> activation;  ///< of the feed-forward block where it is not the table's
  bool tied = false;                     ///< the output matrix is the token embedding
};

}  // namespace nibble
