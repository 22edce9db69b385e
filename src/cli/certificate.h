#pragma once

#include <string>

#include "cli/scoring.h"
#include "eval/certificate.h"

namespace nibble::cli {

/// Stores what was measured of `model` beside `reference` on `text` in the model's file.
void write_certificate(const Checkpoint& model, const Checkpoint& reference, const std::string& text,
                       const Protocol& protocol, const Divergence& scores, const Common& common);

void print_certificates(const Checkpoint& model);

/// What a certificate is held against.
struct CertificateCheck {
  std::string text;     ///< path; empty: only whether the weights are the certified ones
  std::string against;  ///< the original, needed to measure again
};

/// Checks the certificates of a model: are its weights the ones that were measured, and, with text and
/// original, do the figures come out again (within 1 % or 1e-6 nats: other instruction sets add in another
/// order). Prints what it finds. Throws Error{bad_input} where a certificate does not hold.
void check_certificates(const Checkpoint& model, const CertificateCheck& check, const Common& common);

}  // namespace nibble::cli
