#include "model/checkpoint_identity.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/mapped_file.h"
#include "model/weight_change.h"

namespace nibble {

std::string files_state(const Checkpoint& model) {
  std::string text;
  for (const std::string& file : model.file().files()) {
    struct stat info {};
    if (stat(file.c_str(), &info) != 0) fail(ErrorKind::io, "cannot look at {}", file);
    text += fmt::format("{} {} {}.{:09}\n", std::filesystem::absolute(file).string(), info.st_size,
                        info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
  }
  if (model.change() != nullptr) text += model.change()->identity() + "\n";
  return text;
}

std::string content_hash(const Checkpoint& model, ThreadPool& pool,
                         const std::function<void(uint64_t)>& step) {
  constexpr size_t piece = size_t{16} << 20;
  Hasher all;
  for (const std::string& path : model.file().files()) {
    const MappedFile file(path);
    std::vector<std::string> hashes((file.size() + piece - 1) / piece);
    pool.parallel_for(hashes.size(), [&](size_t i) {
      check_interrupt();
      const size_t from = i * piece, length = std::min(piece, file.size() - from);
      const auto bytes = file.data().subspan(from, length);
      want_pages(bytes);
      Hasher hasher;
      hasher.update(bytes);
      hashes[i] = hasher.hex();
      file.release(from, length);
      step(length);
    });
    for (const std::string& h : hashes) all.update(std::as_bytes(std::span(h)));
  }
  return all.hex();
}

}  // namespace nibble
