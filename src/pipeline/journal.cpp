#include "pipeline/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/error.h"

namespace nibble {
namespace {

constexpr std::string_view magic = "nibble journal 1 ";

void write_all(int fd, const std::string& path, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail(ErrorKind::io, "cannot write {}: {}", path, std::strerror(errno));
    done += static_cast<size_t>(n);
  }
}

}  // namespace

Journal::Journal(std::string path, const std::string& identity) : path_(std::move(path)) {
  const std::string header = std::string(magic) + identity + "\n";
  std::string text;
  {
    std::ifstream in(path_, std::ios::binary);
    std::ostringstream all;
    all << in.rdbuf();
    text = all.str();
  }
  const bool same = text.rfind(header, 0) == 0;
  size_t valid = same ? header.size() : 0;
  while (same) {
    const size_t end = text.find('\n', valid);
    if (end == std::string::npos) break;
    const std::string line = text.substr(valid, end - valid);
    const size_t space = line.find(' ');
    if (space != 32 || line.size() < 34) break;
    done_[line.substr(33)] = line.substr(0, 32);
    valid = end + 1;
  }
  fd_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) fail(ErrorKind::io, "cannot write {}: {}", path_, std::strerror(errno));
  if (ftruncate(fd_, static_cast<off_t>(valid)) != 0 || lseek(fd_, 0, SEEK_END) < 0) {
    fail(ErrorKind::io, "cannot write {}: {}", path_, std::strerror(errno));
  }
  if (!same) write_all(fd_, path_, header);
}

Journal::~Journal() {
  if (fd_ >= 0) close(fd_);
}

std::optional<std::string> Journal::find(const std::string& tensor) const {
  const auto it = done_.find(tensor);
  if (it == done_.end()) return std::nullopt;
  return it->second;
}

void Journal::record(const std::string& tensor, const std::string& hash) {
  write_all(fd_, path_, hash + " " + tensor + "\n");
  done_[tensor] = hash;
}

void Journal::sync() {
  if (fdatasync(fd_) != 0) fail(ErrorKind::io, "cannot sync {}: {}", path_, std::strerror(errno));
}

void Journal::remove() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  unlink(path_.c_str());
}

}  // namespace nibble
