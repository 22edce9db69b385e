#include "containers/zip.h"

#include <zlib.h>

#include <algorithm>
#include <set>

#include "containers/byte_reader.h"
#include "containers/listing.h"

namespace nibble {
namespace {

constexpr uint32_t local_magic = 0x04034b50, directory_magic = 0x02014b50, end_magic = 0x06054b50;
constexpr uint32_t zip64_end_magic = 0x06064b50, zip64_locator_magic = 0x07064b50;
constexpr size_t end_size = 22, zip64_locator_size = 20;
constexpr uint32_t in_zip64 = 0xffffffff;  // "see the zip64 field"
constexpr uint64_t best_deflate_ratio = 1032;

struct Directory {
  uint64_t entries = 0, size = 0, offset = 0;
};

void expect_magic(ByteReader& in, uint32_t magic, std::string_view what) {
  const uint64_t at = in.offset();
  if (in.number<uint32_t>(what) != magic) {
    fail(ErrorKind::bad_input, "{}: offset {}: expected {}", in.file(), at, what);
  }
}

// The end record stands last, before a comment of at most 65535 bytes.
uint64_t find_end(std::span<const std::byte> bytes, const std::string& file) {
  if (bytes.size() >= end_size) {
    const uint64_t lowest = bytes.size() - std::min<uint64_t>(bytes.size(), end_size + 65535);
    for (uint64_t at = bytes.size() - end_size + 1; at-- > lowest;) {
      uint32_t magic;
      uint16_t comment;
      std::memcpy(&magic, bytes.data() + at, sizeof magic);
      std::memcpy(&comment, bytes.data() + at + 20, sizeof comment);
      if (magic == end_magic && comment == bytes.size() - at - end_size) return at;
    }
  }
  fail(ErrorKind::bad_input,
       "{}: offset {}: expected the end record of a zip archive; the file may be cut short", file,
       bytes.size());
}

Directory read_end(std::span<const std::byte> bytes, const std::string& file) {
  const uint64_t end = find_end(bytes, file);
  ByteReader in(bytes, file, end);
  expect_magic(in, end_magic, "the end record");
  in.take(4, "disk numbers");
  const auto here = in.number<uint16_t>("a count of entries");
  Directory d;
  d.entries = in.number<uint16_t>("a count of entries");
  d.size = in.number<uint32_t>("the directory's size");
  d.offset = in.number<uint32_t>("the directory's offset");
  if (here != d.entries) fail(ErrorKind::unsupported, "{}: a zip archive in several parts", file);
  if ((d.entries == 0xffff || d.size == in_zip64 || d.offset == in_zip64) && end >= zip64_locator_size) {
    ByteReader locator(bytes, file, end - zip64_locator_size);
    expect_magic(locator, zip64_locator_magic, "a zip64 locator");
    locator.take(4, "a disk number");
    const auto at = locator.number<uint64_t>("the zip64 record's offset");
    if (at > bytes.size()) locator.bad("the zip64 record at {} lies beyond the end", at);
    ByteReader record(bytes, file, at);
    expect_magic(record, zip64_end_magic, "a zip64 record");
    record.take(8 + 2 + 2 + 4 + 4 + 8, "a zip64 record");
    d.entries = record.number<uint64_t>("a count of entries");
    d.size = record.number<uint64_t>("the directory's size");
    d.offset = record.number<uint64_t>("the directory's offset");
  }
  if (d.offset > end || d.size > end - d.offset) {
    in.bad("a directory of {} bytes at {} does not fit before the end record at {}", d.size, d.offset, end);
  }
  if (d.entries > d.size / 46)
    in.bad("{} entries do not fit into a directory of {} bytes", d.entries, d.size);
  return d;
}

// Extra field 1 holds, in this order, those of size, packed size and offset that did not fit into 32 bits.
void read_zip64_fields(ByteReader& in, uint64_t extra_length, ZipEntry& e, uint64_t& local) {
  const uint64_t end = in.offset() + extra_length;
  while (end - in.offset() >= 4) {
    const auto id = in.number<uint16_t>("an extra field");
    const auto length = in.number<uint16_t>("an extra field's length");
    if (length > end - in.offset()) in.bad("entry '{}': an extra field leaves its entry", e.name);
    const uint64_t next = in.offset() + length;
    if (id == 1) {
      for (uint64_t* field : {&e.size, &e.packed, &local}) {
        if (*field == in_zip64 && next - in.offset() >= 8) *field = in.number<uint64_t>("a zip64 field");
      }
    }
    in.take(next - in.offset(), "an extra field");
  }
  in.take(end - in.offset(), "extra fields");
}

ZipEntry read_directory_entry(ByteReader& in, uint64_t& local) {
  expect_magic(in, directory_magic, "a directory entry");
  ZipEntry e;
  in.take(4, "version numbers");
  const auto flags = in.number<uint16_t>("flags");
  e.method = in.number<uint16_t>("a compression method");
  in.take(4, "a time");
  e.crc = in.number<uint32_t>("a checksum");
  e.packed = in.number<uint32_t>("a packed size");
  e.size = in.number<uint32_t>("a size");
  const auto name_length = in.number<uint16_t>("a name's length");
  const auto extra_length = in.number<uint16_t>("an extra field's length");
  const auto comment_length = in.number<uint16_t>("a comment's length");
  in.take(8, "attributes");
  local = in.number<uint32_t>("an entry's offset");
  e.name = in.text(name_length, "an entry's name");
  check_word(e.name, "an entry's name", in.file(), in.offset());
  if (extra_length > in.left()) in.bad("entry '{}': its extra field leaves the file", e.name);
  read_zip64_fields(in, extra_length, e, local);
  in.take(comment_length, "a comment");
  if ((flags & 1) != 0) fail(ErrorKind::unsupported, "{}: entry '{}' is encrypted", in.file(), e.name);
  if (e.method != 0 && e.method != 8) {
    fail(ErrorKind::unsupported, "{}: entry '{}': expected it stored or deflated, found compression {}",
         in.file(), e.name, e.method);
  }
  if (e.method == 0 && e.size != e.packed) {
    in.bad("entry '{}': stored, but {} bytes became {}", e.name, e.size, e.packed);
  }
  if (e.method == 8 && e.size / best_deflate_ratio > e.packed) {
    in.bad("entry '{}': {} bytes cannot unpack to {}", e.name, e.packed, e.size);
  }
  return e;
}

void locate(ZipEntry& e, uint64_t local, std::span<const std::byte> bytes, const std::string& file) {
  if (local > bytes.size()) {
    fail(ErrorKind::bad_input, "{}: entry '{}' should stand at {}, beyond the end", file, e.name, local);
  }
  ByteReader in(bytes, file, local);
  expect_magic(in, local_magic, "an entry");
  in.take(22, "an entry's header");
  const auto name_length = in.number<uint16_t>("a name's length");
  const auto extra_length = in.number<uint16_t>("an extra field's length");
  if (in.text(name_length, "an entry's name") != e.name) {
    in.bad("expected entry '{}', found another name", e.name);
  }
  in.take(extra_length, "an extra field");
  e.offset = in.offset();
  if (e.packed > in.left()) {
    in.bad("entry '{}' of {} bytes does not fit into the {} bytes left", e.name, e.packed, in.left());
  }
}

void check_apart(const std::vector<ZipEntry>& entries, const std::string& file) {
  std::vector<const ZipEntry*> sorted;
  std::set<std::string_view> names;
  for (const ZipEntry& e : entries) {
    if (!names.insert(e.name).second) {
      fail(ErrorKind::bad_input, "{}: offset {}: entry '{}' occurs twice", file, e.offset, e.name);
    }
    if (e.packed > 0) sorted.push_back(&e);
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const ZipEntry* a, const ZipEntry* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i - 1]->offset + sorted[i - 1]->packed > sorted[i]->offset) {
      fail(ErrorKind::bad_input, "{}: offset {}: entry '{}' overlaps '{}'", file, sorted[i]->offset,
           sorted[i]->name, sorted[i - 1]->name);
    }
  }
}

}  // namespace

std::vector<ZipEntry> parse_zip(std::span<const std::byte> bytes, const std::string& file) {
  const Directory d = read_end(bytes, file);
  ByteReader in(bytes.first(d.offset + d.size), file, d.offset);
  std::vector<ZipEntry> entries;
  for (uint64_t i = 0; i < d.entries; ++i) {
    uint64_t local = 0;
    entries.push_back(read_directory_entry(in, local));
    locate(entries.back(), local, bytes, file);
  }
  check_apart(entries, file);
  return entries;
}

Plane read_entry(std::span<const std::byte> bytes, const ZipEntry& entry, const std::string& file,
                 std::shared_ptr<const void> owner) {
  const auto packed = bytes.subspan(entry.offset, entry.packed);
  if (entry.method == 0) return {"", packed, std::move(owner)};
  // zlib counts in 32 bits; weights are never deflated by those who write them.
  if (entry.size > UINT32_MAX || entry.packed > UINT32_MAX) {
    fail(ErrorKind::unsupported, "{}: entry '{}': deflated entries over 4 GB", file, entry.name);
  }
  auto out = std::make_shared<std::vector<std::byte>>(entry.size);
  z_stream stream{};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out->data());
  stream.avail_out = static_cast<uInt>(out->size());
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) fail(ErrorKind::internal, "zlib does not start");
  const int result = inflate(&stream, Z_FINISH);
  const bool whole = result == Z_STREAM_END && stream.total_out == entry.size;
  inflateEnd(&stream);
  const auto crc = crc32(0, reinterpret_cast<const Bytef*>(out->data()), static_cast<uInt>(out->size()));
  if (!whole || crc != entry.crc) {
    fail(ErrorKind::bad_input, "{}: offset {}: entry '{}' does not unpack to the {} bytes announced", file,
         entry.offset, entry.name, entry.size);
  }
  return {"", {out->data(), out->size()}, out};
}

}  // namespace nibble
