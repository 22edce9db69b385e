#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "calibrate/text.h"
#include "eval/divergence.h"
#include "pipeline/job.h"
#include "pipeline/solving.h"

namespace nibble {

/// The model quantized once in every candidate format: working files of a search, whose tensors can be put
/// together in any way, since each was solved by itself.
class Candidates {
 public:
  /// `base` is the recipe but for the type. Formats that GGUF cannot hold where it is the target, or that
  /// cannot be written, throw as plan_quantization does.
  Candidates(const Checkpoint& source, Target target, const Recipe& base, std::vector<std::string> formats,
             std::shared_ptr<StatsSource> stats, std::string folder, ThreadPool& pool);

  /// Quantizes what is not there yet. Throws as run_job does.
  void make(Progress& progress);

  const std::vector<std::string>& formats() const noexcept { return formats_; }
  /// Canonical names of the tensors whose format is to be chosen.
  const std::vector<std::string>& tensors() const noexcept { return tensors_; }
  /// Indices into formats() of those that can hold the tensor.
  const std::vector<size_t>& fitting(size_t tensor) const { return fitting_[tensor]; }
  uint64_t bytes(size_t tensor, size_t format) const;
  /// Of the file that these formats make: all of it, and its tensors alone.
  struct Size {
    uint64_t file = 0, tensors = 0;
  };
  Size size(std::span<const size_t> formats) const;
  /// tr(E H Eᵀ) / tr(W H Wᵀ) of the tensor in a format, H of what it multiplies.
  double error(size_t tensor, size_t format);

  /// The model with these formats (-1: as it was), one a tensor, as a program to be run.
  Program program(std::span<const int> formats) const;
  /// The recipe that makes that file: the base's, and an override for every tensor.
  Recipe recipe(std::span<const size_t> formats) const;

 private:
  QuantizationPlan plan(size_t format) const;
  std::string path(size_t format) const;
  void measure_errors(size_t tensor);
  const CanonicalTensor& canonical(size_t tensor) const { return source_.at(tensors_[tensor]); }

  Checkpoint source_;
  Target target_;
  Recipe base_;
  std::vector<std::string> formats_;
  std::shared_ptr<StatsSource> stats_;
  std::string folder_;
  ThreadPool& pool_;
  std::vector<std::string> tensors_;
  std::vector<std::vector<size_t>> fitting_;
  std::vector<Checkpoint> made_;
  std::vector<std::vector<double>> errors_;  ///< [tensor][format]; empty until asked for
};

}  // namespace nibble
