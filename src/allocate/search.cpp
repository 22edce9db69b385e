#include "allocate/search.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include "allocate/choose.h"
#include "base/error.h"
#include "eval/evaluate.h"
#include "eval/model_predictor.h"

namespace nibble {
namespace {

constexpr int curve_points = 24;
constexpr double probe_bits = 3;  ///< sensitivities are measured at the smallest format of at least that

std::vector<EvalWindow> windows_of(const CalibrationText& text, int64_t count) {
  std::vector<EvalWindow> windows;
  const auto all = static_cast<int64_t>(text.sequences.size());
  const int64_t n = std::min(count, all);
  for (int64_t i = 0; i < n; ++i)
    windows.push_back({text.sequences[static_cast<size_t>(i * all / n)], text.length / 2});
  return windows;
}

/// Measurements by what was measured; appended to a file as they are made.
class Log {
 public:
  explicit Log(const std::string& path) {
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
      const size_t bar = line.rfind('|');
      std::istringstream numbers(bar == std::string::npos ? "" : line.substr(bar + 1));
      Estimate e;
      if (numbers >> e.value >> e.error) known_[line.substr(0, bar)] = e;
    }
    in.close();
    out_.open(path, std::ios::app);
    out_.precision(17);
    if (!out_) fail(ErrorKind::io, "cannot write {}", path);
  }
  const Estimate* find(const std::string& key) const {
    const auto it = known_.find(key);
    return it == known_.end() ? nullptr : &it->second;
  }
  void add(const std::string& key, const Estimate& e) {
    out_ << key << '|' << e.value << ' ' << e.error << std::endl;
    known_[key] = e;
  }

 private:
  std::ofstream out_;
  std::map<std::string, Estimate> known_;
};

class Search {
 public:
  Search(Candidates& candidates, const Checkpoint& source, const Goal& goal, const CalibrationText& text,
         const SearchOptions& options, const std::string& journal, ThreadPool& pool, Progress& progress)
      : candidates_(candidates),
        source_(source),
        goal_(goal),
        probe_(windows_of(text, options.probe_sequences)),
        verify_(windows_of(text, options.verify_sequences)),
        log_(journal),
        pool_(pool),
        progress_(progress) {}

  SearchResult run() {
    measure_sensitivities();
    SearchResult result;
    for (size_t f = 0; f < candidates_.formats().size(); ++f) {
      if (const auto all = uniform(f); !all.empty())
        result.uniform.push_back(measure(candidates_.formats()[f], all));
    }
    result.best = goal_.kld ? reach(*goal_.kld) : within(budget());
    result.predicted = loss_of(choices_, indices(result.best.formats));
    for (const Measured& u : result.uniform) {
      const bool meets = goal_.kld ? u.kld.value <= *goal_.kld && u.bytes < result.best.bytes
                                   : u.bytes <= budget() && u.kld.value < result.best.kld.value;
      if (!meets) continue;
      result.best = u;
      result.uniform_is_better = true;
    }
    draw(result);
    return result;
  }

 private:
  size_t count() const { return candidates_.tensors().size(); }

  Estimate divergence(std::span<const int> formats, const std::vector<EvalWindow>& windows,
                      const std::string& key) {
    if (const Estimate* known = log_.find(key)) return *known;
    if (!reference_) reference_ = model_predictor(source_, context(), pool_);
    const auto model = program_predictor(candidates_.program(formats), context(), pool_);
    Predictor* models[] = {model.get()};
    const auto scores = evaluate(models, reference_.get(), windows, [](int64_t) {});
    const Estimate e = scores.front().mean_kl();
    log_.add(key, e);
    return e;
  }
  int64_t context() const { return static_cast<int64_t>(verify_.front().tokens.size()); }

  void measure_sensitivities() {
    progress_.start("measuring sensitivity", count(), "tensors");
    for (size_t t = 0; t < count(); ++t) {
      const std::vector<size_t>& fitting = candidates_.fitting(t);
      const auto weights = static_cast<double>(source_.at(candidates_.tensors()[t]).shape.elements());
      size_t probe = fitting.front();
      const auto bits = [&](size_t f) { return 8 * static_cast<double>(candidates_.bytes(t, f)) / weights; };
      for (const size_t f : fitting) {
        const bool far = bits(probe) < probe_bits;
        if (far ? bits(f) > bits(probe) : bits(f) >= probe_bits && bits(f) < bits(probe)) probe = f;
      }
      std::vector<int> one(count(), -1);
      one[t] = static_cast<int>(probe);
      const Estimate e = divergence(
          one, probe_,
          fmt::format("{} {} {}", candidates_.tensors()[t], candidates_.formats()[probe], probe_.size()));
      const double per_error = std::max(e.value, 1e-9) / std::max(candidates_.error(t, probe), 1e-12);
      std::vector<Choice> choices;
      choices.reserve(fitting.size());
      for (const size_t f : fitting)
        choices.push_back({candidates_.bytes(t, f), per_error * candidates_.error(t, f)});
      choices_.push_back(std::move(choices));
      progress_.advance(1, candidates_.tensors()[t]);
    }
    progress_.finish();
  }

  /// Every tensor in one format; empty if it does not fit all of them.
  std::vector<size_t> uniform(size_t format) const {
    for (size_t t = 0; t < count(); ++t) {
      const auto& fitting = candidates_.fitting(t);
      if (std::find(fitting.begin(), fitting.end(), format) == fitting.end()) return {};
    }
    return std::vector<size_t>(count(), format);
  }

  std::vector<size_t> formats_of(std::span<const size_t> picked) const {
    std::vector<size_t> formats;
    for (size_t t = 0; t < picked.size(); ++t) formats.push_back(candidates_.fitting(t)[picked[t]]);
    return formats;
  }
  std::vector<size_t> indices(std::span<const size_t> formats) const {
    std::vector<size_t> picked;
    for (size_t t = 0; t < formats.size(); ++t) {
      const auto& fitting = candidates_.fitting(t);
      picked.push_back(
          static_cast<size_t>(std::find(fitting.begin(), fitting.end(), formats[t]) - fitting.begin()));
    }
    return picked;
  }

  uint64_t file_bytes(std::span<const size_t> formats) const { return candidates_.size(formats).file; }

  Measured measure(const std::string& name, const std::vector<size_t>& formats) {
    const std::vector<int> all(formats.begin(), formats.end());
    std::string key = fmt::format("file {}", verify_.size());
    for (const size_t f : formats) key += " " + candidates_.formats()[f];
    progress_.start("measuring " + name, 1, "files");
    const Estimate e = divergence(all, verify_, key);
    progress_.advance(1);
    progress_.finish();
    return {name, formats, file_bytes(formats), e};
  }

  uint64_t budget() const {
    if (goal_.size) return *goal_.size;
    uint64_t weights = 0;
    for (const CanonicalTensor& t : source_.tensors()) weights += static_cast<uint64_t>(t.shape.elements());
    // Bits count tensors only; what else the file holds comes on top.
    const Candidates::Size any = candidates_.size(formats_of(std::vector<size_t>(count(), 0)));
    return static_cast<uint64_t>(*goal_.bits * static_cast<double>(weights) / 8) + any.file - any.tensors;
  }

  /// The file of least predicted loss that is no larger than `size`.
  std::vector<size_t> fit(uint64_t size) const {
    const std::vector<size_t> smallest(count(), 0);
    const uint64_t beside = file_bytes(formats_of(smallest)) - bytes_of(choices_, smallest);
    uint64_t room = size > beside ? size - beside : 0;
    // The recipe stands in the file too, and is longer the more tensors differ.
    for (int tries = 0; tries < 8; ++tries) {
      const std::vector<size_t> picked = choose_within(choices_, room);
      if (picked.empty()) return {};
      std::vector<size_t> formats = formats_of(picked);
      const uint64_t bytes = file_bytes(formats);
      if (bytes <= size) return formats;
      room -= std::min(room, bytes - size);
    }
    return {};
  }

  Measured within(uint64_t size) {
    std::vector<size_t> formats = fit(size);
    if (formats.empty()) {
      throw Error(ErrorKind::usage,
                  fmt::format("no choice of these formats is as small as {}: the smallest takes {}", size,
                              file_bytes(formats_of(indices_of_smallest()))),
                  "ask for more, or add smaller formats with --formats");
    }
    return measure("the choice", formats);
  }
  std::vector<size_t> indices_of_smallest() const { return choose_within(choices_, least_bytes(choices_)); }

  /// The smallest file whose divergence, as it is measured, stays below `kld`.
  Measured reach(double kld) {
    std::optional<Measured> best;
    double asked = kld;
    for (int tries = 0; tries < 6; ++tries) {
      uint64_t low = least_bytes(choices_), high = most_bytes(choices_);
      std::vector<size_t> picked = choose_within(choices_, high);
      while (high - low > 4096) {
        const uint64_t middle = low + (high - low) / 2;
        const std::vector<size_t> p = choose_within(choices_, middle);
        if (!p.empty() && loss_of(choices_, p) <= asked) {
          high = middle;
          picked = p;
        } else {
          low = middle;
        }
      }
      const Measured m = measure("the choice", formats_of(picked));
      if (m.kld.value <= kld && (!best || m.bytes < best->bytes)) best = m;
      if (m.kld.value <= kld && m.kld.value > 0.93 * kld) break;
      const double next = asked * std::clamp(kld / std::max(m.kld.value, 1e-12) * 0.98, 0.3, 3.0);
      if (std::fabs(next - asked) < 0.01 * asked) break;
      asked = next;
    }
    if (!best) {
      throw Error(ErrorKind::usage, fmt::format("no choice of these formats has a divergence below {}", kld),
                  "ask for less, or add larger formats with --formats");
    }
    return *best;
  }

  void draw(SearchResult& result) const {
    const double correction =
        result.predicted > 0 && !result.uniform_is_better ? result.best.kld.value / result.predicted : 1;
    const std::vector<size_t> smallest = indices_of_smallest();
    const uint64_t beside = file_bytes(formats_of(smallest)) - bytes_of(choices_, smallest);
    const uint64_t low = least_bytes(choices_), high = most_bytes(choices_);
    for (int i = 0; i < curve_points; ++i) {
      const uint64_t room = low + (high - low) * static_cast<uint64_t>(i) / (curve_points - 1);
      const std::vector<size_t> picked = choose_within(choices_, room);
      result.curve.emplace_back(bytes_of(choices_, picked) + beside, correction * loss_of(choices_, picked));
    }
  }

  Candidates& candidates_;
  const Checkpoint& source_;
  Goal goal_;
  std::vector<EvalWindow> probe_, verify_;
  Log log_;
  ThreadPool& pool_;
  Progress& progress_;
  std::unique_ptr<Predictor> reference_;
  std::vector<std::vector<Choice>> choices_;
};

}  // namespace

SearchResult search_formats(Candidates& candidates, const Checkpoint& source, const Goal& goal,
                            const CalibrationText& text, const SearchOptions& options,
                            const std::string& journal, ThreadPool& pool, Progress& progress) {
  return Search(candidates, source, goal, text, options, journal, pool, progress).run();
}

}  // namespace nibble
