#include "tokenizers/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

#include "base/error.h"
#include "tokenizers/checks.h"
#include "tokenizers/utf8.h"

namespace nibble {

namespace {

// Enough for megabytes of one class repeated, little enough to give up within about a second.
constexpr uint32_t match_limit = 20'000'000;
constexpr uint32_t heap_limit_kib = 256 * 1024;
constexpr size_t longest_pattern = 64 * 1024;

std::string error_text(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

Regex::Regex(const std::string& pattern) : pattern_(pattern) {
  if (pattern.size() > longest_pattern)
    fail(ErrorKind::bad_input, "a regular expression of {} bytes, expected at most {}", pattern.size(),
         longest_pattern);
  if (!utf8::valid(pattern))
    fail(ErrorKind::bad_input, "the regular expression '{}' is no UTF-8", printable(pattern));
  int error = 0;
  PCRE2_SIZE offset = 0;
  std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> options(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  pcre2_set_parens_nest_limit(options.get(), 200);
  pcre2_set_max_pattern_length(options.get(), longest_pattern);
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, options.get());
  if (code == nullptr)
    fail(ErrorKind::bad_input, "the regular expression '{}' is invalid at byte {}: {}", printable(pattern),
         offset, error_text(error));
  code_ = std::shared_ptr<void>(code, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); });
  // Without just-in-time compilation the expression still works, only slower.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  context_ = std::shared_ptr<void>(
      context, [](void* p) { pcre2_match_context_free(static_cast<pcre2_match_context*>(p)); });
  pcre2_set_match_limit(context, match_limit);
  pcre2_set_heap_limit(context, heap_limit_kib);
}

Regex::Matcher::Matcher(const Regex& regex)
    : regex_(regex),
      data_(pcre2_match_data_create_from_pattern(static_cast<pcre2_code*>(regex.code_.get()), nullptr),
            [](void* p) { pcre2_match_data_free(static_cast<pcre2_match_data*>(p)); }) {}

bool Regex::Matcher::find(std::string_view text, size_t from, Match& match) {
  auto* data = static_cast<pcre2_match_data*>(data_.get());
  const auto run = [&](uint32_t options) {
    return pcre2_match(
        static_cast<pcre2_code*>(regex_.code_.get()), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
        from, PCRE2_NO_UTF_CHECK | options, data, static_cast<pcre2_match_context*>(regex_.context_.get()));
  };
  int result = run(0);
  // The compiled code has a small stack of its own; the interpreter takes over where it does not suffice.
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = run(PCRE2_NO_JIT);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0)
    fail(ErrorKind::bad_input, "the regular expression '{}' is too costly to match: {}",
         printable(regex_.pattern_), error_text(result));
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data);
  match = {bounds[0], bounds[1]};
  // \K inside a lookahead can put the start behind the end.
  if (match.begin > match.end || match.begin < from) match.begin = match.end;
  return true;
}

}  // namespace nibble
