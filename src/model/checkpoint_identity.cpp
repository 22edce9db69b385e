#include "model/checkpoint_identity.h"

#include <sys/stat.h>

#include <filesystem>

#include "base/error.h"
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

}  // namespace nibble
