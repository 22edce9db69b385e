#include <map>

#include "base/error.h"
#include "calibrate/stats_folder.h"
#include "pipeline/found_input.h"
#include "pipeline/stats_source.h"

namespace nibble {
namespace {

class FolderStats final : public StatsSource {
 public:
  FolderStats(const std::string& path, const Checkpoint& model) : folder_(StatsFolder::open(path)) {
    if (const int64_t layers = model.hparams().layers; folder_.about().parts < layers) {
      fail(ErrorKind::bad_input, "{} tells of {} layers, and the model has {}", path, folder_.about().parts,
           layers);
    }
  }

  Needs gives() const noexcept override {
    return {true, folder_.about().hessian, true, folder_.about().histogram};
  }
  std::string identity() const override { return "folder " + folder_.about().identity; }
  std::string description() const override { return folder_.about().description; }
  void enter(int64_t part, const std::function<void()>&) override {
    inputs_.clear();
    if (part < 0 || part >= folder_.about().parts) return;
    inputs_.reset(folder_.read(part));
  }
  std::optional<KnownInput> find(const CanonicalTensor& t, int64_t expert) override {
    return inputs_.find(t, expert);
  }
  const InputStats* seen(const CanonicalTensor& t) override { return inputs_.seen(t); }
  bool rereads() const noexcept override { return true; }

 private:
  StatsFolder folder_;
  FoundInputs inputs_;
};

}  // namespace

std::shared_ptr<StatsSource> folder_stats(const std::string& path, const Checkpoint& model) {
  return std::make_shared<FolderStats>(path, model);
}

}  // namespace nibble
