#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace nibble {

/// One metadata value: what a GGUF key or a JSON field can hold. Arrays are of one kind; arrays of arrays do
/// not occur.
using MetaValue = std::variant<bool, int64_t, uint64_t, double, std::string, std::vector<bool>,
                               std::vector<int64_t>, std::vector<double>, std::vector<std::string>>;

/// Metadata of a model by key. JSON objects are flattened with dots: `rope_scaling.factor`.
class Meta {
 public:
  void set(std::string key, MetaValue value) { values_[std::move(key)] = std::move(value); }
  bool erase(const std::string& key) { return values_.erase(key) != 0; }
  bool has(std::string_view key) const { return find(key) != nullptr; }

  const MetaValue* find(std::string_view key) const;
  /// Numbers of any kind (and booleans as 0 or 1); nothing if the key is absent or holds something else.
  std::optional<double> number(std::string_view key) const;
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string> text(std::string_view key) const;

  const std::map<std::string, MetaValue, std::less<>>& values() const noexcept { return values_; }

 private:
  std::map<std::string, MetaValue, std::less<>> values_;
};

}  // namespace nibble
