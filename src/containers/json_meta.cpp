#include "containers/json_meta.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "containers/json_events.h"

namespace nibble {
namespace {

constexpr size_t largest_document = 64u << 20;
constexpr size_t longest_key = 1024;
constexpr size_t most_key_bytes = 64u << 20;  // flattening repeats the outer names: bounded as a whole

template <class T>
bool all_are(const std::vector<JsonScalar>& items) {
  return std::all_of(items.begin(), items.end(),
                     [](const JsonScalar& v) { return std::holds_alternative<T>(v); });
}

bool is_number(const JsonScalar& v) {
  return std::holds_alternative<int64_t>(v) || std::holds_alternative<uint64_t>(v) ||
         std::holds_alternative<double>(v);
}

double as_double(const JsonScalar& v) {
  if (const auto* i = std::get_if<int64_t>(&v)) return static_cast<double>(*i);
  if (const auto* u = std::get_if<uint64_t>(&v)) return static_cast<double>(*u);
  return std::get<double>(v);
}

template <class T, class Out = T>
std::vector<Out> list_of(const std::vector<JsonScalar>& items) {
  std::vector<Out> out;
  out.reserve(items.size());
  for (const JsonScalar& v : items) out.push_back(std::get<T>(v));
  return out;
}

class FlattenHandler final : public JsonHandler {
 public:
  explicit FlattenHandler(const JsonPlace& place) : place_(place) {}
  Meta meta;

  void begin_object() override {
    enter();
    frames_.push_back({false, path_.size(), 0, {}, false});
  }
  void begin_array() override {
    if (frames_.empty()) place_.bad("expected a JSON object");
    enter();
    frames_.push_back({true, path_.size(), 0, {}, false});
  }
  void key(std::string name) override { name_ = std::move(name); }
  void end_object() override { leave(); }
  void end_array() override {
    Frame& f = frames_.back();
    if (!f.mixed) set(path_, list(f.items));
    leave();
  }
  void scalar(JsonScalar value) override {
    if (frames_.empty()) place_.bad("expected a JSON object");
    Frame& f = frames_.back();
    if (!f.array) {
      set(child(), std::move(value));
      return;
    }
    const bool fits = f.items.empty() || f.items.front().index() == value.index() ||
                      (is_number(f.items.front()) && is_number(value));
    if (!f.mixed && fits && !std::holds_alternative<std::monostate>(value)) {
      f.items.push_back(std::move(value));
      ++f.next;
      return;
    }
    spill(f);
    set(child(), std::move(value));
    ++f.next;
  }

 private:
  struct Frame {
    bool array;
    size_t path;                    // length of the path outside
    size_t next;                    // index of the next element
    std::vector<JsonScalar> items;  // of an array that is one value so far
    bool mixed;
  };

  // The array holds more than one kind of thing: what looked like a list gets one key for each element.
  void spill(Frame& f) {
    if (f.mixed) return;
    f.mixed = true;
    for (size_t i = 0; i < f.items.size(); ++i) set(joined(std::to_string(i)), std::move(f.items[i]));
    f.items.clear();
  }
  std::string joined(std::string_view name) const {
    return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
  }
  std::string child() const {
    return frames_.back().array ? joined(std::to_string(frames_.back().next)) : joined(name_);
  }
  void enter() {
    if (frames_.empty()) return;
    Frame& f = frames_.back();
    if (f.array) spill(f);
    std::string inner = child();
    check_length(inner);
    if (f.array) ++f.next;
    outer_.push_back(std::move(path_));
    path_ = std::move(inner);
  }
  void leave() {
    frames_.pop_back();
    if (outer_.empty()) return;
    path_ = std::move(outer_.back());
    outer_.pop_back();
  }
  void check_length(const std::string& key) const {
    if (key.size() > longest_key) {
      place_.bad(fmt::format("a flattened key of {} bytes, more than {}", key.size(), longest_key));
    }
  }
  static MetaValue list(const std::vector<JsonScalar>& items) {
    if (items.empty() || all_are<int64_t>(items)) return list_of<int64_t>(items);
    if (all_are<bool>(items)) return list_of<bool>(items);
    if (all_are<std::string>(items)) return list_of<std::string>(items);
    std::vector<double> numbers;
    numbers.reserve(items.size());
    for (const JsonScalar& v : items) numbers.push_back(as_double(v));
    return numbers;
  }
  void set(const std::string& key, MetaValue value) {
    check_length(key);
    key_bytes_ += key.size();
    if (key_bytes_ > most_key_bytes) place_.bad("its flattened keys take more than 64 MB");
    if (meta.has(key)) place_.bad(fmt::format("key '{}' occurs twice", key));
    meta.set(key, std::move(value));
  }
  void set(const std::string& key, JsonScalar value) {
    std::visit(
        [&](auto&& v) {
          using T = std::decay_t<decltype(v)>;
          if constexpr (!std::is_same_v<T, std::monostate>) set(key, MetaValue(std::forward<decltype(v)>(v)));
        },
        std::move(value));
  }

  const JsonPlace& place_;
  std::string name_, path_;
  std::vector<std::string> outer_;
  std::vector<Frame> frames_;
  size_t key_bytes_ = 0;
};

}  // namespace

Meta parse_json_meta(std::string_view text, const std::string& file) {
  JsonPlace place{file, 0};
  if (text.size() > largest_document) {
    place.bad(fmt::format("expected at most {} bytes, found {}", largest_document, text.size()));
  }
  FlattenHandler handler(place);
  parse_json(text, place, handler);
  return std::move(handler.meta);
}

Meta read_json_meta(const std::string& path) {
  const MappedFile file(path);
  return parse_json_meta({reinterpret_cast<const char*>(file.data().data()), file.size()}, path);
}

}  // namespace nibble
