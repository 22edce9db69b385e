#include "containers/annotation.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/interrupt.h"
#include "containers/byte_reader.h"
#include "containers/gguf.h"
#include "containers/safetensors.h"
#include "containers/tensor_sink.h"

namespace nibble {
namespace {

constexpr uint64_t copy_chunk = uint64_t{4} << 20;

/// A file's bytes, cut where its tensors begin.
struct Split {
  std::vector<std::byte> header;  ///< the new one
  uint64_t body = 0;              ///< where the tensors stand in the old file
};

template <class T>
void append_number(std::vector<std::byte>& out, T v) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&v);
  out.insert(out.end(), bytes, bytes + sizeof v);
}

void pad(std::vector<std::byte>& out, uint64_t alignment, std::byte with) {
  out.resize((out.size() + alignment - 1) / alignment * alignment, with);
}

Split split_gguf(const MappedFile& file, const std::string& key, const std::string& text) {
  TensorListing listing = parse_gguf(file.data(), file.path());
  // Everything between the last key and the tensors is copied: walk over it to find where it ends.
  ByteReader in(file.data(), file.path(), gguf_keys_at);
  for (const GgufKv& kv : listing.gguf) in.take(kv.encoded_size(), "a key");
  const uint64_t infos = in.offset();
  for (size_t t = 0; t < listing.tensors.size(); ++t) {
    in.take(in.number<uint64_t>("a name's length"), "a name");
    in.take(uint64_t{8} * in.number<uint32_t>("a number of dimensions") + 12, "a tensor's entry");
  }
  const uint64_t infos_end = in.offset();

  const auto found =
      std::find_if(listing.gguf.begin(), listing.gguf.end(), [&](const GgufKv& kv) { return kv.key == key; });
  if (found != listing.gguf.end()) {
    *found = GgufKv::text(key, text);
  } else {
    listing.gguf.push_back(GgufKv::text(key, text));
  }
  Split s;
  const auto old = file.data();
  s.header.assign(old.begin(), old.begin() + gguf_keys_at);
  const auto count = static_cast<uint64_t>(listing.gguf.size());
  std::memcpy(s.header.data() + gguf_keys_at - sizeof count, &count, sizeof count);
  for (const GgufKv& kv : listing.gguf) kv.encode(s.header);
  s.header.insert(s.header.end(), old.begin() + static_cast<std::ptrdiff_t>(infos),
                  old.begin() + static_cast<std::ptrdiff_t>(infos_end));
  const auto alignment = static_cast<uint64_t>(
      listing.metadata.integer("general.alignment").value_or(static_cast<int64_t>(gguf_default_alignment)));
  s.body = std::min<uint64_t>(old.size(), (infos_end + alignment - 1) / alignment * alignment);
  pad(s.header, alignment, std::byte{0});
  return s;
}

Split split_safetensors(const MappedFile& file, const std::string& key, const std::string& text) {
  parse_safetensors(file.data(), file.path());  // after this the header is known to be sound
  ByteReader in(file.data(), file.path());
  const auto length = in.number<uint64_t>("the header's length");
  auto json = nlohmann::ordered_json::parse(in.text(length, "the header"));
  nlohmann::ordered_json described = nlohmann::ordered_json::object();
  if (json.contains("__metadata__")) described = json["__metadata__"];
  described[key] = text;
  json.erase("__metadata__");
  nlohmann::ordered_json all{{"__metadata__", described}};
  all.update(json);
  std::string header = all.dump();
  header.resize((header.size() + 7) / 8 * 8, ' ');
  Split s;
  s.body = in.offset();
  append_number(s.header, static_cast<uint64_t>(header.size()));
  const auto* bytes = reinterpret_cast<const std::byte*>(header.data());
  s.header.insert(s.header.end(), bytes, bytes + header.size());
  return s;
}

}  // namespace

std::optional<std::string> annotation(const TensorFile& file, std::string_view key) {
  if (file.kind() == "gguf") return file.metadata().text(key);
  if (file.kind() != "safetensors") return std::nullopt;
  return open_safetensors(file.files().front()).metadata().text(key);
}

void annotate(const TensorFile& file, const std::string& key, const std::string& text) {
  const MappedFile old(file.files().front());
  Split s;
  if (file.kind() == "gguf") {
    s = split_gguf(old, key, text);
  } else if (file.kind() == "safetensors") {
    s = split_safetensors(old, key, text);
  } else {
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: a {} file cannot carry notes", old.path(), file.kind()),
                "convert it to safetensors or GGUF: nibble convert");
  }
  const auto body = old.data().subspan(s.body);
  OutputPlan plan;
  plan.places.push_back({{0, s.header.size(), body.size()}});
  plan.files.push_back({old.path(), std::move(s.header), 0});
  plan.files.back().size = plan.files.back().header.size() + body.size();
  TensorSink sink(std::move(plan));
  try {
    for (uint64_t at = 0; at < body.size(); at += copy_chunk) {
      check_interrupt();
      sink.write(0, 0, at, body.subspan(at, std::min<uint64_t>(copy_chunk, body.size() - at)));
      old.release(s.body + at, copy_chunk);
    }
  } catch (...) {
    sink.discard();
    throw;
  }
  sink.finish();
}

}  // namespace nibble
