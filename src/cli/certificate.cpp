#include "cli/certificate.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/hash.h"
#include "cli/text_input.h"

namespace nibble::cli {
namespace {

std::string text_hash(const std::string& text) { return hash_hex(std::as_bytes(std::span(text))); }

void print_one(const Certificate& c) {
  const auto line = [](std::string_view name, const Estimate& e, double scale, std::string_view unit) {
    fmt::print("  {:<28} {:>12.6f} ± {:.6f}{}\n", name, e.value * scale, e.error * scale, unit);
  };
  fmt::print("\ncertificate (nibble {}): {}, {} tokens scored\n", c.version, c.protocol.to_string(),
             c.scored_tokens);
  fmt::print("  {:<28} {} ({} bytes)\n  {:<28} {}\n  {:<28} {}\n", "text", c.text_hash, c.text_bytes,
             "original's weights", c.reference_hash, "these weights", c.weights_hash);
  line("KL divergence, mean", c.mean_kl, 1, " nats/token");
  line("KL divergence, median", c.median_kl, 1, "");
  line("KL divergence, 99 %", c.p99_kl, 1, "");
  line("same top token", c.same_top, 100, " %");
  line("perplexity", c.perplexity, 1, "");
  line("perplexity of the original", c.reference_perplexity, 1, "");
}

void measure_again(const Checkpoint& model, const Certificate& c, const std::string& text,
                   const Checkpoint& reference, const Common& common) {
  const Scoring s = score({model}, &reference, text, c.protocol, common);
  const double kl = s.results.front().mean_kl().value;
  const double perplexity = s.results.front().perplexity().value;
  fmt::print("  measured again: KL divergence {:.6f}, perplexity {:.6f}\n", kl, perplexity);
  if (std::fabs(kl - c.mean_kl.value) > std::max(1e-6, 0.01 * c.mean_kl.value) ||
      std::fabs(perplexity - c.perplexity.value) > 0.001 * c.perplexity.value) {
    fail(ErrorKind::bad_input, "{}: the certificate says {:.6f} and {:.6f}: it does not hold", model.path(),
         c.mean_kl.value, c.perplexity.value);
  }
}

}  // namespace

void write_certificate(const Checkpoint& model, const Checkpoint& reference, const std::string& text,
                       const Protocol& protocol, const Divergence& scores, const Common& common) {
  Progress progress(common.progress_style());
  Certificate c;
  c.version = NIBBLE_VERSION;
  c.weights_hash = hash_weights(model, progress);
  c.reference_hash = hash_weights(reference, progress);
  c.text_hash = text_hash(text);
  c.text_bytes = text.size();
  c.protocol = protocol;
  c.scored_tokens = scores.tokens();
  c.perplexity = scores.perplexity();
  c.reference_perplexity = scores.reference_perplexity();
  c.mean_kl = scores.mean_kl();
  c.median_kl = scores.kl_quantile(0.5);
  c.p99_kl = scores.kl_quantile(0.99);
  c.same_top = scores.same_top();
  certify(model, c);
}

void print_certificates(const Checkpoint& model) {
  for (const Certificate& c : certificates(model)) print_one(c);
}

void check_certificates(const Checkpoint& model, const CertificateCheck& check, const Common& common) {
  const auto all = certificates(model);
  if (all.empty()) {
    throw Error(ErrorKind::bad_input, fmt::format("{} carries no certificate", model.path()),
                "nibble eval --certify stores one");
  }
  Progress progress(common.progress_style());
  const std::string weights = hash_weights(model, progress);
  for (const Certificate& c : all) {
    if (c.weights_hash != weights) {
      fail(ErrorKind::bad_input, "{}: its weights hash to {}, but {} was certified: they were changed",
           model.path(), weights, c.weights_hash);
    }
  }
  fmt::print("\n{}: the weights are the certified ones\n", model.path());
  if (check.text.empty()) return;
  const Checkpoint reference = open_checkpoint(check.against);
  const std::string text = read_text(check.text);
  const std::string hash = text_hash(text);
  const std::string original = hash_weights(reference, progress);
  bool found = false;
  for (const Certificate& c : all) {
    if (c.text_hash != hash) continue;
    if (c.reference_hash != original) {
      fail(ErrorKind::bad_input, "{} hashes to {}, but the certificate is against {}: another original",
           check.against, original, c.reference_hash);
    }
    found = true;
    measure_again(model, c, text, reference, common);
  }
  if (!found) {
    fail(ErrorKind::bad_input, "{}: no certificate speaks of this text, which hashes to {}", check.text,
         hash);
  }
}

}  // namespace nibble::cli
