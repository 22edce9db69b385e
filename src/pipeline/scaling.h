#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/pool.h"
#include "methods/transforms/channel_transform.h"
#include "model/scalable_inputs.h"
#include "pipeline/planner.h"

namespace nibble {

/// Channel scales of a part of the model, by the recipe's transforms one after another
/// (methods/transforms/channel_transform.h), as they are applied to the weights on their way from the source
/// to the solver. Not safe from several threads but for rescale().
class PartScaling {
 public:
  /// The plan must outlive it.
  explicit PartScaling(const QuantizationPlan& plan);

  /// Looks which inputs of the part can be scaled. What touches() says holds from here on.
  void begin(int64_t part, ThreadPool& pool);
  /// Chooses the scales, from the statistics of the part, which must have been entered.
  void search(ThreadPool& pool);

  /// Whether the tensor's weights may change: it must not be copied as it is stored.
  bool touches(const ExportTensor& t) const;
  /// Scales rows [row, row + x.size() / cols) of a tensor.
  void rescale(const ExportTensor& t, int64_t row, std::span<float> x) const;
  /// By what the columns of a matrix are multiplied, and so its input is divided; empty: nothing.
  std::span<const float> columns(const CanonicalTensor& t) const;

  /// What was chosen, by matrix: for the ledger.
  const std::map<std::string, std::string>& notes() const noexcept { return notes_; }

 private:
  struct Factors {
    const std::vector<float>* columns = nullptr;
    const std::vector<float>* rows = nullptr;  ///< what makes channel 0 is row `first_row`
    int64_t first_row = 0;
  };
  const ExportTensor* exported(const std::string& canonical) const;
  bool can_scale(const ScalableInput& input) const;
  void choose(const ScalableInput& input, std::vector<float>& scale, ThreadPool& pool);
  std::vector<InputReader> readers_of(const ScalableInput& input, const std::vector<float>& scale) const;
  void keep_gain(const ScalableInput& input, std::vector<float>& scale) const;

  const QuantizationPlan& plan_;
  std::vector<const ChannelTransform*> transforms_;
  std::vector<ScalableInput> inputs_;
  std::vector<std::vector<float>> scales_;  ///< of each input; empty until search()
  std::map<std::string, Factors> factors_;  ///< by canonical name
  std::map<std::string, std::string> notes_;
};

}  // namespace nibble
