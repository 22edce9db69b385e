#include "tokenizers/pre_tokenizer.h"

#include "base/error.h"
#include "tokenizers/byte_level.h"
#include "tokenizers/unicode.h"
#include "tokenizers/utf8.h"

namespace nibble {

const char* const gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

bool is_ascii_punctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

bool is_punctuation(char32_t c) { return is_ascii_punctuation(c) || unicode::is_punctuation(c); }

void split_triples(const PreTokenizer::Word& word, std::vector<PreTokenizer::Word>& out) {
  const std::string_view text = word.text;
  const auto put = [&](size_t begin, size_t end) {
    if (end > begin) out.push_back({text.substr(begin, end - begin), word.first && begin == 0});
  };
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    std::vector<size_t> ends;  // of the digits of this run
    size_t end = at;
    while (end < text.size()) {
      const utf8::Decoded c = utf8::decode(text.substr(end));
      if (!unicode::is_number(c.code)) break;
      end += c.length;
      ends.push_back(end);
    }
    if (ends.empty()) {
      at += utf8::decode(text.substr(at)).length;
      continue;
    }
    put(begin, at);
    begin = at;
    const size_t lead = ends.size() % 3;
    for (size_t i = lead == 0 ? 3 : lead; i <= ends.size(); i += 3) {
      put(begin, ends[i - 1]);
      begin = ends[i - 1];
    }
    at = end;
  }
  put(begin, text.size());
}

}  // namespace

PreTokenizer::PreTokenizer(const std::vector<PreTokenizerStep>& steps) {
  const auto add = [&](const PreTokenizerStep& what) {
    Step step{what, std::nullopt};
    if (what.kind == PreTokenizerKind::split && what.regex) step.regex.emplace(what.pattern);
    if (what.kind == PreTokenizerKind::whitespace) {  // what matches is kept, the rest goes
      step.regex.emplace(R"([\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}]+|[^\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\s]+)");
      step.what.behavior = SplitBehavior::removed;
      step.what.invert = true;
    }
    if (what.kind == PreTokenizerKind::byte_level && what.use_regex) step.regex.emplace(gpt2_pattern);
    steps_.push_back(std::move(step));
  };
  for (const PreTokenizerStep& what : steps) {
    if (what.kind == PreTokenizerKind::bert) {  // whitespace goes, punctuation stands alone
      PreTokenizerStep part;
      part.kind = PreTokenizerKind::whitespace_split;
      add(part);
      part.kind = PreTokenizerKind::punctuation;
      add(part);
    } else {
      add(what);
    }
  }
  spells_bytes_ = !steps_.empty() && steps_.back().what.kind == PreTokenizerKind::byte_level;
}

std::vector<PreTokenizer::Range> PreTokenizer::ranges(const Step& step, std::string_view text,
                                                      Regex::Matcher* matcher) {
  std::vector<Range> found;
  size_t at = 0;  // end of the last range
  const auto match = [&](size_t begin, size_t end) {
    if (begin > at) found.push_back({at, begin, false});
    found.push_back({begin, end, true});
    at = end;
  };
  if (matcher != nullptr) {
    Regex::Match m{};
    for (size_t from = 0; from <= text.size() && matcher->find(text, from, m);) {
      match(m.begin, m.end);
      from = m.end;
      if (m.begin == m.end) from += from < text.size() ? utf8::decode(text.substr(from)).length : 1;
    }
  } else if (step.what.kind == PreTokenizerKind::split) {
    for (size_t m = 0;
         !step.what.pattern.empty() && (m = text.find(step.what.pattern, at)) != std::string_view::npos;)
      match(m, m + step.what.pattern.size());
  } else {
    const std::string& delimiter = step.what.replacement;
    const auto is_match = [&](char32_t c, std::string_view spelled) {
      switch (step.what.kind) {
        case PreTokenizerKind::digits:
          return unicode::is_number(c);
        case PreTokenizerKind::punctuation:
          return is_punctuation(c);
        case PreTokenizerKind::delimiter:
          return spelled == delimiter;
        default:
          return unicode::is_whitespace(c);
      }
    };
    for (size_t i = 0; i < text.size();) {
      const utf8::Decoded c = utf8::decode(text.substr(i));
      if (is_match(c.code, text.substr(i, c.length))) match(i, i + c.length);
      i += c.length;
    }
  }
  if (at < text.size()) found.push_back({at, text.size(), false});
  return found;
}

void PreTokenizer::cut(const Step& step, const std::vector<Word>& in, std::vector<Word>& out) {
  SplitBehavior behavior = step.what.behavior;
  switch (step.what.kind) {
    case PreTokenizerKind::byte_level:
      behavior = SplitBehavior::isolated;
      break;
    case PreTokenizerKind::digits:
      behavior = step.what.individual ? SplitBehavior::isolated : SplitBehavior::contiguous;
      break;
    case PreTokenizerKind::delimiter:
    case PreTokenizerKind::whitespace_split:
      behavior = SplitBehavior::removed;
      break;
    default:
      break;
  }
  std::optional<Regex::Matcher> matcher;
  if (step.regex) matcher.emplace(*step.regex);
  for (const Word& word : in) {
    std::vector<Range> parts = ranges(step, word.text, matcher ? &*matcher : nullptr);
    if (step.what.invert)
      for (Range& part : parts) part.match = !part.match;
    std::vector<Range> kept;
    bool previous = false;  // whether the range before was a match
    switch (behavior) {
      case SplitBehavior::isolated:
        kept = std::move(parts);
        break;
      case SplitBehavior::removed:
        for (const Range& part : parts)
          if (!part.match) kept.push_back(part);
        break;
      case SplitBehavior::contiguous:
        for (const Range& part : parts) {
          if (!kept.empty() && kept.back().match == part.match)
            kept.back().end = part.end;
          else
            kept.push_back(part);
        }
        break;
      case SplitBehavior::merged_with_previous:
        for (const Range& part : parts) {
          if (part.match && !previous && !kept.empty())
            kept.back().end = part.end;
          else
            kept.push_back(part);
          previous = part.match;
        }
        break;
      case SplitBehavior::merged_with_next:
        for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
          if (part->match && !previous && !kept.empty())
            kept.back().begin = part->begin;
          else
            kept.push_back(*part);
          previous = part->match;
        }
        kept = {kept.rbegin(), kept.rend()};
        break;
    }
    for (const Range& part : kept)
      if (part.end > part.begin)
        out.push_back({word.text.substr(part.begin, part.end - part.begin), word.first && part.begin == 0});
  }
}

void PreTokenizer::metaspace(const Step& step, const std::vector<Word>& in, Words& words,
                             std::vector<Word>& out) {
  const std::string& mark = step.what.replacement;
  for (const Word& word : in) {
    std::string text;
    for (const char c : word.text) {
      if (c == ' ')
        text += mark;
      else
        text += c;
    }
    const bool prepend = step.what.prepend == PrependScheme::always ||
                         (step.what.prepend == PrependScheme::first && word.first);
    if (prepend && !text.starts_with(mark)) text.insert(0, mark);
    const std::string_view whole = words.storage.emplace_back(std::move(text));
    if (!step.what.split) {
      out.push_back({whole, word.first});
      continue;
    }
    Step split{{}, std::nullopt};
    split.what.kind = PreTokenizerKind::split;
    split.what.pattern = mark;
    split.what.behavior = SplitBehavior::merged_with_next;
    cut(split, {{whole, word.first}}, out);
  }
}

void PreTokenizer::run(std::string_view text, bool first, Words& words) const {
  words.list.assign(1, {text, first});
  for (const Step& step : steps_) {
    std::vector<Word> next;
    const PreTokenizerKind kind = step.what.kind;
    if (kind == PreTokenizerKind::metaspace) {
      metaspace(step, words.list, words, next);
    } else if (kind == PreTokenizerKind::byte_level) {
      if (step.what.add_prefix_space)
        for (Word& word : words.list)
          if (!word.text.starts_with(' '))
            word.text = words.storage.emplace_back(" " + std::string(word.text));
      if (step.what.use_regex)
        cut(step, words.list, next);
      else
        next = words.list;
      if (&step != &steps_.back())
        for (Word& word : next) word.text = words.storage.emplace_back(to_byte_level(word.text));
    } else if (kind == PreTokenizerKind::digit_triples) {
      // Runs of digits in threes, counted from the right.
      for (const Word& word : words.list) split_triples(word, next);
    } else {
      cut(step, words.list, next);
    }
    words.list = std::move(next);
  }
}

}  // namespace nibble
