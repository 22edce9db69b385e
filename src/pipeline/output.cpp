#include "pipeline/output.h"

#include <sys/stat.h>

#include <filesystem>

#include "base/hash.h"
#include "model/checkpoint_identity.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

/// Raised whenever the bytes that a recipe leads to change.
constexpr int bytes_version = 6;

}  // namespace

Output::Output(const QuantizationPlan& plan, const std::string& path, uint64_t shard_size)
    : layout_(plan_output(plan.file, path, shard_size)) {
  Hasher hasher;
  const std::string text = fmt::format("{}\n{}\n{}\n{}", bytes_version, plan.recipe.to_string(),
                                       files_state(plan.file.checkpoint()), plan.ledger.to_json());
  hasher.update(std::as_bytes(std::span(text)));
  for (const auto& file : layout_.files) hasher.update(file.header);
  identity_ = hasher.hex();
}

uint64_t Output::already_on_disk() const {
  uint64_t bytes = 0;
  for (const auto& file : layout_.files) {
    struct stat info {};
    if (stat((file.path + ".partial").c_str(), &info) == 0)
      bytes += static_cast<uint64_t>(info.st_blocks) * 512;
  }
  return bytes;
}

std::string Output::journal_path() const { return layout_.files.front().path + ".journal"; }

void Output::open(bool fresh) {
  sink_ = std::make_unique<TensorSink>(layout_, fresh ? TensorSink::Start::fresh : TensorSink::Start::resume);
  if (!sink_->resumed()) fs::remove(journal_path());
}

void Output::finish() { sink_->finish(); }

}  // namespace nibble
