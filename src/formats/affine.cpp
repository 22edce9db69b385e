#include "formats/affine.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "formats/granularity.h"
#include "formats/grid_search.h"
#include "formats/histogram.h"
#include "formats/packing.h"
#include "formats/plain_weights.h"

namespace nibble {
namespace {

enum class Zero : uint8_t { none, integer, real };

struct Options {
  int bits = 4;
  Granularity granularity;
  Zero zero = Zero::none;
  ParamType type = ParamType::f16;
  bool narrow = false;
  bool minmax = false;
};

constexpr std::array<std::string_view, 9> names = {"",     "",     "int2", "int3", "int4",
                                                   "int5", "int6", "int7", "int8"};

/// Parameters of one block: weight = (code - zero) * scale.
struct Grid {
  float scale, inverse, zero;
};

Grid make_grid(const UniformGrid& g) {
  const float inverse = 1.0f / g.scale;
  const bool usable = g.scale != 0 && std::isfinite(inverse);
  return {g.scale, usable ? inverse : 0.0f, g.zero};
}

class AffineFormat final : public Format {
 public:
  explicit AffineFormat(const Options& o)
      : o_(o),
        levels_((1 << o.bits) - 1),
        middle_(1 << (o.bits - 1)),
        low_(o.narrow ? 1 : 0),
        info_{.name = names[static_cast<size_t>(o.bits)],
              .family = "affine integers",
              .summary = "integer codes with a scale, and with asym a zero point",
              .block = o.granularity.kind == Granularity::Kind::group ? o.granularity.group : 0} {}

  const FormatInfo& info() const noexcept override { return info_; }

  FormatSpec spec() const override {
    FormatSpec s{std::string(info_.name), {o_.granularity.to_string()}};
    if (o_.zero != Zero::none) s.options.emplace_back("asym");
    if (o_.zero == Zero::real) s.options.emplace_back("zf");
    if (o_.narrow) s.options.emplace_back("narrow");
    if (o_.type != ParamType::f16) s.options.emplace_back(param_type_name(o_.type));
    if (o_.minmax) s.options.emplace_back("minmax");
    return s;
  }

  int64_t block(const Shape& shape) const override { return o_.granularity.block(shape); }
  std::string misfit(const Shape& shape) const override { return o_.granularity.misfit(shape); }

  std::vector<PlaneInfo> planes(const Shape& shape) const override {
    const Granularity& g = o_.granularity;
    std::vector<PlaneInfo> all{g.codes(shape, o_.bits, raw_int8() ? DType::i8 : DType::u8),
                               g.parameters("scale", shape, param_dtype(o_.type))};
    if (o_.zero == Zero::integer) all.push_back(g.parameters("zero", shape, DType::u8));
    if (o_.zero == Zero::real) all.push_back(g.parameters("zero", shape, param_dtype(o_.type)));
    return all;
  }

  std::unique_ptr<TensorPass> tensor_pass(const Shape&) const override {
    if (!o_.granularity.whole_tensor()) return nullptr;
    return std::make_unique<Pass>(*this);
  }

  void fit(const float* x, const float* importance, int64_t n, const std::byte* const* planes,
           Params& params) const override {
    fit_with(nullptr, x, importance, n, planes, params);
  }

  void fit_with(GridSums sums, const float* x, const float* importance, int64_t n,
                const std::byte* const* planes, Params& params) const override {
    if (o_.granularity.whole_tensor()) {
      params.as<Grid>() = make_grid(load(planes));
      return;
    }
    const bool silent =
        importance == nullptr || std::none_of(importance, importance + n, [](float w) { return w > 0; });
    std::vector<float> plain(silent && weighs() ? static_cast<size_t>(n) : 0);
    if (!plain.empty()) fitting::plain_weights({x, plain.size()}, nullptr, plain);
    const GridData data{x, plain.empty() ? importance : plain.data(), n, sums};
    params.as<Grid>() = make_grid(choose(data, min_max(x, n)));
  }

  void round(const float* x, int64_t, int64_t n, const Params& params, Code* codes,
             float* values) const override {
    const Grid g = params.as<Grid>();
    const bool real = o_.zero == Zero::real;
    const float shift = real ? g.zero : 0.0f;
    const float moved = real ? 0.0f : g.zero;
    const float low = static_cast<float>(low_) - moved, high = static_cast<float>(levels_) - moved;
    const int offset = static_cast<int>(moved);
    for (int64_t i = 0; i < n; ++i) {
      const float t = std::min(std::max(x[i] * g.inverse + shift, low), high);
      codes[i] = static_cast<Code>(std::nearbyint(t)) + offset;
    }
    if (values == nullptr) return;
    for (int64_t i = 0; i < n; ++i) values[i] = (static_cast<float>(codes[i]) - g.zero) * g.scale;
  }

  void pack(const Code* codes, int64_t n, const Params& params, std::byte* const* planes) const override {
    pack_codes(codes, n, o_.bits, planes[0]);
    if (raw_int8()) flip_signs(planes[0], n);
    if (!o_.granularity.whole_tensor()) store({params.as<Grid>().scale, params.as<Grid>().zero}, planes);
  }

  void decode(const std::byte* const* planes, int64_t n, float* out) const override {
    const UniformGrid g = load(planes);
    constexpr int64_t chunk = 256;
    uint8_t codes[chunk];
    for (int64_t begin = 0; begin < n; begin += chunk) {
      const int64_t m = std::min(chunk, n - begin);
      unpack_codes(planes[0] + begin / 8 * o_.bits, m, o_.bits, codes);
      const uint8_t flip = raw_int8() ? 0x80 : 0;
      for (int64_t i = 0; i < m; ++i)
        out[begin + i] = (static_cast<float>(codes[i] ^ flip) - g.zero) * g.scale;
    }
  }

 private:
  class Pass final : public TensorPass {
   public:
    explicit Pass(const AffineFormat& format) : format_(format) {}
    void add(std::span<const float> x) override { seen_.add(x); }
    void finish(std::byte* const* planes) override {
      Histogram::Points p = seen_.points();
      if (format_.weighs()) fitting::plain_weights(p.x, p.weight.data(), p.weight);
      const GridData data{p.x.data(), p.weight.data(), static_cast<int64_t>(p.x.size())};
      format_.store(format_.choose(data, {seen_.min(), seen_.max()}), planes);
    }

   private:
    const AffineFormat& format_;
    Histogram seen_;
  };

  // At 8 bits nothing is shrunk.
  bool weighs() const { return !o_.minmax && o_.bits < 8; }
  bool raw_int8() const { return o_.bits == 8 && o_.zero == Zero::none; }

  static void flip_signs(std::byte* codes, int64_t n) {
    for (int64_t i = 0; i < n; ++i) codes[i] ^= std::byte{0x80};
  }

  UniformGrid load(const std::byte* const* planes) const {
    UniformGrid g{param_load(planes[1], o_.type), static_cast<float>(middle_)};
    if (o_.zero == Zero::integer) g.zero = static_cast<float>(static_cast<uint8_t>(planes[2][0]));
    if (o_.zero == Zero::real) g.zero = param_load(planes[2], o_.type);
    return g;
  }

  void store(const UniformGrid& g, std::byte* const* planes) const {
    param_store(g.scale, o_.type, planes[1]);
    if (o_.zero == Zero::integer) planes[2][0] = static_cast<std::byte>(static_cast<int>(g.zero));
    if (o_.zero == Zero::real) param_store(g.zero, o_.type, planes[2]);
  }

  // The parameters as they will be stored, from a grid in full precision.
  UniformGrid stored(UniformGrid g) const {
    g.scale = param_round(g.scale, o_.type);
    if (o_.zero == Zero::real) g.zero = param_round(g.zero, o_.type);
    return g;
  }

  UniformGrid textbook(MinMax range) const {
    UniformGrid g{0, static_cast<float>(middle_)};
    const auto top = static_cast<double>(levels_);
    if (o_.zero == Zero::none) {
      g.scale = std::max(-range.min, range.max) / static_cast<float>(middle_ - 1);
      return stored(g);
    }
    const bool real = o_.zero == Zero::real;
    const double low = real ? range.min : std::min(range.min, 0.0f);
    const double high = real ? range.max : std::max(range.max, 0.0f);
    g.zero = 0;
    g.scale = param_round(static_cast<float>((high - low) / top), o_.type);
    if (g.scale == 0 && real && low != 0)
      g = {static_cast<float>(std::fabs(low)), low > 0 ? -1.0f : 1.0f};
    else if (g.scale != 0 && real)
      g.zero = static_cast<float>(-low / g.scale);
    else if (g.scale != 0)
      g.zero = std::nearbyint(static_cast<float>(std::clamp(-low / g.scale, 0.0, top)));
    return stored(g);
  }

  UniformGrid choose(const GridData& data, MinMax range) const {
    const UniformGrid plain = textbook(range);
    if (o_.minmax) return plain;
    const bool integer = o_.zero != Zero::real;
    UniformGrid best = plain;
    double error = grid_error(data, plain, low_, levels_, integer);
    const auto offer = [&](const UniformGrid& g) {
      const UniformGrid s = stored(g);
      const double e = grid_error(data, s, low_, levels_, integer);
      if (e < error) {
        error = e;
        best = s;
      }
    };
    if (o_.zero == Zero::none) offer(search_scale(data, low_, levels_, middle_, !o_.narrow));
    if (o_.zero == Zero::integer) offer(search_scale_and_zero(data, levels_));
    if (o_.zero == Zero::real) offer(search_affine(data, levels_));
    return best;
  }

  Options o_;
  int levels_, middle_, low_;
  FormatInfo info_;
};

[[noreturn]] void unknown_option(const FormatSpec& spec, const std::string& option) {
  throw Error(ErrorKind::usage, fmt::format("{}: unknown option '{}'", spec.to_string(), option),
              fmt::format("{} takes tensor, channel or gN; sym, asym, zf, narrow; f16, f32, bf16; minmax",
                          spec.name));
}

}  // namespace

std::unique_ptr<Format> AffineFamily::make(const FormatSpec& spec) {
  const auto name = std::find(names.begin() + 2, names.end(), spec.name);
  if (name == names.end()) return nullptr;
  Options o;
  o.bits = static_cast<int>(name - names.begin());
  bool symmetric = false, asymmetric = false;
  for (const std::string& option : spec.options) {
    if (const auto g = Granularity::parse(option))
      o.granularity = *g;
    else if (parse_param_type(option, o.type))
      continue;
    else if (option == "sym")
      symmetric = true;
    else if (option == "asym")
      asymmetric = true;
    else if (option == "zf")
      o.zero = Zero::real;
    else if (option == "narrow")
      o.narrow = true;
    else if (option == "minmax")
      o.minmax = true;
    else
      unknown_option(spec, option);
  }
  if (asymmetric && o.zero == Zero::none) o.zero = Zero::integer;
  if ((symmetric || o.narrow) && o.zero != Zero::none) {
    fail(ErrorKind::usage, "{}: {} contradicts a zero point", spec.to_string(), symmetric ? "sym" : "narrow");
  }
  return std::make_unique<AffineFormat>(o);
}

std::vector<std::string> AffineFamily::examples() {
  return {"int2:g64:asym",
          "int3:g128",
          "int3:channel:asym",
          "int4:g128",
          "int4:g128:asym",
          "int4:g64:asym:zf",
          "int4:g32:f32",
          "int4:channel",
          "int4:tensor:asym",
          "int5:g64",
          "int6:channel",
          "int7:g128:asym",
          "int8:channel",
          "int8:g128:asym",
          "int8:tensor",
          "int8:tensor:asym:minmax",
          "int8:channel:narrow:minmax",
          "int4:g128:asym:bf16"};
}

}  // namespace nibble
