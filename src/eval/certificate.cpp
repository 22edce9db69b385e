#include "eval/certificate.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "containers/annotation.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const Estimate& e) { return {{"value", e.value}, {"standard_error", e.error}}; }

Estimate estimate_of(const Json& j) {
  return {j.at("value").get<double>(), j.at("standard_error").get<double>()};
}

Json json_of(const Certificate& c) {
  const bool chunks = c.protocol.kind == Protocol::Kind::chunks;
  Json protocol{{"kind", chunks ? "chunks" : "stride"}, {"context", c.protocol.context}};
  if (!chunks) protocol["stride"] = c.protocol.stride;
  if (c.protocol.max_windows > 0) protocol["max_windows"] = c.protocol.max_windows;
  return {{"nibble", c.version},
          {"weights_hash", c.weights_hash},
          {"reference_hash", c.reference_hash},
          {"text", {{"hash", c.text_hash}, {"bytes", c.text_bytes}}},
          {"protocol", protocol},
          {"scored_tokens", c.scored_tokens},
          {"perplexity", json_of(c.perplexity)},
          {"reference_perplexity", json_of(c.reference_perplexity)},
          {"kl_divergence",
           {{"mean", json_of(c.mean_kl)}, {"median", json_of(c.median_kl)}, {"p99", json_of(c.p99_kl)}}},
          {"same_top", json_of(c.same_top)}};
}

Certificate certificate_of(const Json& j) {
  Certificate c;
  c.version = j.at("nibble").get<std::string>();
  c.weights_hash = j.at("weights_hash").get<std::string>();
  c.reference_hash = j.at("reference_hash").get<std::string>();
  c.text_hash = j.at("text").at("hash").get<std::string>();
  c.text_bytes = j.at("text").at("bytes").get<uint64_t>();
  const Json& p = j.at("protocol");
  c.protocol.kind = p.at("kind") == "chunks" ? Protocol::Kind::chunks : Protocol::Kind::stride;
  c.protocol.context = p.at("context").get<int64_t>();
  if (p.contains("stride")) c.protocol.stride = p.at("stride").get<int64_t>();
  if (p.contains("max_windows")) c.protocol.max_windows = p.at("max_windows").get<int64_t>();
  c.scored_tokens = j.at("scored_tokens").get<int64_t>();
  c.perplexity = estimate_of(j.at("perplexity"));
  c.reference_perplexity = estimate_of(j.at("reference_perplexity"));
  c.mean_kl = estimate_of(j.at("kl_divergence").at("mean"));
  c.median_kl = estimate_of(j.at("kl_divergence").at("median"));
  c.p99_kl = estimate_of(j.at("kl_divergence").at("p99"));
  c.same_top = estimate_of(j.at("same_top"));
  return c;
}

[[noreturn]] void unreadable(const std::string& file, const nlohmann::json::exception& e) {
  fail(ErrorKind::bad_input, "{}: metadata '{}': expected nibble's certificates: {}", file, certificate_key,
       e.what());
}

}  // namespace

std::string Certificate::to_json() const { return json_of(*this).dump(); }

Certificate Certificate::from_json(const std::string& json, const std::string& file) {
  try {
    return certificate_of(Json::parse(json));
  } catch (const nlohmann::json::exception& e) {
    unreadable(file, e);
  }
}

std::string hash_weights(const Checkpoint& model, Progress& progress) {
  uint64_t total = 0;
  for (const CanonicalTensor& t : model.tensors()) total += t.source_bytes;
  progress.start("hashing", total, "B");
  Hasher hasher;
  for (const CanonicalTensor& t : model.tensors()) {
    check_interrupt();
    const std::string head = fmt::format("{} {} {}\n", t.name, t.shape.to_string(), t.format.to_string());
    hasher.update(std::as_bytes(std::span(head)));
    for (const StoredTensor* s : t.stored) {
      for (const Plane& p : s->view.planes) hasher.update(p.bytes);
    }
    if (!t.scale.empty()) hasher.update(std::as_bytes(std::span(t.scale)));
    model.release(t);
    progress.advance(t.source_bytes, t.name);
  }
  progress.finish();
  return hasher.hex();
}

std::vector<Certificate> certificates(const Checkpoint& model) {
  const auto text = annotation(model.file(), certificate_key);
  if (!text) return {};
  std::vector<Certificate> all;
  try {
    for (const Json& j : Json::parse(*text)) all.push_back(certificate_of(j));
  } catch (const nlohmann::json::exception& e) {
    unreadable(model.path(), e);
  }
  return all;
}

void certify(const Checkpoint& model, const Certificate& certificate) {
  Json all = Json::array();
  for (const Certificate& c : certificates(model)) {
    if (c.text_hash == certificate.text_hash && c.protocol == certificate.protocol) continue;
    if (c.weights_hash != certificate.weights_hash) continue;  // speaks of other weights
    all.push_back(json_of(c));
  }
  all.push_back(json_of(certificate));
  annotate(model.file(), std::string(certificate_key), all.dump());
}

}  // namespace nibble
