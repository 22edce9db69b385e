#include "kernels/kv_format.h"

#include <string>

#include "base/error.h"

namespace nibble {

#define KV_FORMAT(name) extern const KvFormat kv_##name;
#include "kernels/kv/list.inc"
#undef KV_FORMAT

std::span<const KvFormat* const> kv_formats() {
  static const KvFormat* const all[] = {
#define KV_FORMAT(name) &kv_##name,
#include "kernels/kv/list.inc"
#undef KV_FORMAT
  };
  return all;
}

const KvFormat* find_kv_format(std::string_view word) {
  for (const KvFormat* f : kv_formats()) {
    if (f->word == word) return f;
  }
  return nullptr;
}

const KvFormat& kv_format_of(std::string_view word) {
  if (const KvFormat* f = find_kv_format(word); f != nullptr) return *f;
  std::string words;
  for (const KvFormat* f : kv_formats()) words += (words.empty() ? "" : ", ") + std::string(f->word);
  throw Error(ErrorKind::usage, fmt::format("keys and values cannot be kept as '{}'", word),
              "one of " + words);
}

}  // namespace nibble
