#include "tokenizers/text_normalizer.h"

#include "tokenizers/byte_level.h"
#include "tokenizers/unicode.h"
#include "tokenizers/utf8.h"

namespace nibble {

namespace {

template <class Function>
std::string map_points(std::string_view text, const Function& each) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const utf8::Decoded c = utf8::decode(text);
    each(c.code, text.substr(0, c.length), out);
    text.remove_prefix(c.length);
  }
  return out;
}

std::string bert(const NormalizerStep& step, std::string text) {
  if (step.clean_text || step.chinese)
    text = map_points(text, [&](char32_t c, std::string_view spelled, std::string& out) {
      if (step.clean_text) {
        const bool space = unicode::is_whitespace(c);
        if (c == 0 || c == 0xfffd || (unicode::is_control(c) && !space)) return;
        if (space) {
          out += ' ';
          return;
        }
      }
      if (step.chinese && unicode::is_ideograph(c)) {
        out += ' ';
        out += spelled;
        out += ' ';
      } else {
        out += spelled;
      }
    });
  if (step.accents) text = unicode::strip_marks(unicode::normalize(text, unicode::Form::nfd), true);
  return step.lowercase ? unicode::lowercase(text) : text;
}

std::string strip(const NormalizerStep& step, std::string_view text) {
  while (step.left && !text.empty()) {
    const utf8::Decoded c = utf8::decode(text);
    if (!unicode::is_whitespace(c.code)) break;
    text.remove_prefix(c.length);
  }
  while (step.right && !text.empty()) {
    size_t last = text.size() - 1;
    while (last > 0 && (static_cast<unsigned char>(text[last]) & 0xc0) == 0x80) --last;
    if (!unicode::is_whitespace(utf8::decode(text.substr(last)).code)) break;
    text = text.substr(0, last);
  }
  return std::string(text);
}

std::string replace(const NormalizerStep& step, const std::vector<Regex>& regex, const std::string& text) {
  std::string out;
  size_t at = 0;
  if (!regex.empty()) {
    Regex::Matcher matcher(regex.front());
    Regex::Match m{};
    for (size_t from = 0; from <= text.size() && matcher.find(text, from, m);) {
      out.append(text, at, m.begin - at);
      out += step.content;
      at = from = m.end;
      if (m.begin == m.end)
        from += from < text.size() ? utf8::decode(std::string_view(text).substr(from)).length : 1;
    }
  } else if (!step.pattern.empty()) {
    for (size_t m = 0; (m = text.find(step.pattern, at)) != std::string::npos; at = m + step.pattern.size()) {
      out.append(text, at, m - at);
      out += step.content;
    }
  }
  return out.append(text, at);
}

// Unlike sentencepiece itself, tokenizers looks up whole grapheme clusters (of less than 6 bytes), then code
// points, and takes the first rule that is a prefix.
std::string precompiled(const Charsmap& map, std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::string_view cluster = text.substr(0, unicode::grapheme_length(text));
    text.remove_prefix(cluster.size());
    if (cluster.size() < 6) {
      if (const auto rule = map.shortest(cluster)) {
        out += rule->replacement;
        continue;
      }
    }
    out += map_points(cluster, [&](char32_t, std::string_view spelled, std::string& to) {
      const auto rule = map.shortest(spelled);
      to += rule ? rule->replacement : spelled;
    });
  }
  return utf8::lossy(out, utf8::Lossy::per_byte);  // a damaged map may hold anything
}

// sentencepiece's "nmt" clean-up: control characters go, odd spaces become spaces.
void nmt(char32_t c, std::string_view spelled, std::string& out) {
  const bool dropped = (c >= 0x01 && c <= 0x08) || c == 0x0b || (c >= 0x0e && c <= 0x1f) || c == 0x7f ||
                       c == 0x8f || c == 0x9f;
  const bool space = c == 0x09 || c == 0x0a || c == 0x0c || c == 0x0d || c == 0x1680 ||
                     (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                     c == 0xfeff || c == 0xfffd;
  if (!dropped) out += space ? " " : spelled;
}

}  // namespace

TextNormalizer::TextNormalizer(const std::vector<NormalizerStep>& steps) {
  for (const NormalizerStep& what : steps) {
    Step step{what, {}, {}};
    if (what.kind == NormalizerKind::replace && what.regex) step.regex.emplace_back(what.pattern);
    if (what.kind == NormalizerKind::precompiled) step.map.emplace_back(what.content, "precompiled_charsmap");
    steps_.push_back(std::move(step));
  }
}

std::string TextNormalizer::apply(const Step& step, std::string text) {
  switch (step.what.kind) {
    case NormalizerKind::nfc:
      return unicode::normalize(text, unicode::Form::nfc);
    case NormalizerKind::nfd:
      return unicode::normalize(text, unicode::Form::nfd);
    case NormalizerKind::nfkc:
      return unicode::normalize(text, unicode::Form::nfkc);
    case NormalizerKind::nfkd:
      return unicode::normalize(text, unicode::Form::nfkd);
    case NormalizerKind::lowercase:
      return unicode::lowercase(text);
    case NormalizerKind::strip_accents:
      return unicode::strip_marks(text, false);
    case NormalizerKind::bert:
      return bert(step.what, std::move(text));
    case NormalizerKind::prepend:
      return text.empty() ? text : step.what.content + text;
    case NormalizerKind::replace:
      return replace(step.what, step.regex, text);
    case NormalizerKind::strip:
      return strip(step.what, text);
    case NormalizerKind::precompiled:
      return precompiled(step.map.front(), text);
    case NormalizerKind::nmt:
      return map_points(text, nmt);
    case NormalizerKind::byte_level:
      return to_byte_level(text);
  }
  return text;
}

std::string TextNormalizer::run(std::string text) const {
  for (const Step& step : steps_) text = apply(step, std::move(text));
  return text;
}

}  // namespace nibble
