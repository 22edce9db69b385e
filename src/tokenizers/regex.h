#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace nibble {

/// A compiled regular expression (PCRE2, Unicode properties). Matching has limits on steps and memory: an
/// expression that backtracks without end throws Error{bad_input} instead of hanging.
class Regex {
 public:
  /// Throws Error{bad_input} with the place of the mistake if `pattern` is no valid expression.
  explicit Regex(const std::string& pattern);

  struct Match {
    size_t begin, end;
  };

  /// Finds matches in one text after the other. Not for use by several threads at once.
  class Matcher {
   public:
    explicit Matcher(const Regex& regex);
    /// The first match in `text` (valid UTF-8) at or after `from`; false if there is none.
    bool find(std::string_view text, size_t from, Match& match);

   private:
    const Regex& regex_;
    std::unique_ptr<void, void (*)(void*)> data_;
  };

 private:
  std::string pattern_;
  std::shared_ptr<void> code_;
  std::shared_ptr<void> context_;
};

}  // namespace nibble
