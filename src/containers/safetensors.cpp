#include "containers/safetensors.h"

#include <algorithm>
#include <array>

#include "containers/byte_reader.h"
#include "containers/hf_folder.h"
#include "containers/json_events.h"
#include "containers/listing.h"

namespace nibble {
namespace {

struct TypeName {
  std::string_view name;
  DType dtype;
};
constexpr std::array<TypeName, 16> type_names = {{{"F64", DType::f64},
                                                  {"F32", DType::f32},
                                                  {"F16", DType::f16},
                                                  {"BF16", DType::bf16},
                                                  {"F8_E4M3", DType::f8_e4m3},
                                                  {"F8_E5M2", DType::f8_e5m2},
                                                  {"F8_E8M0", DType::f8_e8m0},
                                                  {"I64", DType::i64},
                                                  {"I32", DType::i32},
                                                  {"I16", DType::i16},
                                                  {"I8", DType::i8},
                                                  {"U64", DType::u64},
                                                  {"U32", DType::u32},
                                                  {"U16", DType::u16},
                                                  {"U8", DType::u8},
                                                  {"BOOL", DType::boolean}}};

// Types of the format that no machine number of nibble's holds: their bits, so that sizes can be checked.
struct OddType {
  std::string_view name;
  int64_t bits;
};
constexpr std::array<OddType, 6> odd_types = {
    {{"F4", 4}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"C64", 64}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}}};

struct Entry {
  std::string name, dtype;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
  uint64_t written = 0;  // where the header speaks of it
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

// Hears {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {"k": "v"}}.
class HeaderHandler final : public JsonHandler {
 public:
  explicit HeaderHandler(const JsonPlace& place) : place_(place) {}

  std::vector<Entry> entries;
  Meta metadata;

  void begin_object() override {
    if (depth_ == 1 && !in_metadata_) {
      entries.emplace_back();
      entries.back().name = key_;
      entries.back().written = place_.offset;
    } else if (depth_ >= 2 && !skipping()) {
      unexpected("an object");
    }
    ++depth_;
  }

  void end_object() override {
    --depth_;
    if (depth_ != 1) return;
    if (in_metadata_) {
      in_metadata_ = false;
      return;
    }
    const Entry& e = entries.back();
    if (!e.has_dtype || !e.has_shape || !e.has_offsets) {
      place_.bad(fmt::format("tensor '{}': expected dtype, shape and data_offsets", e.name));
    }
  }

  void key(std::string name) override {
    if (depth_ == 1) {
      in_metadata_ = name == "__metadata__";
      if (!in_metadata_) check_word(name, "a tensor's name", place_.file, place_.offset);
      key_ = std::move(name);
    } else if (depth_ == 2) {
      field_ = std::move(name);
    }
  }

  void begin_array() override {
    if (depth_ == 0) place_.bad("expected a JSON object of tensors");
    if (depth_ == 2 && !in_metadata_ && field_ == "shape") {
      entries.back().has_shape = true;
    } else if (depth_ == 2 && !in_metadata_ && field_ == "data_offsets") {
      offsets_ = 0;
    } else if (!skipping()) {
      unexpected("an array");
    }
    ++depth_;
  }

  void end_array() override {
    --depth_;
    if (depth_ == 2 && field_ == "data_offsets") {
      if (offsets_ != 2) place_.bad(fmt::format("tensor '{}': expected two data_offsets", key_));
      entries.back().has_offsets = true;
    }
  }

  void scalar(JsonScalar value) override {
    if (in_metadata_ && depth_ == 2) {
      auto* s = std::get_if<std::string>(&value);
      if (s == nullptr) place_.bad(fmt::format("__metadata__: expected a string for '{}'", field_));
      metadata.set(field_, std::move(*s));
    } else if (depth_ == 2 && field_ == "dtype") {
      auto* s = std::get_if<std::string>(&value);
      if (s == nullptr) place_.bad(fmt::format("tensor '{}': expected a string for dtype", key_));
      if (s->size() > 32)
        place_.bad(fmt::format("tensor '{}': no type has a name of {} bytes", key_, s->size()));
      check_word(*s, "a tensor's type", place_.file, place_.offset);
      entries.back().dtype = std::move(*s);
      entries.back().has_dtype = true;
    } else if (depth_ == 3 && field_ == "shape") {
      if (entries.back().shape.size() == 64) place_.bad(fmt::format("tensor '{}': more than 64 sizes", key_));
      entries.back().shape.push_back(number(value));
    } else if (depth_ == 3 && field_ == "data_offsets") {
      const auto n = static_cast<uint64_t>(number(value));
      if (offsets_ < 2) (offsets_ == 0 ? entries.back().begin : entries.back().end) = n;
      ++offsets_;
    } else if (!skipping()) {
      unexpected("a value");
    }
  }

 private:
  // Fields a later version of the format may add to a tensor are passed over.
  bool skipping() const {
    return depth_ >= 2 && !in_metadata_ && field_ != "shape" && field_ != "data_offsets" && field_ != "dtype";
  }
  int64_t number(const JsonScalar& value) const {
    const auto* i = std::get_if<int64_t>(&value);
    if (i == nullptr || *i < 0) {
      place_.bad(fmt::format("tensor '{}': expected whole numbers from 0 on in {}", key_, field_));
    }
    return *i;
  }
  [[noreturn]] void unexpected(std::string_view what) const {
    if (depth_ == 0) place_.bad("expected a JSON object of tensors");
    place_.bad(fmt::format("'{}': found {} where none is expected{}", key_, what,
                           depth_ >= 2 ? fmt::format(" (at {})", field_) : ""));
  }

  const JsonPlace& place_;
  std::string key_, field_;
  int depth_ = 0, offsets_ = 0;
  bool in_metadata_ = false;
};

std::vector<Entry> read_header(ByteReader& in, TensorListing& listing) {
  const auto length = in.number<uint64_t>("a header length");
  if (length > safetensors_largest_header) {
    in.bad("expected a header of at most {} bytes, found a length of {}", safetensors_largest_header, length);
  }
  JsonPlace place{std::string(in.file()), in.offset()};
  const std::string_view text = in.text(length, "a JSON header");
  if (!text.starts_with('{')) place.bad("expected the header to begin with '{'");
  HeaderHandler handler(place);
  parse_json(text, place, handler);
  listing.metadata = std::move(handler.metadata);
  return std::move(handler.entries);
}

// The data must be covered without a gap: then nothing hides in the file and no tensor shares bytes.
void check_places(std::vector<Entry>& entries, uint64_t size, std::string_view file) {
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t at = 0;
  for (const Entry& e : entries) {
    if (e.end < e.begin || e.end > size) {
      fail(ErrorKind::bad_input,
           "{}: offset {}: tensor '{}' has data_offsets [{}, {}] in a data section of {} bytes", file,
           e.written, e.name, e.begin, e.end, size);
    }
    if (e.begin != at) {
      fail(ErrorKind::bad_input, "{}: offset {}: tensor '{}' {}: expected its data at {}, found {}", file,
           e.written, e.name, e.begin < at ? "overlaps the one before it" : "leaves a gap before it", at,
           e.begin);
    }
    at = e.end;
  }
  if (at != size) {
    fail(ErrorKind::bad_input, "{}: expected {} bytes of tensor data, found {}", file, at, size);
  }
}

StoredTensor make_tensor(const Entry& e, std::span<const std::byte> data, const std::string& file,
                         const std::shared_ptr<const void>& owner) {
  StoredTensor t;
  t.name = e.name;
  t.type = e.dtype;
  t.shape = Shape(e.shape);
  t.file = file;
  t.raw = {"", data.subspan(e.begin, e.end - e.begin), owner};
  const int64_t elements = checked_elements(t.shape, t.name, file, e.written);
  int64_t bits = -1;
  for (const TypeName& n : type_names) {
    if (n.name != e.dtype) continue;
    t.dtype = n.dtype;
    bits = static_cast<int64_t>(dtype_size(n.dtype)) * 8;
  }
  for (const OddType& n : odd_types) {
    if (n.name == e.dtype) bits = n.bits;
  }
  if (bits > 0 && (elements * bits + 7) / 8 != static_cast<int64_t>(t.raw.bytes.size())) {
    fail(ErrorKind::bad_input, "{}: offset {}: tensor '{}' of shape {} in {} takes {} bytes, not {}", file,
         e.written, t.name, t.shape.to_string(), t.type, (elements * bits + 7) / 8, t.raw.bytes.size());
  }
  if (t.dtype) {
    t.view = plain_view(*t.dtype, t.shape, t.raw);
  } else {
    t.unsupported = fmt::format("nibble does not read the type {}", e.dtype);
  }
  return t;
}

}  // namespace

std::string_view safetensors_dtype_name(DType dtype) noexcept {
  for (const TypeName& n : type_names) {
    if (n.dtype == dtype) return n.name;
  }
  return {};
}

TensorListing parse_safetensors(std::span<const std::byte> bytes, const std::string& file,
                                const std::shared_ptr<const void>& owner) {
  ByteReader in(bytes, file);
  TensorListing listing;
  std::vector<Entry> entries = read_header(in, listing);
  const auto data = bytes.subspan(in.offset());
  check_places(entries, data.size(), file);
  listing.tensors.reserve(entries.size());
  for (const Entry& e : entries) {
    listing.tensors.push_back(make_tensor(e, data, file, owner));
    listing.tensors.back().offset = in.offset() + e.begin;
  }
  return listing;
}

TensorFile open_safetensors(const std::string& path) {
  const MappedFile file(path);
  TensorListing listing = parse_safetensors(file.data(), path, std::make_shared<MappedFile>(file));
  assemble_as_described(listing, path);
  return TensorFile("safetensors", path, {file}, std::move(listing));
}

}  // namespace nibble
