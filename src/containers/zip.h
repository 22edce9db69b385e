#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/qtensor.h"

namespace nibble {

/// One file inside of a zip archive.
struct ZipEntry {
  std::string name;
  uint16_t method = 0;  ///< 0: stored, 8: deflated
  uint32_t crc = 0;     ///< of the uncompressed bytes
  uint64_t size = 0;    ///< uncompressed
  uint64_t offset = 0;  ///< of its bytes in the archive
  uint64_t packed = 0;  ///< bytes it takes there
};

/// Reads the directory of a zip or zip64 archive (PKWARE APPNOTE 6.3). Throws Error{bad_input} with `file`
/// and offset for anything that does not add up, entries that share bytes among it; Error{unsupported} for
/// encrypted entries and compressions other than deflate.
std::vector<ZipEntry> parse_zip(std::span<const std::byte> bytes, const std::string& file);

/// The uncompressed bytes of an entry: a view of stored ones, kept alive by `owner`, an unpacked copy of
/// deflated ones. Throws Error{bad_input} if they do not unpack to the size, or (of copies) the checksum,
/// announced.
Plane read_entry(std::span<const std::byte> bytes, const ZipEntry& entry, const std::string& file,
                 std::shared_ptr<const void> owner);

}  // namespace nibble
