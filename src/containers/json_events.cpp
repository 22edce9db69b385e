#include "containers/json_events.h"

#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <vector>

#include "base/error.h"

namespace nibble {

void JsonPlace::bad(std::string_view message) const {
  std::string shown(message);
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < 0x20) c = '?';  // it may quote the file
  }
  fail(ErrorKind::bad_input, "{}: offset {}: {}", file, offset, shown);
}

namespace {

// The library tells positions only in its own syntax errors; an iterator that counts tells them at any time.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator() = default;
  CountingIterator(const char* at, uint64_t* count) : at_(at), count_(count) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_;
    if (count_ != nullptr) ++*count_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator old = *this;
    ++*this;
    return old;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }

 private:
  const char* at_ = nullptr;
  uint64_t* count_ = nullptr;
};

class Adapter final : public nlohmann::json_sax<nlohmann::json> {
 public:
  Adapter(JsonPlace& place, JsonHandler& handler, const JsonLimits& limits)
      : place_(place), handler_(handler), limits_(limits) {}

  bool null() override { return scalar(std::monostate{}); }
  bool boolean(bool v) override { return scalar(v); }
  bool number_integer(number_integer_t v) override { return scalar(static_cast<int64_t>(v)); }
  bool number_unsigned(number_unsigned_t v) override {
    if (v > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return scalar(static_cast<uint64_t>(v));
    return scalar(static_cast<int64_t>(v));
  }
  bool number_float(number_float_t v, const string_t&) override { return scalar(static_cast<double>(v)); }
  bool string(string_t& v) override { return scalar(std::move(v)); }
  bool binary(binary_t&) override { return false; }

  bool start_object(std::size_t) override {
    enter();
    keys_.emplace_back();
    handler_.begin_object();
    return true;
  }
  bool key(string_t& name) override {
    count();
    if (name.size() > limits_.longest_key) {
      place_.bad(fmt::format("a key of {} bytes, more than {}", name.size(), limits_.longest_key));
    }
    if (!keys_.back().insert(name).second) place_.bad(fmt::format("key '{}' occurs twice", name));
    handler_.key(std::move(name));
    return true;
  }
  bool end_object() override {
    --depth_;
    keys_.pop_back();
    handler_.end_object();
    return true;
  }
  bool start_array(std::size_t) override {
    enter();
    handler_.begin_array();
    return true;
  }
  bool end_array() override {
    --depth_;
    handler_.end_array();
    return true;
  }
  bool parse_error(std::size_t, const std::string& token, const nlohmann::detail::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while ...": the tail
    // says it.
    std::string why = error.what();
    if (const size_t at = why.find("] "); at != std::string::npos) why.erase(0, at + 2);
    if (const size_t at = why.find(": "); at != std::string::npos && why.starts_with("parse error at")) {
      why.erase(0, at + 2);
    }
    if (why.size() > 300) why.resize(300);
    place_.bad(fmt::format("expected valid JSON: {}{}", why, token.empty() ? " (end of input)" : ""));
  }

 private:
  bool scalar(JsonScalar v) {
    count();
    handler_.scalar(std::move(v));
    return true;
  }
  void enter() {
    count();
    if (++depth_ > limits_.depth) place_.bad(fmt::format("JSON nested more than {} deep", limits_.depth));
  }
  void count() {
    if (++values_ > limits_.values) place_.bad(fmt::format("more than {} JSON values", limits_.values));
  }

  JsonPlace& place_;
  JsonHandler& handler_;
  const JsonLimits& limits_;
  size_t depth_ = 0, values_ = 0;
  std::vector<std::unordered_set<std::string>> keys_;
};

}  // namespace

void parse_json(std::string_view text, JsonPlace& place, JsonHandler& handler, const JsonLimits& limits) {
  // The library takes a NUL for the end of the text and would not look at what follows.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    place.offset += nul;
    place.bad("expected valid JSON, found a NUL byte");
  }
  Adapter adapter(place, handler, limits);
  const CountingIterator begin(text.data(), &place.offset);
  const CountingIterator end(text.data() + text.size(), nullptr);
  if (!nlohmann::json::sax_parse(begin, end, &adapter)) place.bad("expected valid JSON");
}

}  // namespace nibble
