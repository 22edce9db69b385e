#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"
#include "tokenizers/checks.h"

namespace nibble {

using Json = nlohmann::json;

/// A JSON value and where it stands, so that errors can say so.
class JsonField {
 public:
  JsonField(const Json& value, std::string path) : value_(&value), path_(std::move(path)) {}

  const Json& value() const noexcept { return *value_; }
  const std::string& path() const noexcept { return path_; }
  bool is_null() const noexcept { return value_->is_null(); }

  template <class... Args>
  [[noreturn]] void bad(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorKind::bad_input, "{}: {}", path_, fmt::format(format, std::forward<Args>(args)...));
  }
  [[noreturn]] void unsupported(std::string_view what) const {
    fail(ErrorKind::unsupported, "{}: '{}' is not supported", path_, printable(what));
  }

  /// The member `key`; a null field if it is absent.
  JsonField at(const char* key) const {
    static const Json null;
    if (!value_->is_object()) bad("expected an object, found {}", value_->type_name());
    const auto found = value_->find(key);
    return {found == value_->end() ? null : *found, path_ + "." + key};
  }
  JsonField at(size_t index) const { return {(*value_)[index], path_ + "[" + std::to_string(index) + "]"}; }

  size_t array_size() const {
    if (!value_->is_array()) bad("expected an array, found {}", value_->type_name());
    return value_->size();
  }
  const std::string& text() const {
    if (!value_->is_string()) bad("expected a string, found {}", value_->type_name());
    return value_->get_ref<const std::string&>();
  }
  std::string text(const char* otherwise) const { return is_null() ? otherwise : text(); }
  bool boolean(bool otherwise) const {
    if (is_null()) return otherwise;
    if (!value_->is_boolean()) bad("expected true or false, found {}", value_->type_name());
    return value_->get<bool>();
  }
  int64_t integer(int64_t low, int64_t high) const {
    if (!value_->is_number_integer()) bad("expected a whole number, found {}", value_->type_name());
    const bool big =
        value_->is_number_unsigned() && value_->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
    const int64_t number = big ? INT64_MAX : value_->get<int64_t>();
    if (number < low || number > high) bad("{} is not in {} … {}", number, low, high);
    return number;
  }

 private:
  const Json* value_;
  std::string path_;
};

/// Parses JSON of bounded depth. Throws Error{bad_input} with the byte where it goes wrong.
Json parse_json_tree(std::string_view text, const std::string& name);

}  // namespace nibble
