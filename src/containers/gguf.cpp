#include "containers/gguf.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <numeric>
#include <set>

#include "containers/byte_reader.h"
#include "containers/listing.h"
#include "formats/format.h"

namespace nibble {
namespace {

constexpr uint64_t longest_key = 65535;
constexpr uint64_t longest_name_read = 64;
constexpr uint64_t largest_alignment = uint64_t{1} << 20;

struct PlainType {
  uint32_t id;
  DType dtype;
};
constexpr std::array<PlainType, 5> plain_types = {
    {{24, DType::i8}, {25, DType::i16}, {26, DType::i32}, {27, DType::i64}, {28, DType::f64}}};

bool is_removed_type(uint32_t id) {
  return id == 4 || id == 5 || (id >= 31 && id <= 33) || (id >= 36 && id <= 38);
}

std::string upper(std::string_view s) {
  std::string out(s);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

GgufType value_type(ByteReader& in, std::string_view key) {
  const auto id = in.number<uint32_t>("a value type");
  if (id > static_cast<uint32_t>(GgufType::f64)) {
    in.bad("key '{}': expected a value type from 0 to 12, found {}", key, id);
  }
  return static_cast<GgufType>(id);
}

void copy_text(ByteReader& in, std::vector<std::byte>& out, std::string_view key) {
  const auto length = in.number<uint64_t>("a string's length");
  if (length > in.left()) {
    in.bad("key '{}': a string of {} bytes does not fit into the {} bytes left", key, length, in.left());
  }
  const auto* raw = reinterpret_cast<const std::byte*>(&length);
  out.insert(out.end(), raw, raw + sizeof length);
  const auto text = in.take(length, "a string");
  out.insert(out.end(), text.begin(), text.end());
}

GgufKv read_kv(ByteReader& in) {
  GgufKv kv;
  const auto length = in.number<uint64_t>("a key's length");
  if (length == 0 || length > longest_key) {
    in.bad("expected a key of 1 to {} bytes, found a length of {}", longest_key, length);
  }
  kv.key = in.text(length, "a key");
  check_word(kv.key, "a key", in.file(), in.offset());
  kv.type = value_type(in, kv.key);
  if (kv.type == GgufType::string) {
    copy_text(in, kv.value, kv.key);
  } else if (kv.type == GgufType::array) {
    kv.element = value_type(in, kv.key);
    kv.count = in.number<uint64_t>("an array's length");
    if (kv.element == GgufType::array) {
      fail(ErrorKind::unsupported,
           "{}: offset {}: key '{}' is an array of arrays, which nibble does not read", in.file(),
           in.offset(), kv.key);
    }
    const uint64_t least = kv.element == GgufType::string ? 8 : gguf_type_size(kv.element);
    if (kv.count > in.left() / least) {
      in.bad("key '{}': an array of {} elements does not fit into the {} bytes left", kv.key, kv.count,
             in.left());
    }
    if (kv.element == GgufType::string) {
      for (uint64_t i = 0; i < kv.count; ++i) copy_text(in, kv.value, kv.key);
    } else {
      const auto raw = in.take(kv.count * least, "an array");
      kv.value.assign(raw.begin(), raw.end());
    }
  } else {
    const auto raw = in.take(gguf_type_size(kv.type), "a value");
    kv.value.assign(raw.begin(), raw.end());
  }
  return kv;
}

struct Info {
  StoredTensor tensor;
  uint32_t type = 0;
  uint64_t start = 0;    // from the beginning of the data section
  uint64_t size = 0;     // bytes; unknown types take all up to the next tensor
  uint64_t written = 0;  // where this entry stands in the file, for messages
  bool size_known = true;
};

// What the type number says of a tensor: its name, how many bytes it takes, whether nibble can read it.
void resolve_type(Info& info, ByteReader& in) {
  StoredTensor& t = info.tensor;
  const int64_t elements = checked_elements(t.shape, t.name, in.file(), info.written);
  if (const auto dtype = gguf_plain_dtype(info.type)) {
    t.dtype = dtype;
    t.type = upper(dtype_name(*dtype));
    info.size = static_cast<uint64_t>(elements) * dtype_size(*dtype);
    return;
  }
  if (is_removed_type(info.type)) {
    t.type = fmt::format("type {}", info.type);
    t.unsupported = fmt::format("ggml type {} was removed from the GGUF format", info.type);
    info.size_known = false;
    return;
  }
  const Format* format = format_of_gguf(static_cast<int>(info.type));
  if (format == nullptr || info.type > INT32_MAX) {
    t.type = fmt::format("type {}", info.type);
    t.unsupported = fmt::format("nibble does not know ggml type {}", info.type);
    info.size_known = false;
    return;
  }
  t.type = upper(format->info().name);
  t.dtype = dtype_from_name(format->info().name);
  if (const std::string why = format->misfit(t.shape); !why.empty()) {
    fail(ErrorKind::bad_input, "{}: offset {}: tensor '{}' of shape {} cannot be {}: {}", in.file(),
         info.written, t.name, t.shape.to_string(), t.type, why);
  }
  info.size = format_bytes(*format, t.shape);
}

Info read_info(ByteReader& in) {
  Info info;
  info.written = in.offset();
  const auto length = in.number<uint64_t>("the length of a tensor's name");
  if (length > longest_name_read) {
    in.bad("expected a tensor name of at most {} bytes, found a length of {}", longest_name_read, length);
  }
  info.tensor.name = in.text(length, "a tensor's name");
  check_word(info.tensor.name, "a tensor's name", in.file(), info.written);
  const auto rank = in.number<uint32_t>("a tensor's rank");
  if (rank > 4) in.bad("tensor '{}': expected at most 4 dimensions, found {}", info.tensor.name, rank);
  std::vector<int64_t> dims(rank);
  for (uint32_t i = 0; i < rank; ++i) {
    const auto d = in.number<uint64_t>("a tensor's size");
    if (d > static_cast<uint64_t>(most_elements)) {
      in.bad("tensor '{}': a dimension of {} is absurd", info.tensor.name, d);
    }
    dims[rank - 1 - i] = static_cast<int64_t>(d);
  }
  info.tensor.shape = Shape(std::move(dims));
  info.type = in.number<uint32_t>("a tensor's type");
  info.start = in.number<uint64_t>("a tensor's offset");
  resolve_type(info, in);
  return info;
}

uint64_t read_alignment(const TensorListing& listing, std::string_view file) {
  const auto it = std::find_if(listing.gguf.begin(), listing.gguf.end(),
                               [](const GgufKv& kv) { return kv.key == "general.alignment"; });
  if (it == listing.gguf.end()) return gguf_default_alignment;
  const auto value = listing.metadata.integer("general.alignment");
  if (it->type != GgufType::u32 || !value || *value <= 0 ||
      static_cast<uint64_t>(*value) > largest_alignment || (*value & (*value - 1)) != 0) {
    fail(ErrorKind::bad_input, "{}: key 'general.alignment' must be a u32 that is a power of two up to {}",
         file, largest_alignment);
  }
  return static_cast<uint64_t>(*value);
}

// Every tensor inside of the data section, none over another.
void check_places(std::vector<Info>& infos, uint64_t data_size, std::string_view file) {
  std::vector<Info*> by_start;
  by_start.reserve(infos.size());
  for (Info& info : infos) by_start.push_back(&info);
  std::stable_sort(by_start.begin(), by_start.end(), [](const Info* a, const Info* b) {
    return std::pair(a->start, a->size) < std::pair(b->start, b->size);
  });
  for (size_t i = 0; i < by_start.size(); ++i) {
    Info& info = *by_start[i];
    if (info.start > data_size) {
      fail(ErrorKind::bad_input, "{}: offset {}: tensor '{}' starts at {} of a data section of {} bytes",
           file, info.written, info.tensor.name, info.start, data_size);
    }
    const uint64_t end = i + 1 < by_start.size() ? std::min(by_start[i + 1]->start, data_size) : data_size;
    if (!info.size_known) info.size = end - info.start;
    if (info.size > data_size - info.start) {
      fail(ErrorKind::bad_input,
           "{}: offset {}: tensor '{}' needs {} bytes from {} on, but the data section ends at {}", file,
           info.written, info.tensor.name, info.size, info.start, data_size);
    }
    if (info.size > 0 && info.start + info.size > end) {
      fail(ErrorKind::bad_input, "{}: offset {}: tensor '{}' ends at {} and overlaps '{}' at {}", file,
           info.written, info.tensor.name, info.start + info.size, by_start[i + 1]->tensor.name, end);
    }
  }
}

void read_version(ByteReader& in) {
  if (in.text(4, "the magic GGUF") != "GGUF") {
    fail(ErrorKind::bad_input, "{}: offset 0: expected the magic GGUF", in.file());
  }
  const auto version = in.number<uint32_t>("a version");
  if ((version & 0xffffu) == 0 && version != 0) {
    fail(ErrorKind::unsupported, "{}: offset 4: a big-endian GGUF file, which nibble does not read",
         in.file());
  }
  if (version != 2 && version != 3) {
    fail(version == 1 ? ErrorKind::unsupported : ErrorKind::bad_input,
         "{}: offset 4: expected GGUF version 2 or 3, found {}", in.file(), version);
  }
}

}  // namespace

std::optional<DType> gguf_plain_dtype(uint32_t id) {
  for (const PlainType& p : plain_types) {
    if (p.id == id) return p.dtype;
  }
  return std::nullopt;
}

std::optional<uint32_t> gguf_plain_id(DType dtype) {
  for (const PlainType& p : plain_types) {
    if (p.dtype == dtype) return p.id;
  }
  return std::nullopt;
}

TensorListing parse_gguf(std::span<const std::byte> bytes, const std::string& file,
                         const std::shared_ptr<const void>& owner) {
  ByteReader in(bytes, file);
  TensorListing listing;
  read_version(in);
  const auto tensor_count = in.number<uint64_t>("a tensor count");
  const auto key_count = in.number<uint64_t>("a key count");
  // The shortest key takes 8 + 1 + 4 + 1 bytes, the shortest tensor entry 8 + 1 + 4 + 4 + 8.
  if (key_count > in.left() / 14) in.bad("{} keys do not fit into the {} bytes left", key_count, in.left());
  if (tensor_count > in.left() / 25) {
    in.bad("{} tensors do not fit into the {} bytes left", tensor_count, in.left());
  }
  for (uint64_t i = 0; i < key_count; ++i) {
    GgufKv kv = read_kv(in);
    if (listing.metadata.has(kv.key)) in.bad("key '{}' occurs twice", kv.key);
    listing.metadata.set(kv.key, kv.meta());
    listing.gguf.push_back(std::move(kv));
  }
  const uint64_t alignment = read_alignment(listing, file);
  std::vector<Info> infos;
  std::set<std::string, std::less<>> names;
  for (uint64_t i = 0; i < tensor_count; ++i) {
    Info info = read_info(in);
    if (!names.insert(info.tensor.name).second) in.bad("tensor '{}' occurs twice", info.tensor.name);
    if (info.start % alignment != 0) {
      in.bad("tensor '{}': expected an offset that is a multiple of {}, found {}", info.tensor.name,
             alignment, info.start);
    }
    infos.push_back(std::move(info));
  }
  const uint64_t data = (in.offset() + alignment - 1) / alignment * alignment;
  if (!infos.empty() && data > bytes.size()) in.bad("expected the data section at {}, beyond the end", data);
  check_places(infos, infos.empty() ? 0 : bytes.size() - data, file);
  for (Info& info : infos) {
    StoredTensor& t = info.tensor;
    t.file = file;
    t.offset = data + info.start;
    t.raw = {"", bytes.subspan(t.offset, info.size), owner};
    if (const Format* format = format_of_gguf(static_cast<int>(info.type)); format && info.size_known) {
      t.view = {format->spec(), t.shape, {{format->planes(t.shape).at(0).name, t.raw.bytes, owner}}};
    }
    listing.tensors.push_back(std::move(t));
  }
  return listing;
}

namespace {

struct SplitName {
  std::string stem;  // path up to "-00001-of-"
  int64_t count = 0;
  std::string part(int64_t i) const { return fmt::format("{}-{:05}-of-{:05}.gguf", stem, i + 1, count); }
};

SplitName split_name(const std::string& path, int64_t number, int64_t count) {
  const std::string end = fmt::format("-{:05}-of-{:05}.gguf", number + 1, count);
  if (count > 99999 || number < 0 || number >= count || !path.ends_with(end)) {
    throw Error(ErrorKind::bad_input,
                fmt::format("{}: says it is part {} of {}, so its name should end in {}", path, number + 1,
                            count, end),
                "give the parts of a split model the names they had");
  }
  return {path.substr(0, path.size() - end.size()), count};
}

}  // namespace

TensorFile open_gguf(const std::string& path) {
  std::vector<MappedFile> files{MappedFile(path)};
  auto parse = [](const MappedFile& file) {
    return parse_gguf(file.data(), file.path(), std::make_shared<MappedFile>(file));
  };
  TensorListing all = parse(files[0]);
  const int64_t count = all.metadata.integer("split.count").value_or(0);
  if (count > 1) {
    const SplitName name = split_name(path, all.metadata.integer("split.no").value_or(-1), count);
    files.clear();
    all = {};
    for (int64_t i = 0; i < count; ++i) {
      files.emplace_back(name.part(i));
      TensorListing part = parse(files.back());
      if (part.metadata.integer("split.no") != i || part.metadata.integer("split.count") != count) {
        fail(ErrorKind::bad_input, "{}: expected split.no {} and split.count {}", name.part(i), i, count);
      }
      if (i == 0) {
        all.metadata = part.metadata;
        all.gguf = part.gguf;
      }
      append_listing(all, std::move(part));
    }
    const auto expected = all.metadata.integer("split.tensors.count");
    if (expected && *expected != static_cast<int64_t>(all.tensors.size())) {
      fail(ErrorKind::bad_input, "{}: expected {} tensors in all parts, found {}", path, *expected,
           all.tensors.size());
    }
    // The opened whole is no split file any more.
    std::erase_if(all.gguf, [](const GgufKv& kv) { return kv.key.starts_with("split."); });
  }
  return TensorFile("gguf", path, std::move(files), std::move(all));
}

}  // namespace nibble
