#include "containers/tensor_sink.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"

namespace nibble {
namespace {

std::string partial(const std::string& path) { return path + ".partial"; }

[[noreturn]] void io_error(std::string_view what, const std::string& path, int reason) {
  if (reason == ENOSPC || reason == EDQUOT) {
    throw Error(ErrorKind::io, fmt::format("cannot {} {}: no space left on the disk", what, path),
                "free some space or write to another disk");
  }
  fail(ErrorKind::io, "cannot {} {}: {}", what, path, std::strerror(reason));
}

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : fd_(open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (fd_ < 0) io_error("open", path, errno);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

enum class Cache { keep, drop };

/// Outputs from this size on leave the page cache as they reach the disk, which they have to before they get
/// their name: fresh pages for gigabytes cost more time than the copy, most of all in a virtual machine.
constexpr uint64_t drop_from = uint64_t{256} << 20;
constexpr uint64_t page = 4096;

ssize_t write_some(int fd, uint64_t at, std::span<const std::byte> bytes, Cache cache) {
  constexpr int dont_cache = 0x80;  // RWF_DONTCACHE of Linux 6.14; systems and file systems may refuse it
  static std::atomic<bool> refused = false;
  const auto offset = static_cast<off_t>(at);
  if (cache == Cache::drop && !refused) {
    const iovec all{const_cast<std::byte*>(bytes.data()), bytes.size()};
    const ssize_t n = pwritev2(fd, &all, 1, offset, dont_cache);
    if (n >= 0 || (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS)) return n;
    refused = true;
  }
  return pwrite(fd, bytes.data(), bytes.size(), offset);
}

void write_all(int fd, uint64_t at, std::span<const std::byte> bytes, const std::string& path,
               Cache cache = Cache::keep) {
  while (!bytes.empty()) {
    const ssize_t n = write_some(fd, at, bytes, cache);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) io_error("write", path, n < 0 ? errno : ENOSPC);
    bytes = bytes.subspan(static_cast<size_t>(n));
    at += static_cast<uint64_t>(n);
  }
}

void read_all(int fd, uint64_t at, std::span<std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) io_error("read", path, errno);
    if (n == 0) fail(ErrorKind::io, "{} has become shorter", path);
    bytes = bytes.subspan(static_cast<size_t>(n));
    at += static_cast<uint64_t>(n);
  }
}

void sync_descriptor(int fd, const std::string& path) {
  if (fsync(fd) != 0) io_error("sync", path, errno);
}

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

void sync_folder(const std::string& path) {
  const Descriptor folder(folder_of(path), O_RDONLY | O_DIRECTORY);
  // Some file systems refuse to sync a folder; the rename is in its journal all the same.
  if (fsync(folder.get()) != 0 && errno != EINVAL) io_error("sync", folder_of(path), errno);
}

void rename_into_place(const std::string& path) {
  if (std::rename(partial(path).c_str(), path.c_str()) != 0) io_error("name", path, errno);
}

void reserve(int fd, uint64_t size, const std::string& path) {
  if (size == 0) return;
  const int reason = posix_fallocate(fd, 0, static_cast<off_t>(size));
  if (reason == 0) return;
  if (reason != EOPNOTSUPP && reason != EINVAL) io_error("reserve space for", path, reason);
  if (ftruncate(fd, static_cast<off_t>(size)) != 0) io_error("reserve space for", path, errno);
}

/// Where texts to come stand in a header.
std::vector<size_t> places_to_fill(const OutputPlan::File& file) {
  const std::string_view text(reinterpret_cast<const char*>(file.header.data()), file.header.size());
  std::vector<size_t> places;
  for (size_t at = text.find(text_to_come); at != std::string_view::npos;
       at = text.find(text_to_come, at + 1))
    places.push_back(at);
  return places;
}

bool holds_plan(int fd, const OutputPlan::File& file, const std::string& path) {
  struct stat info {};
  if (fstat(fd, &info) != 0 || static_cast<uint64_t>(info.st_size) != file.size) return false;
  std::vector<std::byte> header(file.header.size());
  read_all(fd, 0, header, path);
  // An earlier try may have been stopped after it filled them in.
  for (const size_t at : places_to_fill(file))
    std::memcpy(header.data() + at, text_to_come.data(), text_to_come.size());
  return header == file.header;
}

}  // namespace

struct TensorSink::State {
  OutputPlan plan;
  std::vector<Descriptor> files;
  bool resumed = false;
  bool active = true;
  Cache cache = Cache::keep;

  void check_targets() const {
    for (const OutputPlan::File& f : plan.files) {
      const std::filesystem::path folder = folder_of(f.path);
      std::error_code code;
      std::filesystem::create_directories(folder, code);
      if (code) fail(ErrorKind::io, "cannot create the folder {}: {}", folder.string(), code.message());
      if (std::filesystem::is_directory(f.path)) {
        fail(ErrorKind::io, "cannot write {}: there is a folder of this name", f.path);
      }
      const auto rival = folder / "model.safetensors";
      if (plan.files.size() > 1 && std::filesystem::exists(rival)) {
        throw Error(ErrorKind::io,
                    fmt::format("{} exists, and readers would take it for the model instead of the shards",
                                rival.string()),
                    "choose an empty folder, or remove the file");
      }
    }
  }

  // A run that was stopped between two renames left finished files under their final names.
  void take_back_finished() const {
    for (const OutputPlan::File& f : plan.files) {
      if (std::filesystem::exists(partial(f.path)) || !std::filesystem::exists(f.path)) continue;
      const Descriptor file(f.path, O_RDONLY);
      if (holds_plan(file.get(), f, f.path)) std::filesystem::rename(f.path, partial(f.path));
    }
  }

  void open_files() {
    for (const OutputPlan::File& f : plan.files) {
      files.emplace_back(partial(f.path), O_RDWR | O_CREAT);
      if (flock(files.back().get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        throw Error(ErrorKind::io, fmt::format("{} is being written by another process", partial(f.path)),
                    "wait for it, or choose another name");
      }
    }
  }

  void begin_afresh() {
    try {
      for (size_t i = 0; i < files.size(); ++i) {
        const std::string name = partial(plan.files[i].path);
        if (ftruncate(files[i].get(), 0) != 0) io_error("empty", name, errno);
        reserve(files[i].get(), plan.files[i].size, name);
        write_all(files[i].get(), 0, plan.files[i].header, name);
      }
    } catch (const Error&) {
      remove_partials();
      throw;
    }
  }

  void remove_partials() const noexcept {
    for (const OutputPlan::File& f : plan.files) unlink(partial(f.path).c_str());
  }

  const OutputPlan::Place& place(size_t tensor, size_t plane, uint64_t offset, size_t bytes) const {
    const OutputPlan::Place& p = plan.places.at(tensor).at(plane);
    if (!active || offset > p.bytes || bytes > p.bytes - offset) {
      fail(ErrorKind::internal,
           "{} bytes at {} of plane {} of tensor {} leave the plan or come after its end", bytes, offset,
           plane, tensor);
    }
    return p;
  }
};

TensorSink::TensorSink(OutputPlan plan, Start start) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.plan = std::move(plan);
  s.cache = s.plan.total_bytes() >= drop_from ? Cache::drop : Cache::keep;
  s.check_targets();
  if (start == Start::resume) s.take_back_finished();
  s.open_files();
  s.resumed = start == Start::resume;
  for (size_t i = 0; i < s.files.size() && s.resumed; ++i) {
    s.resumed = holds_plan(s.files[i].get(), s.plan.files[i], partial(s.plan.files[i].path));
  }
  if (!s.resumed) s.begin_afresh();
}

TensorSink::~TensorSink() = default;

bool TensorSink::resumed() const noexcept { return state_->resumed; }
const OutputPlan& TensorSink::plan() const noexcept { return state_->plan; }

void TensorSink::write(size_t tensor, size_t plane, uint64_t offset, std::span<const std::byte> bytes) {
  const auto& p = state_->place(tensor, plane, offset, bytes.size());
  const int fd = state_->files[p.file].get();
  const std::string path = partial(state_->plan.files[p.file].path);
  const uint64_t at = p.offset + offset;
  // A page that is shared with a neighbour stays in the cache: it would have to be read back for the second.
  const uint64_t first = (at + page - 1) / page * page, end = (at + bytes.size()) / page * page;
  if (state_->cache == Cache::keep || first >= end) return write_all(fd, at, bytes, path);
  write_all(fd, at, bytes.first(first - at), path);
  write_all(fd, first, bytes.subspan(first - at, end - first), path, Cache::drop);
  write_all(fd, end, bytes.subspan(end - at), path);
}

void TensorSink::read(size_t tensor, size_t plane, uint64_t offset, std::span<std::byte> bytes) const {
  const auto& p = state_->place(tensor, plane, offset, bytes.size());
  read_all(state_->files[p.file].get(), p.offset + offset, bytes, partial(state_->plan.files[p.file].path));
}

void TensorSink::sync() {
  for (size_t i = 0; i < state_->files.size(); ++i) {
    sync_descriptor(state_->files[i].get(), partial(state_->plan.files[i].path));
  }
}

void TensorSink::fill_in(std::string_view text) {
  if (text.size() != text_to_come.size()) fail(ErrorKind::internal, "\"{}\" does not fit its place", text);
  for (size_t i = 0; i < state_->files.size(); ++i) {
    const OutputPlan::File& file = state_->plan.files[i];
    for (const size_t at : places_to_fill(file))
      write_all(state_->files[i].get(), at, std::as_bytes(std::span(text)), partial(file.path));
  }
}

void TensorSink::finish() {
  if (!state_->active) fail(ErrorKind::internal, "a sink finished twice");
  sync();
  state_->active = false;
  for (const OutputPlan::File& f : state_->plan.files) rename_into_place(f.path);
  for (const OutputPlan::SmallFile& f : state_->plan.small_files) write_file_atomically(f.path, f.text);
  sync_folder(state_->plan.files.front().path);
}

void TensorSink::discard() {
  if (!state_->active) return;
  state_->active = false;
  state_->remove_partials();
}

void write_file_atomically(const std::string& path, std::span<const std::byte> bytes) {
  try {
    const Descriptor file(partial(path), O_WRONLY | O_CREAT | O_TRUNC);
    write_all(file.get(), 0, bytes, partial(path));
    sync_descriptor(file.get(), partial(path));
  } catch (const Error&) {
    unlink(partial(path).c_str());
    throw;
  }
  rename_into_place(path);
  sync_folder(path);
}

void write_file_atomically(const std::string& path, std::string_view text) {
  write_file_atomically(path, {reinterpret_cast<const std::byte*>(text.data()), text.size()});
}

}  // namespace nibble
