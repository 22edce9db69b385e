#include "ops/kv_layer.h"

#include "base/error.h"

namespace nibble {
namespace {

constexpr std::string_view rotated_mark = ":rotated", plain_mark = ":plain";

bool take_mark(std::string_view& word, std::string_view mark) {
  if (!word.ends_with(mark)) return false;
  word.remove_suffix(mark.size());
  return true;
}

}  // namespace

KvStorage KvStorage::parse(std::string_view word) {
  const bool rotated = take_mark(word, rotated_mark);
  const bool plain = !rotated && take_mark(word, plain_mark);
  const KvFormat& format = kv_format_of(word);
  return {&format, rotated || (format.rotates && !plain)};
}

std::string KvStorage::to_string() const {
  std::string word(format->word);
  if (rotated != format->rotates) word += rotated ? rotated_mark : plain_mark;
  return word;
}

KvStorages KvStorages::parse(std::string_view words) {
  if (words.find('=') == std::string_view::npos) {
    const KvStorage both = KvStorage::parse(words);
    return {both, both};
  }
  KvStorages all;
  while (!words.empty()) {
    const size_t comma = words.find(',');
    const std::string_view part = words.substr(0, comma);
    words = comma == std::string_view::npos ? std::string_view{} : words.substr(comma + 1);
    const bool key = part.starts_with("k="), value = part.starts_with("v=");
    KvStorage& one = key ? all.k : all.v;
    if ((!key && !value) || one.format != nullptr)
      throw Error(ErrorKind::usage,
                  fmt::format("'{}' says neither what keys nor what values are kept as", part),
                  "write q8_0 for both, or k=q8_0,v=q4_0");
    one = KvStorage::parse(part.substr(2));
  }
  if (all.k.format == nullptr || all.v.format == nullptr)
    throw Error(ErrorKind::usage,
                fmt::format("nothing is said of {}", all.k.format == nullptr ? "keys" : "values"),
                "write q8_0 for both, or k=q8_0,v=q4_0");
  return all;
}

std::string KvStorages::to_string() const {
  return k == v ? k.to_string() : "k=" + k.to_string() + ",v=" + v.to_string();
}

}  // namespace nibble
