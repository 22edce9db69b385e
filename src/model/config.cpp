#include "model/config.h"

#include <optional>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "containers/json_events.h"

namespace nibble {
namespace {

// Collects scalars under their dotted path. Depth is bounded by the parser.
class Flattener final : public JsonHandler {
 public:
  explicit Flattener(const JsonPlace& place) : place_(place) {}

  void begin_object() override {
    if (arrays_ > 0) mixed_ = true;
    prefixes_.push_back(key_);
  }
  void key(std::string name) override {
    if (arrays_ > 0) return;
    const std::string& prefix = prefixes_.back();
    key_ = prefix.empty() ? std::move(name) : prefix + "." + name;
  }
  void end_object() override { prefixes_.pop_back(); }
  void begin_array() override {
    if (prefixes_.empty()) place_.bad("expected an object");
    if (arrays_++ > 0) {
      mixed_ = true;
    } else {
      mixed_ = false;
      items_.clear();
    }
  }
  void end_array() override {
    if (--arrays_ > 0 || mixed_) return;
    if (auto list = uniform()) meta_.set(key_, std::move(*list));
  }
  void scalar(JsonScalar value) override {
    if (prefixes_.empty()) place_.bad("expected an object");
    if (arrays_ > 0) {
      if (!mixed_) items_.push_back(std::move(value));
      return;
    }
    std::visit(
        [&](auto& v) {
          if constexpr (!std::is_same_v<std::decay_t<decltype(v)>, std::monostate>)
            meta_.set(key_, std::move(v));
        },
        value);
  }
  Meta take() { return std::move(meta_); }

 private:
  std::optional<MetaValue> uniform() {
    bool all_bool = true, all_int = true, all_number = true, all_text = true;
    for (const JsonScalar& s : items_) {
      const bool is_int = std::holds_alternative<int64_t>(s);
      all_bool &= std::holds_alternative<bool>(s);
      all_int &= is_int;
      all_number &= is_int || std::holds_alternative<double>(s);
      all_text &= std::holds_alternative<std::string>(s);
    }
    if (all_int) return collect<int64_t>();
    if (all_bool) return collect<bool>();
    if (all_text) return collect<std::string>();
    if (!all_number) return std::nullopt;
    std::vector<double> list;
    for (const JsonScalar& s : items_) {
      const auto* i = std::get_if<int64_t>(&s);
      list.push_back(i != nullptr ? static_cast<double>(*i) : std::get<double>(s));
    }
    return MetaValue(std::move(list));
  }
  template <class T>
  MetaValue collect() {
    std::vector<T> list;
    for (JsonScalar& s : items_) list.push_back(std::move(std::get<T>(s)));
    return MetaValue(std::move(list));
  }

  const JsonPlace& place_;
  Meta meta_;
  std::string key_;
  std::vector<std::string> prefixes_;
  int arrays_ = 0;
  bool mixed_ = false;
  std::vector<JsonScalar> items_;
};

}  // namespace

Meta meta_from_json(std::string_view text, const std::string& file) {
  JsonPlace place{file, 0};
  Flattener flattener(place);
  parse_json(text, place, flattener);
  return flattener.take();
}

std::string read_text_file(const std::string& path, size_t limit) {
  const MappedFile file(path);
  if (file.size() > limit) {
    fail(ErrorKind::bad_input, "{}: {} bytes, expected at most {}", path, file.size(), limit);
  }
  const auto bytes = file.data();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace nibble
