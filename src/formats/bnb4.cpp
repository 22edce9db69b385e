#include "formats/bnb4.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "formats/nearest.h"

namespace nibble {
namespace {

constexpr std::array<float, 16> nf4_values = {-1.0f,
                                              -0.6961928009986877f,
                                              -0.5250730514526367f,
                                              -0.39491748809814453f,
                                              -0.28444138169288635f,
                                              -0.18477343022823334f,
                                              -0.09105003625154495f,
                                              0.0f,
                                              0.07958029955625534f,
                                              0.16093020141124725f,
                                              0.24611230194568634f,
                                              0.33791524171829224f,
                                              0.44070982933044434f,
                                              0.5626170039176941f,
                                              0.7229568362236023f,
                                              1.0f};

// In units of 1/12; the second half is the first with the sign bit.
constexpr std::array<float, 8> fp4_twelfths = {0.0f, 0.0625f, 8.0f, 12.0f, 4.0f, 6.0f, 2.0f, 3.0f};

// Upper half of the dynamic map: seven decades, of which decade 10^(i-6) is cut into 2^i equal pieces that
// are stood for by their middles; and 1. In the rounding of single precision in which bitsandbytes makes it.
constexpr std::array<float, 128> dynamic_upper = {
    5.5000004e-07f, 3.2500002e-06f, 7.75e-06f,      2.1249998e-05f,
    4.375e-05f,     6.625e-05f,     8.875e-05f,     1.5625001e-04f,
    2.6875004e-04f, 3.8125002e-04f, 4.9375003e-04f, 6.062501e-04f,
    7.1875006e-04f, 8.3125e-04f,    9.437501e-04f,  0.0012812499f,
    0.00184375f,    0.00240625f,    0.00296875f,    0.0035312497f,
    0.00409375f,    0.0046562497f,  0.0052187503f,  0.00578125f,
    0.00634375f,    0.00690625f,    0.00746875f,    0.00803125f,
    0.00859375f,    0.009156249f,   0.00971875f,    0.01140625f,
    0.01421875f,    0.01703125f,    0.01984375f,    0.02265625f,
    0.02546875f,    0.028281247f,   0.03109375f,    0.033906247f,
    0.036718752f,   0.03953125f,    0.042343747f,   0.04515625f,
    0.04796875f,    0.05078125f,    0.05359375f,    0.05640625f,
    0.059218753f,   0.062031247f,   0.06484375f,    0.067656256f,
    0.070468746f,   0.07328125f,    0.07609375f,    0.07890625f,
    0.08171874f,    0.08453125f,    0.08734375f,    0.09015625f,
    0.092968754f,   0.095781244f,   0.09859375f,    0.107031256f,
    0.12109375f,    0.13515624f,    0.14921875f,    0.16328125f,
    0.17734374f,    0.19140625f,    0.20546874f,    0.21953125f,
    0.23359376f,    0.24765626f,    0.26171875f,    0.27578127f,
    0.28984374f,    0.30390626f,    0.31796873f,    0.33203125f,
    0.3460937f,     0.36015624f,    0.37421876f,    0.38828123f,
    0.40234375f,    0.4164062f,     0.43046874f,    0.44453126f,
    0.45859373f,    0.47265625f,    0.48671877f,    0.50078124f,
    0.51484376f,    0.5289062f,     0.54296875f,    0.5570313f,
    0.5710938f,     0.58515626f,    0.5992187f,     0.61328125f,
    0.6273438f,     0.64140624f,    0.65546876f,    0.6695313f,
    0.68359375f,    0.6976563f,     0.7117188f,     0.72578126f,
    0.7398438f,     0.75390625f,    0.7679688f,     0.78203124f,
    0.7960937f,     0.8101562f,     0.82421875f,    0.8382812f,
    0.85234374f,    0.8664062f,     0.8804687f,     0.89453125f,
    0.9085938f,     0.92265624f,    0.9367187f,     0.9507812f,
    0.96484375f,    0.9789062f,     0.99296874f,    1.0f};

constexpr int blocks_per_nest = 256;

/// Parameters of one block: a table entry for every absmax in it.
struct Scales {
  float absmax[blocks_per_nest];
  float inverse[blocks_per_nest];
  float nested;
  uint8_t code[blocks_per_nest];
};

template <size_t n>
struct SortedTable {
  Nearest<n> nearest;
  std::array<uint8_t, n> code;  // of each level, ascending

  explicit SortedTable(std::span<const float, n> values) {
    for (size_t i = 0; i < n; ++i) code[i] = static_cast<uint8_t>(i);
    std::stable_sort(code.begin(), code.end(), [&](uint8_t a, uint8_t b) { return values[a] < values[b]; });
    const auto same = [&](uint8_t a, uint8_t b) { return values[a] == values[b]; };
    const auto end = std::unique(code.begin(), code.end(), same);  // fp4 has two zeros: take the first
    float sorted[n];
    std::transform(code.begin(), end, sorted, [&](uint8_t c) { return values[c]; });
    nearest.set(sorted, static_cast<int>(end - code.begin()));
  }
};

class Bnb4Format final : public Format {
 public:
  Bnb4Format(bool normal, int64_t length, bool dq)
      : values_(normal ? nf4_table() : fp4_table()),
        sorted_(values_),
        length_(length),
        dq_(dq),
        info_{.name = normal ? "nf4" : "fp4",
              .family = "bitsandbytes 4-bit",
              .summary = normal ? "quantiles of the normal distribution, absmax per flat block"
                                : "4-bit floats, absmax per flat block",
              .block = dq ? length * blocks_per_nest : length} {}

  const FormatInfo& info() const noexcept override { return info_; }
  FormatSpec spec() const override {
    FormatSpec s{std::string(info_.name), {fmt::format("b{}", length_)}};
    if (dq_) s.options.emplace_back("dq");
    return s;
  }
  int64_t block(const Shape&) const override { return info_.block; }
  std::string misfit(const Shape&) const override { return {}; }

  std::vector<PlaneInfo> planes(const Shape& shape) const override {
    const int64_t n = shape.elements();
    const int64_t bytes = n / 2 + n % 2;
    const int64_t blocks = n / length_ + (n % length_ != 0);
    const int64_t nests = blocks / blocks_per_nest + (blocks % blocks_per_nest != 0);
    const auto size = [](int64_t count) { return static_cast<size_t>(count); };
    std::vector<PlaneInfo> all{
        {"codes", DType::u8, Shape{bytes}, size(bytes), static_cast<size_t>(info_.block / 2)}};
    if (!dq_) {
      all.push_back({"absmax", DType::f32, Shape{blocks}, size(blocks) * 4, 4});
    } else {
      all.push_back({"absmax", DType::u8, Shape{blocks}, size(blocks), blocks_per_nest});
      all.push_back({"nested_absmax", DType::f32, Shape{nests}, size(nests) * 4, 4});
      all.push_back({"offset", DType::f32, Shape{1}, 4, 0});
    }
    return all;
  }

  std::unique_ptr<TensorPass> tensor_pass(const Shape&) const override {
    if (!dq_) return nullptr;
    return std::make_unique<Pass>(length_);
  }

  void fit(const float* x, const float*, int64_t n, const std::byte* const* planes,
           Params& params) const override {
    auto& s = params.as<Scales>();
    const int64_t blocks = (n + length_ - 1) / length_;
    for (int64_t b = 0; b < blocks; ++b) {
      float top = 0;
      for (int64_t i = b * length_; i < std::min(n, (b + 1) * length_); ++i)
        top = std::max(top, std::fabs(x[i]));
      s.absmax[b] = top;
    }
    s.nested = 0;
    if (dq_) nest(load(planes[3]), blocks, s);
    for (int64_t b = 0; b < blocks; ++b) {
      const float inverse = 1.0f / s.absmax[b];
      s.inverse[b] = std::isfinite(inverse) ? inverse : 0.0f;
    }
  }

  void round(const float* x, int64_t first, int64_t n, const Params& params, Code* codes,
             float* values) const override {
    const auto& s = params.as<Scales>();
    for (int64_t i = 0; i < n;) {
      const int64_t b = (first + i) / length_, end = std::min(n, (b + 1) * length_ - first);
      sorted_.nearest.indices(x + i, s.inverse[b], end - i, codes + i);
      for (; i < end; ++i) {
        codes[i] = sorted_.code[static_cast<size_t>(codes[i])];
        if (values != nullptr) values[i] = values_[static_cast<size_t>(codes[i])] * s.absmax[b];
      }
    }
  }

  void pack(const Code* codes, int64_t n, const Params& params, std::byte* const* planes) const override {
    for (int64_t i = 0; i < n; i += 2) {
      const Code low = i + 1 < n ? codes[i + 1] : 0;
      planes[0][i / 2] = static_cast<std::byte>((codes[i] & 15) << 4 | (low & 15));
    }
    const auto& s = params.as<Scales>();
    const int64_t blocks = (n + length_ - 1) / length_;
    if (!dq_) {
      std::memcpy(planes[1], s.absmax, 4);
      return;
    }
    std::memcpy(planes[1], s.code, static_cast<size_t>(blocks));
    std::memcpy(planes[2], &s.nested, 4);
  }

  void decode(const std::byte* const* planes, int64_t n, float* out) const override {
    for (int64_t b = 0; b * length_ < n; ++b) {
      const float absmax = dq_ ? unnest(static_cast<uint8_t>(planes[1][b]), load(planes[2]), load(planes[3]))
                               : load(planes[1]);
      for (int64_t i = b * length_; i < std::min(n, (b + 1) * length_); ++i) {
        const auto pair = static_cast<uint8_t>(planes[0][i / 2]);
        out[i] = values_[i % 2 == 0 ? pair >> 4 : pair & 15] * absmax;
      }
    }
  }

 private:
  /// The mean of all absmax, whatever pieces the tensor comes in.
  class Pass final : public TensorPass {
   public:
    explicit Pass(int64_t length) : length_(length) {}
    void add(std::span<const float> x) override {
      for (const float v : x) {
        top_ = std::max(top_, std::fabs(v));
        if (++filled_ == length_) close();
      }
    }
    void finish(std::byte* const* planes) override {
      if (filled_ > 0) close();
      const auto offset = static_cast<float>(blocks_ > 0 ? sum_ / static_cast<double>(blocks_) : 0.0);
      std::memcpy(planes[3], &offset, 4);
    }

   private:
    void close() {
      sum_ += static_cast<double>(top_);
      ++blocks_;
      top_ = 0;
      filled_ = 0;
    }
    int64_t length_, filled_ = 0, blocks_ = 0;
    float top_ = 0;
    double sum_ = 0;
  };

  static float load(const std::byte* at) noexcept {
    float v;
    std::memcpy(&v, at, 4);
    return v;
  }

  static float unnest(uint8_t code, float nested, float offset) noexcept {
    return bnb_dynamic_map()[code] * nested + offset;
  }

  // Replaces every absmax by what its 8 bits will give.
  static void nest(float offset, int64_t blocks, Scales& s) {
    static const SortedTable<256> map(bnb_dynamic_map());
    for (int64_t b = 0; b < blocks; ++b) s.nested = std::max(s.nested, std::fabs(s.absmax[b] - offset));
    const float inverse = 1.0f / s.nested;
    for (int64_t b = 0; b < blocks; ++b) {
      const float share = std::isfinite(inverse) ? (s.absmax[b] - offset) * inverse : 0.0f;
      s.code[b] = static_cast<uint8_t>(map.nearest.index(share));
      s.absmax[b] = unnest(s.code[b], s.nested, offset);
    }
  }

  std::span<const float, 16> values_;
  SortedTable<16> sorted_;
  int64_t length_;
  bool dq_;
  FormatInfo info_;
};

}  // namespace

std::span<const float, 16> nf4_table() noexcept { return nf4_values; }

std::span<const float, 16> fp4_table() noexcept {
  static const std::array<float, 16> values = [] {
    std::array<float, 16> v{};
    for (size_t i = 0; i < 8; ++i) {
      v[i] = fp4_twelfths[i] / 12.0f;
      v[i + 8] = -v[i];
    }
    return v;
  }();
  return values;
}

std::span<const float, 256> bnb_dynamic_map() noexcept {
  static const std::array<float, 256> map = [] {
    std::array<float, 256> m{};
    for (size_t i = 0; i < 128; ++i) m[128 + i] = dynamic_upper[i];
    for (size_t i = 0; i < 127; ++i) m[126 - i] = -dynamic_upper[i];  // there is no -1
    return m;
  }();
  return map;
}

std::unique_ptr<Format> Bnb4Family::make(const FormatSpec& spec) {
  if (spec.name != "nf4" && spec.name != "fp4") return nullptr;
  int64_t length = 64;
  bool dq = false;
  for (const std::string& option : spec.options) {
    bool known = option == "dq";
    dq |= known;
    for (int64_t n = 32; n <= 4096; n *= 2) {
      if (option != fmt::format("b{}", n)) continue;
      length = n;
      known = true;
    }
    if (!known) {
      throw Error(ErrorKind::usage, fmt::format("{}: unknown option '{}'", spec.to_string(), option),
                  fmt::format("{} takes bN with N = 32, 64, 128 ... 4096, and dq", spec.name));
    }
  }
  return std::make_unique<Bnb4Format>(spec.name == "nf4", length, dq);
}

std::vector<std::string> Bnb4Family::examples() {
  return {"nf4:b64", "nf4:b64:dq", "nf4:b128", "fp4:b64", "fp4:b64:dq"};
}

}  // namespace nibble
