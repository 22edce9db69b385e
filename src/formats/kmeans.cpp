#include "formats/kmeans.h"

#include <algorithm>
#include <bit>

#include "formats/granularity.h"
#include "formats/histogram.h"
#include "formats/kmeans1d.h"
#include "formats/nearest.h"
#include "formats/packing.h"

namespace nibble {
namespace {

constexpr int most = 256;

struct Options {
  int count = 16;
  Granularity granularity{Granularity::Kind::tensor, 0};
  ParamType type = ParamType::f16;
};

class KmeansFormat final : public Format {
 public:
  explicit KmeansFormat(const Options& o)
      : o_(o),
        bits_(std::bit_width(static_cast<unsigned>(o.count - 1))),
        name_(fmt::format("kmeans{}", o.count)),
        info_{.name = name_,
              .family = "k-means codebook",
              .summary = "weights share the values of a codebook",
              .block = o.granularity.kind == Granularity::Kind::group ? o.granularity.group : 0} {}

  const FormatInfo& info() const noexcept override { return info_; }
  FormatSpec spec() const override {
    FormatSpec s{name_, {o_.granularity.to_string()}};
    if (o_.type != ParamType::f16) s.options.emplace_back(param_type_name(o_.type));
    return s;
  }
  int64_t block(const Shape& shape) const override { return o_.granularity.block(shape); }
  std::string misfit(const Shape& shape) const override { return o_.granularity.misfit(shape); }
  std::vector<PlaneInfo> planes(const Shape& shape) const override {
    return {o_.granularity.codes(shape, bits_),
            o_.granularity.parameters("codebook", shape, param_dtype(o_.type), o_.count)};
  }

  std::unique_ptr<TensorPass> tensor_pass(const Shape&) const override {
    if (!o_.granularity.whole_tensor()) return nullptr;
    return std::make_unique<Pass>(*this);
  }

  void fit(const float* x, const float* importance, int64_t n, const std::byte* const* planes,
           Params& params) const override {
    float levels[most];
    if (o_.granularity.whole_tensor()) {
      load(planes[1], levels);
    } else {
      // Exact for short blocks; the product with the count bounds the time spent on long ones.
      const int exact = std::clamp(16384 / o_.count, std::min(2 * o_.count, 256), 512);
      const auto size = static_cast<size_t>(n);
      const std::span<const float> weight(importance, importance == nullptr ? 0 : size);
      const auto centres = kmeans_1d({x, size}, weight, o_.count, exact);
      for (int i = 0; i < o_.count; ++i) levels[i] = param_round(centres[static_cast<size_t>(i)], o_.type);
    }
    params.as<Nearest<most>>().set(levels, o_.count);
  }

  void round(const float* x, int64_t, int64_t n, const Params& params, Code* codes,
             float* values) const override {
    const auto& p = params.as<Nearest<most>>();
    p.indices(x, 1.0f, n, codes);
    if (values == nullptr) return;
    for (int64_t i = 0; i < n; ++i) values[i] = p.levels[codes[i]];
  }

  void pack(const Code* codes, int64_t n, const Params& params, std::byte* const* planes) const override {
    pack_codes(codes, n, bits_, planes[0]);
    if (!o_.granularity.whole_tensor()) store(params.as<Nearest<most>>().levels, planes[1]);
  }

  void decode(const std::byte* const* planes, int64_t n, float* out) const override {
    float levels[most];
    load(planes[1], levels);
    std::fill(levels + o_.count, levels + most, levels[o_.count - 1]);
    constexpr int64_t chunk = 256;
    uint8_t codes[chunk];
    for (int64_t begin = 0; begin < n; begin += chunk) {
      const int64_t m = std::min(chunk, n - begin);
      unpack_codes(planes[0] + begin / 8 * bits_, m, bits_, codes);
      for (int64_t i = 0; i < m; ++i) out[begin + i] = levels[codes[i]];
    }
  }

 private:
  class Pass final : public TensorPass {
   public:
    explicit Pass(const KmeansFormat& format) : format_(format) {}
    void add(std::span<const float> x) override { seen_.add(x); }
    void finish(std::byte* const* planes) override {
      const Histogram::Points p = seen_.points();
      auto centres = kmeans_1d(p.x, p.weight, format_.o_.count, 2048);
      for (float& c : centres) c = param_round(c, format_.o_.type);
      format_.store(centres.data(), planes[1]);
    }

   private:
    const KmeansFormat& format_;
    Histogram seen_;
  };

  void load(const std::byte* plane, float* levels) const {
    for (int i = 0; i < o_.count; ++i) levels[i] = param_load(plane, o_.type, i);
  }
  void store(const float* levels, std::byte* plane) const {
    for (int i = 0; i < o_.count; ++i) param_store(levels[i], o_.type, plane, i);
  }

  Options o_;
  int bits_;
  std::string name_;
  FormatInfo info_;
};

}  // namespace

std::unique_ptr<Format> KmeansFamily::make(const FormatSpec& spec) {
  constexpr std::string_view prefix = "kmeans";
  if (!std::string_view(spec.name).starts_with(prefix)) return nullptr;
  const std::string number = spec.name.substr(prefix.size());
  const bool digits = !number.empty() && number.size() <= 3 &&
                      number.find_first_not_of("0123456789") == std::string::npos && number[0] != '0';
  Options o;
  o.count = digits ? std::stoi(number) : 0;
  if (o.count < 2 || o.count > most) {
    throw Error(ErrorKind::usage, fmt::format("'{}' names no number of shared weights", spec.name),
                "write kmeans2 to kmeans256, like kmeans16:channel");
  }
  for (const std::string& option : spec.options) {
    if (const auto g = Granularity::parse(option)) {
      o.granularity = *g;
    } else if (!parse_param_type(option, o.type)) {
      throw Error(ErrorKind::usage, fmt::format("{}: unknown option '{}'", spec.to_string(), option),
                  fmt::format("{} takes tensor, channel or gN; f16, f32, bf16", spec.name));
    }
  }
  return std::make_unique<KmeansFormat>(o);
}

std::vector<std::string> KmeansFamily::examples() {
  return {"kmeans16:tensor",   "kmeans16:channel", "kmeans2:channel",   "kmeans10:g256",
          "kmeans100:channel", "kmeans256:tensor", "kmeans8:tensor:f32"};
}

}  // namespace nibble
