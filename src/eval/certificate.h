#pragma once

#include <string>
#include <vector>

#include "base/progress.h"
#include "eval/divergence.h"
#include "eval/protocol.h"
#include "model/checkpoint.h"

namespace nibble {

/// What was measured of a model beside its original on one text: kept in the model's own file, so that
/// whoever receives it knows what was lost, and can measure it again.
struct Certificate {
  std::string version;         ///< of nibble
  std::string weights_hash;    ///< of the measured model (hash_weights)
  std::string reference_hash;  ///< of the original
  std::string text_hash;       ///< of the text's bytes (Hasher)
  uint64_t text_bytes = 0;
  Protocol protocol;
  int64_t scored_tokens = 0;
  Estimate perplexity, reference_perplexity;
  Estimate mean_kl, median_kl, p99_kl;  ///< nats per token
  Estimate same_top;                    ///< share in [0, 1]

  std::string to_json() const;
  /// Throws Error{bad_input}, naming `file`, for text that is no certificate.
  static Certificate from_json(const std::string& json, const std::string& file);
};

/// The key they stand under: a JSON array, in the first file of the checkpoint.
inline constexpr std::string_view certificate_key = "nibble.certificates";

/// Hash of a model's tensors: names, shapes, formats and bytes, in the order of the forward pass, and of
/// nothing else, so that metadata may change. The same weights in GGUF and in a folder hash differently.
std::string hash_weights(const Checkpoint& model, Progress& progress);

/// Throws Error{bad_input} for a file whose certificates cannot be read.
std::vector<Certificate> certificates(const Checkpoint& model);

/// Stores a certificate, in place of an earlier one for the same text and protocol. Throws as annotate.
void certify(const Checkpoint& model, const Certificate& certificate);

}  // namespace nibble
