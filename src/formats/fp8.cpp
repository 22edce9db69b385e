#include "formats/fp8.h"

#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "formats/granularity.h"
#include "formats/grid_search.h"

namespace nibble {
namespace {

struct E4M3 {
  static constexpr std::string_view name = "fp8_e4m3", alias = "e4m3";
  static constexpr std::string_view summary = "8-bit float with 3 bits of precision, largest 448";
  static constexpr DType dtype = DType::f8_e4m3;
  static constexpr float largest = 448.0f;
  static uint8_t encode(float x) noexcept { return f32_to_e4m3(x); }
  static float decode(uint8_t h) noexcept { return e4m3_to_f32(h); }
};
struct E5M2 {
  static constexpr std::string_view name = "fp8_e5m2", alias = "e5m2";
  static constexpr std::string_view summary = "8-bit float with 2 bits of precision and the range of f16";
  static constexpr DType dtype = DType::f8_e5m2;
  static constexpr float largest = 57344.0f;
  static uint8_t encode(float x) noexcept { return f32_to_e5m2(x); }
  static float decode(uint8_t h) noexcept { return e5m2_to_f32(h); }
};

constexpr int64_t plain_block = 64;  // blocks of a fixed length only so that calls cost little

struct Scale {
  float value, inverse;
};

Scale make_scale(float top, float largest) {
  const float value = top / largest;
  const float inverse = 1.0f / value;
  return std::isfinite(inverse) ? Scale{value, inverse} : Scale{0, 0};
}

float load(const std::byte* at) noexcept {
  float v;
  std::memcpy(&v, at, sizeof v);
  return v;
}

/// max|x| of a whole tensor, written as its scale.
class AbsmaxPass final : public TensorPass {
 public:
  explicit AbsmaxPass(float largest) : largest_(largest) {}
  void add(std::span<const float> x) override {
    const MinMax m = min_max(x.data(), static_cast<int64_t>(x.size()));
    top_ = std::max({top_, m.max, -m.min});
  }
  void finish(std::byte* const* planes) override {
    const Scale s = make_scale(top_, largest_);
    std::memcpy(planes[1], &s.value, sizeof s.value);
  }

 private:
  float largest_, top_ = 0;
};

template <class F>
class Fp8Format final : public Format {
 public:
  explicit Fp8Format(std::optional<Granularity> scaled)
      : scaled_(scaled),
        info_{.name = F::name,
              .family = "fp8",
              .summary = F::summary,
              .block = !scaled                                    ? plain_block
                       : scaled->kind == Granularity::Kind::group ? scaled->group
                                                                  : 0,
              .bytes = scaled ? 0 : size_t{plain_block}} {}

  const FormatInfo& info() const noexcept override { return info_; }
  FormatSpec spec() const override {
    FormatSpec s{std::string(F::name), {}};
    if (scaled_) s.options.push_back(scaled_->to_string());
    return s;
  }
  int64_t block(const Shape& shape) const override { return scaled_ ? scaled_->block(shape) : plain_block; }
  std::string misfit(const Shape& shape) const override {
    return scaled_ ? scaled_->misfit(shape) : std::string();
  }
  std::vector<PlaneInfo> planes(const Shape& shape) const override {
    const auto bytes = static_cast<size_t>(shape.elements());
    if (!scaled_) return {{"", F::dtype, shape, bytes, size_t{plain_block}}};
    PlaneInfo codes{"codes", F::dtype, shape, bytes, static_cast<size_t>(block(shape))};
    return {codes, scaled_->parameters("scale", shape, DType::f32)};
  }
  std::unique_ptr<TensorPass> tensor_pass(const Shape&) const override {
    if (!scaled_ || !scaled_->whole_tensor()) return nullptr;
    return std::make_unique<AbsmaxPass>(F::largest);
  }

  void fit(const float* x, const float*, int64_t n, const std::byte* const* planes,
           Params& params) const override {
    auto& s = params.as<Scale>();
    s = {1, 1};
    if (!scaled_) return;
    if (scaled_->whole_tensor()) {
      s = make_scale(load(planes[1]), 1.0f);
      return;
    }
    const MinMax m = min_max(x, n);
    s = make_scale(std::max(m.max, -m.min), F::largest);
  }

  void round(const float* x, int64_t, int64_t n, const Params& params, Code* codes,
             float* values) const override {
    const Scale s = params.as<Scale>();
    for (int64_t i = 0; i < n; ++i) {
      const uint8_t h = F::encode(std::clamp(x[i] * s.inverse, -F::largest, F::largest));
      codes[i] = h;
      if (values != nullptr) values[i] = F::decode(h) * s.value;
    }
  }

  void pack(const Code* codes, int64_t n, const Params& params, std::byte* const* planes) const override {
    for (int64_t i = 0; i < n; ++i) planes[0][i] = static_cast<std::byte>(codes[i]);
    if (scaled_ && !scaled_->whole_tensor()) std::memcpy(planes[1], &params.as<Scale>().value, sizeof(float));
  }

  void decode(const std::byte* const* planes, int64_t n, float* out) const override {
    const float scale = scaled_ ? load(planes[1]) : 1.0f;
    for (int64_t i = 0; i < n; ++i) out[i] = F::decode(static_cast<uint8_t>(planes[0][i])) * scale;
  }

 private:
  std::optional<Granularity> scaled_;
  FormatInfo info_;
};

template <class F>
std::unique_ptr<Format> make_fp8(const FormatSpec& spec) {
  if (spec.name != F::name && spec.name != F::alias) return nullptr;
  std::optional<Granularity> scaled;
  for (const std::string& option : spec.options) {
    scaled = Granularity::parse(option);
    if (!scaled) {
      throw Error(ErrorKind::usage, fmt::format("{}: unknown option '{}'", spec.to_string(), option),
                  fmt::format("{} takes tensor, channel or gN, or nothing for a plain cast", F::name));
    }
  }
  return std::make_unique<Fp8Format<F>>(scaled);
}

}  // namespace

std::unique_ptr<Format> Fp8Family::make(const FormatSpec& spec) {
  if (auto format = make_fp8<E4M3>(spec)) return format;
  return make_fp8<E5M2>(spec);
}

std::vector<std::string> Fp8Family::examples() {
  return {"fp8_e4m3",      "fp8_e5m2",         "fp8_e4m3:tensor", "fp8_e4m3:channel",
          "fp8_e4m3:g128", "fp8_e5m2:channel", "fp8_e5m2:tensor"};
}

}  // namespace nibble
