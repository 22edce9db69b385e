#include "allocate/candidates.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "model/activation_note.h"
#include "model/load.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

/// A checkpoint with some tensors of other ones.
struct MixedSource final : WeightSource {
  const Checkpoint& base;
  std::map<std::string, const Checkpoint*, std::less<>> from;
  explicit MixedSource(const Checkpoint& b) : base(b) {}
  std::optional<QTensor> find(std::string_view name) const override {
    const auto it = from.find(name);
    return CheckpointWeights(it == from.end() ? base : *it->second).find(name);
  }
};

bool overridden(const Recipe& recipe, const ExportTensor& t) {
  return std::any_of(recipe.overrides.begin(), recipe.overrides.end(), [&](const Recipe::Override& o) {
    return name_matches(o.pattern, t.name) || name_matches(o.pattern, t.source->name) ||
           name_matches(o.pattern, t.source->hf);
  });
}

/// e H eᵀ summed over rows of e.
double weighted(std::span<const float> e, std::span<const float> h, int64_t n) {
  const int64_t rows = static_cast<int64_t>(e.size()) / n;
  std::vector<float> slope(e.size());
  cpu_kernels().sums.weighted_sum({e.data(), rows, n, h.data(), n, n, n, slope.data(), n});
  double sum = 0;
  for (size_t i = 0; i < e.size(); ++i) sum += double{e[i]} * double{slope[i]};
  return sum;
}

}  // namespace

Candidates::Candidates(const Checkpoint& source, Target target, const Recipe& base,
                       std::vector<std::string> formats, std::shared_ptr<StatsSource> stats,
                       std::string folder, ThreadPool& pool)
    : source_(source),
      target_(target),
      base_(base),
      formats_(std::move(formats)),
      stats_(std::move(stats)),
      folder_(std::move(folder)),
      pool_(pool) {
  if (formats_.size() < 2)
    throw Error(ErrorKind::usage, "there is nothing to choose from with fewer than two formats",
                "for example --formats q3_k,q4_k,q6_k");
  // Any plan tells which tensors there are.
  const FormatChoice keep = [](const CanonicalTensor& t, const std::string&, const Shape&) -> const Format& {
    return is_plain_float(t.format) ? format_of(t.format) : format_of("f32");
  };
  const ExportPlan file = plan_export(source_, target_, keep, 0);
  for (const ExportTensor& t : file.tensors) {
    if (t.source == nullptr || t.fixed || t.shape.rank() < 2 || overridden(base_, t)) continue;
    if (std::find(tensors_.begin(), tensors_.end(), t.source->name) != tensors_.end()) continue;
    std::vector<size_t> fitting;
    for (size_t f = 0; f < formats_.size(); ++f) {
      if (format_of(formats_[f]).misfit(t.source->shape).empty()) fitting.push_back(f);
    }
    if (fitting.empty()) {
      throw Error(ErrorKind::unsupported,
                  fmt::format("{} {} fits none of the formats to choose from", t.name, t.shape.to_string()),
                  "add one that it fits (--formats), or keep it (--keep)");
    }
    tensors_.push_back(t.source->name);
    fitting_.push_back(std::move(fitting));
  }
  if (tensors_.empty())
    throw Error(ErrorKind::usage, "every tensor has its format already", "leave out --tensor and --keep");
}

std::string Candidates::path(size_t format) const {
  std::string name = formats_[format];
  std::replace(name.begin(), name.end(), ':', '-');
  return folder_ + "/" + name + (target_ == Target::gguf ? ".gguf" : "");
}

QuantizationPlan Candidates::plan(size_t format) const {
  Recipe recipe = base_;
  recipe.type = formats_[format];
  recipe.pure = true;
  for (size_t t = 0; t < tensors_.size(); ++t) {
    if (std::find(fitting_[t].begin(), fitting_[t].end(), format) == fitting_[t].end())
      recipe.overrides.push_back({tensors_[t], "keep"});
  }
  return plan_quantization(source_, target_, recipe, stats_);
}

void Candidates::make(Progress& progress) {
  fs::create_directories(folder_);
  made_.clear();
  for (size_t f = 0; f < formats_.size(); ++f) {
    if (!fs::exists(path(f)) || (target_ == Target::huggingface && !fs::exists(path(f) + "/config.json"))) {
      JobOptions options;
      options.output = path(f);
      options.title = fmt::format("{} ({} of {})", formats_[f], f + 1, formats_.size());
      run_job(plan(f), options, pool_, progress);
    }
    made_.push_back(open_checkpoint(path(f)));
  }
}

uint64_t Candidates::bytes(size_t tensor, size_t format) const {
  const CanonicalTensor& t = canonical(tensor);
  return format_bytes(format_of(formats_[format]), t.shape);
}

Candidates::Size Candidates::size(std::span<const size_t> formats) const {
  const QuantizationPlan p = plan_quantization(source_, target_, recipe(formats), stats_);
  return {plan_output(p.file, folder_ + "/size.gguf", 0).total_bytes(), p.ledger.bytes_out()};
}

double Candidates::error(size_t tensor, size_t format) {
  if (errors_.empty()) errors_.resize(tensors_.size());
  if (errors_[tensor].empty()) measure_errors(tensor);
  return errors_[tensor][format];
}

void Candidates::measure_errors(size_t tensor) {
  const CanonicalTensor& t = canonical(tensor);
  const QuantizationPlan p = plan(fitting_[tensor].front());
  const auto exported =
      std::find_if(p.file.tensors.begin(), p.file.tensors.end(),
                   [&](const ExportTensor& e) { return e.source != nullptr && e.source->name == t.name; });
  Solving solving(p, pool_);
  solving.begin(part_of(t, source_.hparams()));
  solving.enter([] {});
  const int64_t slices = t.experts > 0 ? t.experts : 1, rows = t.shape.rows() / slices, cols = t.shape.cols();
  constexpr int64_t window = 64;
  const int64_t windows = (rows + window - 1) / window;
  // Sums of every window, so that threads change nothing: of the weights, then of the error in each format.
  const size_t sums = 1 + formats_.size();
  std::vector<double> total(sums);
  for (int64_t s = 0; s < slices; ++s) {
    const KnownInput input = solving.input_of(*exported, s);
    if (input.stats.hessian.empty()) fail(ErrorKind::bad_input, "{}: nothing is known of its inputs", t.name);
    std::vector<double> part(sums * static_cast<size_t>(windows));
    pool_.parallel_for(static_cast<size_t>(windows), [&](size_t i) {
      const int64_t at = static_cast<int64_t>(i) * window, n = std::min(window, rows - at);
      std::vector<float> w(static_cast<size_t>(n * cols)), e(w.size());
      source_.read_rows(t, s * rows + at, n, w.data());
      part[i * sums] = weighted(w, input.stats.hessian, cols);
      for (const size_t f : fitting_[tensor]) {
        made_[f].read_rows(made_[f].at(t.name), s * rows + at, n, e.data());
        for (size_t k = 0; k < w.size(); ++k) e[k] = w[k] - e[k];
        part[i * sums + 1 + f] = weighted(e, input.stats.hessian, cols);
      }
    });
    for (size_t i = 0; i < part.size(); ++i) total[i % sums] += part[i];
  }
  errors_[tensor].resize(formats_.size());
  for (size_t f = 0; f < formats_.size(); ++f)
    errors_[tensor][f] = total[0] > 0 ? std::max(0.0, total[1 + f]) / total[0] : 0;
}

Program Candidates::program(std::span<const int> formats) const {
  MixedSource mixed(source_);
  for (size_t t = 0; t < formats.size(); ++t) {
    if (formats[t] >= 0) mixed.from[tensors_[t]] = &made_[static_cast<size_t>(formats[t])];
  }
  return build_program(source_.arch(), source_.hparams(), mixed, pool_, {.turned = turned_inputs(source_)});
}

Recipe Candidates::recipe(std::span<const size_t> formats) const {
  // The type is the format of most weights; every other tensor is named.
  std::vector<uint64_t> weights(formats_.size());
  for (size_t t = 0; t < tensors_.size(); ++t)
    weights[formats[t]] += static_cast<uint64_t>(canonical(t).shape.elements());
  const auto most = static_cast<size_t>(std::max_element(weights.begin(), weights.end()) - weights.begin());
  Recipe recipe = base_;
  recipe.type = formats_[most];
  recipe.pure = true;
  std::vector<Recipe::Override> chosen;
  for (size_t t = 0; t < tensors_.size(); ++t) {
    if (formats[t] != most) chosen.push_back({tensors_[t], formats_[formats[t]]});
  }
  recipe.overrides.insert(recipe.overrides.begin(), chosen.begin(), chosen.end());
  return recipe;
}

}  // namespace nibble
