#include "formats/log.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "formats/granularity.h"
#include "formats/grid_search.h"
#include "formats/histogram.h"
#include "formats/nearest.h"
#include "formats/packing.h"

namespace nibble {
namespace {

constexpr int most = 128;  // zero and 127 magnitudes
constexpr std::array<std::string_view, 9> names = {"",     "",     "",     "log3", "log4",
                                                   "log5", "log6", "log7", "log8"};
constexpr float sqrt_half = 0.70710678f;

struct Options {
  int bits = 4;
  Granularity granularity{Granularity::Kind::channel, 0};
  float ratio = 0;  ///< 0: chosen for the tensor
  ParamType type = ParamType::f16;
};

struct Magnitudes {
  Nearest<most> nearest;
  float scale;
};

// Levels 0 ... top of one block. The only place that computes them, so that what round promises is what
// decode gives; products in double precision, no library functions.
void make_levels(float scale, float ratio, int top, float* levels) noexcept {
  double v = scale;
  for (int k = top; k >= 1; --k) {
    levels[k] = static_cast<float>(v);
    v *= ratio;
  }
  levels[0] = 0;
}

/// Sorted magnitudes with running sums: the error of any set of levels without looking at the points again.
class Profile {
 public:
  explicit Profile(const Histogram& seen) {
    std::vector<std::pair<double, double>> p;
    seen.visit([&p](double x, double weight) { p.emplace_back(std::fabs(x), weight); });
    std::sort(p.begin(), p.end());
    const double largest = p.empty() ? 0 : p.back().first;
    w_.assign(1, 0);
    wx_.assign(1, 0);
    wxx_.assign(1, 0);
    for (const auto& [x, weight] : p) {
      const double t = largest > 0 ? x / largest : 0;
      x_.push_back(t);
      w_.push_back(w_.back() + weight);
      wx_.push_back(wx_.back() + weight * t);
      wxx_.push_back(wxx_.back() + weight * t * t);
    }
  }

  /// For a largest level `from` (of the largest magnitude): error and best scale of the same rounding.
  struct Fit {
    double error = std::numeric_limits<double>::infinity();
    double scale = 1;
  };
  Fit fit(double from, double ratio, int top) const {
    double xv = 0, vv = 0, v = 1;
    size_t end = x_.size();
    for (int k = top; k >= 1 && end > 0; --k) {
      const double below = k > 1 ? v * ratio : 0;
      const double border = 0.5 * from * (v + below);
      const auto begin = static_cast<size_t>(
          std::upper_bound(x_.begin(), x_.begin() + static_cast<std::ptrdiff_t>(end), border) - x_.begin());
      xv += v * (wx_[end] - wx_[begin]);
      vv += v * v * (w_[end] - w_[begin]);
      v = below;
      end = begin;
    }
    if (!(vv > 0)) return {wxx_.back(), from};
    return {wxx_.back() - xv * xv / vv, xv / vv};
  }

  Fit best_scale(double ratio, int top) const {
    Fit best;
    for (double from = 1.2; from > 0.02; from *= 0.95) {
      Fit f = fit(from, ratio, top);
      if (f.error < best.error) best = f;
    }
    return best;
  }

  double best_ratio(int top) const {
    double best = 0.5, error = std::numeric_limits<double>::infinity();
    const auto attempt = [&](double ratio) {
      const double e = best_scale(ratio, top).error;
      if (e < error) {
        error = e;
        best = ratio;
      }
    };
    for (int k = -8; k <= 24; ++k) attempt(std::exp2(-std::exp2(-0.25 * k)));  // 1/16 ... 0.989
    const double depth = -std::log2(best);
    for (int k = -4; k <= 4; ++k) attempt(std::exp2(-depth * std::exp2(0.05 * k)));
    return best;
  }

 private:
  std::vector<double> x_, w_, wx_, wxx_;
};

class LogFormat final : public Format {
 public:
  explicit LogFormat(const Options& o)
      : o_(o),
        top_((1 << (o.bits - 1)) - 1),
        info_{.name = names[static_cast<size_t>(o.bits)],
              .family = "logarithmic",
              .summary = "sign and exponent: levels in a geometric series",
              .block = o.granularity.kind == Granularity::Kind::group ? o.granularity.group : 0} {}

  const FormatInfo& info() const noexcept override { return info_; }
  FormatSpec spec() const override {
    FormatSpec s{std::string(info_.name), {o_.granularity.to_string()}};
    if (o_.ratio != 0) s.options.emplace_back(o_.ratio == 0.5f ? "pow2" : "sqrt2");
    if (o_.type != ParamType::f16) s.options.emplace_back(param_type_name(o_.type));
    return s;
  }
  int64_t block(const Shape& shape) const override { return o_.granularity.block(shape); }
  std::string misfit(const Shape& shape) const override { return o_.granularity.misfit(shape); }
  std::vector<PlaneInfo> planes(const Shape& shape) const override {
    std::vector<PlaneInfo> all{o_.granularity.codes(shape, o_.bits),
                               o_.granularity.parameters("scale", shape, param_dtype(o_.type))};
    if (o_.ratio == 0) all.push_back({"ratio", DType::f32, Shape{1}, 4, 0});
    return all;
  }

  std::unique_ptr<TensorPass> tensor_pass(const Shape& shape) const override {
    if (o_.ratio != 0 && !o_.granularity.whole_tensor()) return nullptr;
    return std::make_unique<Pass>(*this, block(shape));
  }

  void fit(const float* x, const float* importance, int64_t n, const std::byte* const* planes,
           Params& params) const override {
    auto& p = params.as<Magnitudes>();
    const float ratio = load_ratio(planes);
    p.scale = o_.granularity.whole_tensor() ? param_load(planes[1], o_.type)
                                            : param_round(choose_scale(x, importance, n, ratio), o_.type);
    set_levels(p.scale, ratio, p.nearest);
  }

  void round(const float* x, int64_t, int64_t n, const Params& params, Code* codes,
             float* values) const override {
    const auto& p = params.as<Magnitudes>();
    for (int64_t i = 0; i < n; ++i) {
      const int k = p.nearest.index(std::fabs(x[i]));
      const bool negative = x[i] < 0 && k != 0;
      codes[i] = k | (negative ? top_ + 1 : 0);
      if (values != nullptr) values[i] = negative ? -p.nearest.levels[k] : p.nearest.levels[k];
    }
  }

  void pack(const Code* codes, int64_t n, const Params& params, std::byte* const* planes) const override {
    pack_codes(codes, n, o_.bits, planes[0]);
    if (!o_.granularity.whole_tensor()) param_store(params.as<Magnitudes>().scale, o_.type, planes[1]);
  }

  void decode(const std::byte* const* planes, int64_t n, float* out) const override {
    float levels[2 * most];
    make_levels(param_load(planes[1], o_.type), load_ratio(planes), top_, levels);
    for (int k = 0; k <= top_; ++k) levels[top_ + 1 + k] = -levels[k];
    constexpr int64_t chunk = 256;
    uint8_t codes[chunk];
    for (int64_t begin = 0; begin < n; begin += chunk) {
      const int64_t m = std::min(chunk, n - begin);
      unpack_codes(planes[0] + begin / 8 * o_.bits, m, o_.bits, codes);
      for (int64_t i = 0; i < m; ++i) out[begin + i] = levels[codes[i]];
    }
  }

 private:
  /// Chooses the ratio, and for the whole tensor the scale.
  class Pass final : public TensorPass {
   public:
    Pass(const LogFormat& format, int64_t block) : format_(format), block_(static_cast<size_t>(block)) {
      if (!format.o_.granularity.whole_tensor()) held_.reserve(block_);
    }
    void add(std::span<const float> x) override {
      if (format_.o_.granularity.whole_tensor()) {
        seen_.add(x);
        return;
      }
      for (const float v : x) {
        held_.push_back(v);
        if (held_.size() == block_) close();
      }
    }
    void finish(std::byte* const* planes) override {
      close();
      const Profile profile(seen_);
      float ratio = format_.o_.ratio;
      if (ratio == 0) {
        ratio = static_cast<float>(profile.best_ratio(format_.top_));
        std::memcpy(planes[2], &ratio, 4);
      }
      if (!format_.o_.granularity.whole_tensor()) return;
      const double largest = std::max(-static_cast<double>(seen_.min()), static_cast<double>(seen_.max()));
      const auto scale = static_cast<float>(largest * profile.best_scale(ratio, format_.top_).scale);
      const ParamType type = format_.o_.type;
      param_store(param_round(scale, type), type, planes[1]);
    }

   private:
    // A block's weights over its largest magnitude count as much as the square of that.
    void close() {
      const MinMax m = min_max(held_.data(), static_cast<int64_t>(held_.size()));
      const float largest = std::max(m.max, -m.min);
      const double weight = static_cast<double>(largest) * static_cast<double>(largest);
      for (const float v : held_) {
        if (weight > 0) seen_.add(std::fabs(v) / largest, weight);
      }
      held_.clear();
    }
    const LogFormat& format_;
    size_t block_;
    std::vector<float> held_;
    Histogram seen_;
  };

  float load_ratio(const std::byte* const* planes) const noexcept {
    return o_.ratio != 0 ? o_.ratio : param_load(planes[2], ParamType::f32);
  }

  void set_levels(float scale, float ratio, Nearest<most>& nearest) const noexcept {
    float levels[most];
    make_levels(scale, ratio, top_, levels);
    nearest.set(levels, top_ + 1);
  }

  float choose_scale(const float* x, const float* weight, int64_t n, float ratio) const {
    const MinMax m = min_max(x, n);
    const float largest = std::max(m.max, -m.min);
    const float inverse = 1.0f / largest;
    if (!std::isfinite(inverse)) return 0;
    const bool weighted = weight != nullptr && std::any_of(weight, weight + n, [](float w) { return w > 0; });
    Nearest<most> unit;
    set_levels(1, ratio, unit);
    double least = std::numeric_limits<double>::infinity(), best = 1;
    const auto attempt = [&](double from) {
      const float to_unit = inverse / static_cast<float>(from);
      double xv = 0, vv = 0;
      for (int64_t i = 0; i < n; ++i) {
        const double v = unit.levels[unit.index(std::fabs(x[i]) * to_unit)];
        const double w = weighted ? weight[i] : 1.0;
        xv += w * v * static_cast<double>(std::fabs(x[i]) * inverse);
        vv += w * v * v;
      }
      if (!(vv > 0)) return false;
      const double error = -xv * xv / vv;  // less the power of x, which is the same for all
      if (!(error < least)) return false;
      least = error;
      best = xv / vv;
      return true;
    };
    int idle = 0;
    for (double from = 1.1; from > 0.02 && idle < 4; from *= 0.93) idle = attempt(from) ? 0 : idle + 1;
    for (int k = 0; k < 2 && attempt(best); ++k) {
    }
    return static_cast<float>(best * static_cast<double>(largest));
  }

  Options o_;
  int top_;
  FormatInfo info_;
};

}  // namespace

std::unique_ptr<Format> LogFamily::make(const FormatSpec& spec) {
  const auto name = std::find(names.begin() + 3, names.end(), spec.name);
  if (name == names.end()) return nullptr;
  Options o;
  o.bits = static_cast<int>(name - names.begin());
  for (const std::string& option : spec.options) {
    if (const auto g = Granularity::parse(option)) {
      o.granularity = *g;
    } else if (option == "pow2") {
      o.ratio = 0.5f;
    } else if (option == "sqrt2") {
      o.ratio = sqrt_half;
    } else if (!parse_param_type(option, o.type)) {
      throw Error(ErrorKind::usage, fmt::format("{}: unknown option '{}'", spec.to_string(), option),
                  fmt::format("{} takes tensor, channel or gN; pow2, sqrt2; f16, f32, bf16", spec.name));
    }
  }
  return std::make_unique<LogFormat>(o);
}

std::vector<std::string> LogFamily::examples() {
  return {"log4:channel", "log3:g64",     "log4:tensor:pow2", "log5:channel:sqrt2",
          "log6:g128",    "log8:channel", "log8:tensor"};
}

}  // namespace nibble
