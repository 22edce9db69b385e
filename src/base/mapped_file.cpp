#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace nibble {

struct MappedFile::Mapping {
  std::string path;
  const std::byte* address = nullptr;
  size_t length = 0;

  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (address != nullptr) munmap(const_cast<std::byte*>(address), length);
  }
};

MappedFile::MappedFile(const std::string& path) {
  auto mapping = std::make_shared<Mapping>();
  mapping->path = path;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(ErrorKind::io, "cannot open {}: {}", path, std::strerror(errno));
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    fail(ErrorKind::bad_input, "{} is not a regular file", path);
  }
  mapping->length = static_cast<size_t>(info.st_size);
  if (mapping->length > 0) {
    void* address = mmap(nullptr, mapping->length, PROT_READ, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED) {
      const int reason = errno;
      close(fd);
      fail(ErrorKind::io, "cannot map {}: {}", path, std::strerror(reason));
    }
    mapping->address = static_cast<const std::byte*>(address);
  }
  close(fd);
  mapping_ = std::move(mapping);
}

std::span<const std::byte> MappedFile::data() const noexcept { return {mapping_->address, mapping_->length}; }

const std::string& MappedFile::path() const noexcept { return mapping_->path; }

void MappedFile::release(size_t offset, size_t length) const noexcept {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (mapping_->address == nullptr || offset >= mapping_->length) return;
  const size_t first = (offset + page - 1) / page * page;  // whole pages only: the neighbours may be in use
  const size_t last = std::min(offset + length, mapping_->length) / page * page;
  if (first < last) madvise(const_cast<std::byte*>(mapping_->address) + first, last - first, MADV_DONTNEED);
}

void want_pages(std::span<const std::byte> bytes) noexcept {
  constexpr int populate_read = 22;  // MADV_POPULATE_READ of Linux 5.14
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (bytes.empty()) return;
  const size_t before =
      reinterpret_cast<uintptr_t>(bytes.data()) % page;  // advice is given from the start of a page
  madvise(const_cast<std::byte*>(bytes.data()) - before, before + bytes.size(), populate_read);
}

}  // namespace nibble
