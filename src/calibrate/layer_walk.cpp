#include "calibrate/layer_walk.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "model/checkpoint_identity.h"
#include "model/executor.h"
#include "model/load.h"

namespace nibble {
namespace {

constexpr size_t page = 4096;

/// The first page of the file.
struct Header {
  char magic[16];
  char identity[32];
  int64_t part[2];  ///< that slot 0 and 1 hold the inputs of; -1: neither
};
constexpr char header_magic[16] = "nibble hidden 1";

[[noreturn]] void refuse(const std::string& what, const std::string& path) {
  fail(ErrorKind::io, "cannot {} {}: {}", what, path, std::strerror(errno));
}

/// A file whose header is mapped. The rest is read and written by calls: a mapping would have the system fill
/// every page before it is overwritten, and count it as memory of this process.
class Scratch {
 public:
  Scratch(std::string path, size_t bytes) : path_(std::move(path)), bytes_(bytes) {
    fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0) refuse("write", path_);
    struct stat info {};
    if (fstat(fd_, &info) != 0) refuse("look at", path_);
    if (static_cast<size_t>(info.st_size) != bytes_) {
      if (ftruncate(fd_, 0) != 0 || ftruncate(fd_, static_cast<off_t>(bytes_)) != 0) refuse("resize", path_);
    }
    // Reserved at once: running out of space later would kill the process in the middle of a store.
    if (const int error = posix_fallocate(fd_, 0, static_cast<off_t>(bytes_)); error != 0) {
      errno = error;
      close(fd_);
      unlink(path_.c_str());
      refuse("reserve space for", path_);
    }
    void* at = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    if (at == MAP_FAILED) refuse("map", path_);
    header_ = static_cast<Header*>(at);
  }
  ~Scratch() {
    if (header_ != nullptr) munmap(header_, page);
    if (fd_ >= 0) close(fd_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  Header& header() const noexcept { return *header_; }
  void read(size_t offset, std::span<float> to) const {
    move(offset, std::as_writable_bytes(to), ::pread, "read");
  }
  void write(size_t offset, std::span<const float> from) const {
    move(offset, std::as_bytes(from), ::pwrite, "write");
    // On its way to the disk while the next sequence is computed; sync() then has little to wait for.
    sync_file_range(fd_, static_cast<off_t>(offset), static_cast<off_t>(from.size_bytes()),
                    SYNC_FILE_RANGE_WRITE);
  }
  void sync() const {
    if (msync(header_, page, MS_SYNC) != 0 || fdatasync(fd_) != 0) refuse("sync", path_);
  }
  void remove() const { unlink(path_.c_str()); }

 private:
  template <class Bytes, class Call>
  void move(size_t offset, Bytes bytes, Call call, const char* what) const {
    while (!bytes.empty()) {
      const ssize_t n = call(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n == 0) fail(ErrorKind::io, "{} ends early: something cut it", path_);
      if (n < 0) refuse(what, path_);
      bytes = bytes.subspan(static_cast<size_t>(n));
      offset += static_cast<size_t>(n);
    }
  }

  std::string path_;
  size_t bytes_;
  int fd_ = -1;
  Header* header_ = nullptr;
};

std::string identity_of(const Checkpoint& model, std::span<const Sequence> sequences, Precision precision) {
  Hasher hasher;
  const std::string files = files_state(model);
  hasher.update(std::as_bytes(std::span(files)));
  for (const Sequence& s : sequences) {
    const auto length = static_cast<int64_t>(s.size());
    hasher.update(std::as_bytes(std::span(&length, 1)));
    hasher.update(std::as_bytes(std::span(s)));
  }
  if (precision == Precision::fast) {
    const std::string machine = isa_identity();
    hasher.update(std::as_bytes(std::span(machine)));
  }
  return hasher.hex();
}

size_t tokens_of(std::span<const Sequence> sequences) {
  size_t n = 0;
  for (const Sequence& s : sequences) n += s.size();
  return n;
}

}  // namespace

struct LayerWalk::State {
  Checkpoint model;
  std::span<const Sequence> sequences;
  ThreadPool& pool;
  Precision precision;
  size_t slot_floats;
  Scratch file;

  Header& header() const { return file.header(); }
  /// Where number `at` of a slot stands in the file.
  size_t place(int slot, size_t at) const {
    return page + (static_cast<size_t>(slot) * slot_floats + at) * sizeof(float);
  }
  int64_t layers() const { return model.hparams().layers; }

  /// The slot that is nearest before a part's input; -1 if none is.
  int nearest(int64_t part) const {
    int best = -1;
    for (int i = 0; i < 2; ++i) {
      if (header().part[i] >= 0 && header().part[i] <= part &&
          (best < 0 || header().part[i] > header().part[best]))
        best = i;
    }
    return best;
  }

  void write_slot(int index, int64_t part, const std::function<void()>& fill) {
    header().part[index] = -1;
    file.sync();  // before any byte of the slot can reach the disk
    fill();
    file.sync();
    header().part[index] = part;
    file.sync();
  }

  /// Runs one part over all sequences: from slot `from` (-1: the embedding) into slot `to` (-1: nobody needs
  /// it).
  void run(const ProgramPart& part, int from, int to, Collector* collector,
           const std::function<void()>& step) {
    BuildOptions options;
    options.part = part;
    options.precision = precision;
    const Program program = load_program(model, pool, options);
    Executor executor(program, pool);
    const auto width = static_cast<size_t>(model.hparams().hidden);
    size_t at = 0;
    std::vector<float> input;
    for (const Sequence& s : sequences) {
      check_interrupt();
      const size_t size = s.size() * width;
      if (from >= 0) {
        input.resize(size);
        file.read(place(from, at), input);
      }
      if (collector != nullptr) collector->begin_sequence();
      const std::span<const float> result = executor.run_part(s, input, collector, to >= 0);
      if (to >= 0) {
        if (result.size() != size)
          fail(ErrorKind::internal, "a layer gave {} values for {}", result.size(), size);
        file.write(place(to, at), result);
      }
      at += size;
      step();
    }
  }
};

LayerWalk::LayerWalk(const Checkpoint& model, std::span<const Sequence> sequences, std::string path,
                     ThreadPool& pool, Precision precision) {
  if (model.arch().encoder)
    fail(ErrorKind::usage, "{} is an encoder: calibration walks through decoders", model.path());
  const size_t floats = tokens_of(sequences) * static_cast<size_t>(model.hparams().hidden);
  if (floats == 0) fail(ErrorKind::bad_input, "there is no text to calibrate on");
  const size_t bytes = page + 2 * floats * sizeof(float);
  state_ = std::unique_ptr<State>(
      new State{model, sequences, pool, precision, floats, Scratch(std::move(path), bytes)});
  const std::string identity = identity_of(model, sequences, precision);
  Header& h = state_->header();
  if (std::memcmp(h.magic, header_magic, sizeof h.magic) != 0 ||
      std::memcmp(h.identity, identity.data(), sizeof h.identity) != 0) {
    h.part[0] = h.part[1] = -1;
    std::memcpy(h.magic, header_magic, sizeof h.magic);
    std::memcpy(h.identity, identity.data(), sizeof h.identity);
  }
}

LayerWalk::~LayerWalk() = default;

int64_t LayerWalk::parts() const noexcept { return state_->layers() + 1; }
std::string LayerWalk::identity() const {
  const Header& h = state_->header();
  return {h.identity, sizeof h.identity};
}
uint64_t LayerWalk::sequences() const noexcept { return state_->sequences.size(); }

void LayerWalk::observe(int64_t part, Collector& collector, const std::function<void()>& step) {
  State& s = *state_;
  int at = s.nearest(part);
  if (at < 0) {
    at = 0;
    s.write_slot(0, 0, [&] { s.run(ProgramPart::only_embedding(), -1, 0, nullptr, step); });
  }
  while (s.header().part[at] < part) {
    const int64_t layer = s.header().part[at];
    s.write_slot(1 - at, layer + 1,
                 [&] { s.run(ProgramPart::only_layer(layer), at, 1 - at, nullptr, step); });
    at = 1 - at;
  }
  if (part < s.layers()) {
    s.write_slot(1 - at, part + 1,
                 [&] { s.run(ProgramPart::only_layer(part), at, 1 - at, &collector, step); });
  } else {
    s.run(ProgramPart::only_head(), at, -1, &collector, step);
  }
}

void LayerWalk::remove() { state_->file.remove(); }

uint64_t LayerWalk::file_bytes(const Checkpoint& model, std::span<const Sequence> sequences) {
  return page + 2 * sizeof(float) * tokens_of(sequences) * static_cast<uint64_t>(model.hparams().hidden);
}

}  // namespace nibble
