#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "base/mapped_file.h"
#include "containers/imatrix.h"
#include "pipeline/stats_source.h"

namespace nibble {
namespace {

class ImatrixStats final : public StatsSource {
 public:
  explicit ImatrixStats(const std::string& path)
      : path_(path), imatrix_(read_imatrix(path)), hash_(hash_hex(MappedFile(path).data())) {}

  Needs gives() const noexcept override { return {.importance = true}; }
  std::string identity() const override { return "imatrix " + hash_; }
  std::string description() const override {
    return fmt::format("importance of {} matrices from {}", imatrix_.entries.size(), path_);
  }
  void enter(int64_t, const std::function<void()>&) override {}

  std::optional<KnownInput> find(const CanonicalTensor& t, int64_t expert) override {
    const auto entry = imatrix_.entries.find(t.name);
    if (entry == imatrix_.entries.end()) return std::nullopt;
    const int64_t slices = t.experts > 0 ? t.experts : 1;
    Imatrix::Entry& e = entry->second;
    // The older kind does not say how many slices there are.
    if (e.counts.size() == 1 && slices > 1 && static_cast<int64_t>(e.sum2.size()) == slices * t.shape.cols())
      e.counts.assign(static_cast<size_t>(slices), e.counts.front());
    if (e.cols() != t.shape.cols()) {
      throw Error(ErrorKind::bad_input,
                  fmt::format("{}: {} has importance for {} columns, and the matrix has {}", path_, t.name,
                              e.cols(), t.shape.cols()),
                  "the importance matrix was made of another model");
    }
    std::vector<float>& importance = importance_[{t.name, expert}];
    if (importance.empty()) importance = e.importance(expert);
    if (importance.empty()) {
      KnownInput k;
      k.note = "the importance matrix saw no token for it";
      return k;
    }
    const size_t at = e.counts.size() == 1 ? 0 : static_cast<size_t>(expert);
    return KnownInput{importance.data(), {importance, {}}, static_cast<int64_t>(e.counts[at]), {}};
  }

 private:
  std::string path_;
  Imatrix imatrix_;
  std::string hash_;
  std::map<std::pair<std::string, int64_t>, std::vector<float>> importance_;
};

}  // namespace

std::shared_ptr<StatsSource> imatrix_stats(const std::string& path) {
  return std::make_shared<ImatrixStats>(path);
}

}  // namespace nibble
