// Affine integers against published arithmetic, torch's quantizers, and exhaustive search.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "formats/format.h"
#include "formats/grid_search.h"
#include "formats/histogram.h"
#include "formats/packing.h"
#include "formats/plain_weights.h"

namespace nibble {
namespace {

std::vector<float> gaussian(int64_t n, uint64_t seed, double scale = 0.02) {
  Rng rng(seed);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = static_cast<float>(rng.normal() * scale);
  return x;
}

std::vector<float> decoded(const QTensor& t) {
  std::vector<float> y(static_cast<size_t>(t.shape.elements()));
  decode_range(t, 0, t.shape.elements(), y.data());
  return y;
}

double squared_error(std::span<const float> x, std::span<const float> y, std::span<const float> w = {}) {
  double e = 0;
  for (size_t i = 0; i < x.size(); ++i)
    e += std::pow(double(x[i]) - y[i], 2) * (w.empty() ? 1.0 : w[i % w.size()]);
  return e;
}

template <class T>
std::vector<T> plane(const QTensor& t, std::string_view name) {
  for (const Plane& p : t.planes) {
    if (p.name != name) continue;
    std::vector<T> v(p.bytes.size() / sizeof(T));
    if (!v.empty()) std::memcpy(v.data(), p.bytes.data(), v.size() * sizeof(T));
    return v;
  }
  ADD_FAILURE() << "no plane " << name;
  return {};
}

TEST(Packing, LittleEndFirstWithoutGaps) {
  // Codes 1, 2, ..., 8 in 3 bits: 001 010 011 100 101 110 111 000 from the low end up.
  const Code codes[8] = {1, 2, 3, 4, 5, 6, 7, 0};
  std::byte out[3];
  pack_codes(codes, 8, 3, out);
  EXPECT_EQ(static_cast<int>(out[0]), 0b11010001);
  EXPECT_EQ(static_cast<int>(out[1]), 0b01011000);
  EXPECT_EQ(static_cast<int>(out[2]), 0b00011111);
  const Code nibbles[3] = {0xa, 0xb, 0xc};
  std::byte two[2];
  pack_codes(nibbles, 3, 4, two);
  EXPECT_EQ(static_cast<int>(two[0]), 0xba);
  EXPECT_EQ(static_cast<int>(two[1]), 0x0c);
}

TEST(Packing, EveryWidthAndLengthComesBack) {
  Rng rng(1);
  for (int bits = 1; bits <= 8; ++bits) {
    for (int64_t n = 0; n <= 41; ++n) {
      std::vector<Code> codes(static_cast<size_t>(n));
      for (Code& c : codes) c = static_cast<Code>(rng.below(1u << bits));
      std::vector<std::byte> bytes(static_cast<size_t>(packed_bytes(n, bits)));
      std::vector<uint8_t> back(codes.size());
      pack_codes(codes.data(), n, bits, bytes.data());
      unpack_codes(bytes.data(), n, bits, back.data());
      EXPECT_TRUE(std::equal(codes.begin(), codes.end(), back.begin())) << bits << " bits, " << n << " codes";
    }
  }
}

// A 3 x 3 matrix by hand: range -184 ... 728.6, 255 steps, zero point 51.
TEST(Affine, TextbookExampleByHand) {
  const std::vector<float> x = {191.6f, -13.5f, 728.6f, 92.14f, 295.5f, -184.0f, 0.0f, 684.6f, 245.5f};
  const QTensor t = encode_nearest(format_of("int8:tensor:asym:f32:minmax"), Shape{3, 3}, x);
  const float scale = static_cast<float>((728.6 + 184.0) / 255.0);
  EXPECT_NEAR(plane<float>(t, "scale")[0], scale, 1e-6);
  EXPECT_EQ(plane<uint8_t>(t, "zero"), std::vector<uint8_t>{51});
  EXPECT_EQ(plane<uint8_t>(t, "codes"), (std::vector<uint8_t>{105, 47, 255, 77, 134, 0, 51, 242, 120}));
  const auto y = decoded(t);
  EXPECT_FLOAT_EQ(y[0], 54 * plane<float>(t, "scale")[0]);
  EXPECT_EQ(y[6], 0.0f);

  const QTensor s = encode_nearest(format_of("int8:tensor:f32:minmax"), Shape{3, 3}, x);
  EXPECT_FLOAT_EQ(plane<float>(s, "scale")[0], 728.6f / 127.0f);
  EXPECT_EQ(plane<int8_t>(s, "codes"), (std::vector<int8_t>{33, -2, 127, 16, 52, -32, 0, 119, 43}));
}

// Codes by torch 1.13 (Debian python3-torch): torch.quantize_per_tensor and quantize_per_channel of
// x[i] = (37 i mod 101 - 50) / 64 + (7 i^2 mod 13) / 128 as 3 x 24 with scale max|x| / 127 (qint8), or
// (max(x, 0) - min(x, 0)) / 255 and zero point round(-min / scale) (quint8).
struct TorchCase {
  const char* word;
  std::vector<float> scale;
  std::vector<uint8_t> zero;
  std::vector<int> codes;
};

const TorchCase torch_cases[] = {
    {"int8:tensor:f32:minmax",
     {0.0066437008790671825f},
     {},
     {-118, -22, 59,  -81, 2,   87,   -65, 22,  111, -38, 53,  -108, -15, 63,  -79, 2,   100,  -54,
      31,   116, -34, 54,  -94, -4,   73,  -72, 7,   102, -54, 44,   127, -26, 60,  -91, -2,   87,
      -60,  16,  109, -49, 46,  -111, -13, 71,  -82, 4,   91,  -59,  31,  121, -40, 53,  -106, -11,
      71,   -69, 14,  99,  -53, 34,   122, -26, 65,  -96, -4,  75,   -67, 14,  112, -42, 42,   -109}},
    {"int8:tensor:asym:f32:minmax",
     {0.00637254910543561f},
     {123},
     {0,   100, 184, 38,  125, 214, 56,  146, 238, 84,  178, 10,  107, 189, 41,  125, 227, 67,
      155, 244, 87,  179, 25,  119, 199, 48,  130, 230, 67,  168, 255, 96,  186, 29,  121, 214,
      60,  140, 237, 72,  171, 8,   110, 197, 37,  127, 217, 62,  155, 249, 81,  178, 13,  112,
      197, 51,  138, 226, 68,  159, 251, 96,  190, 22,  119, 201, 53,  138, 239, 79,  167, 9}},
    {"int8:channel:f32:minmax",
     {0.0061515746638178825f, 0.0066437008790671825f, 0.006397638004273176f},
     {},
     {-127, -24, 64,  -88, 3,    94,   -70, 24,  119, -41,  57,  -117, -17, 69,  -85, 3,   108,  -58,
      33,   126, -37, 58,  -102, -4,   73,  -72, 7,   102,  -54, 44,   127, -26, 60,  -91, -2,   87,
      -60,  16,  109, -49, 46,   -111, -13, 71,  -82, 4,    91,  -59,  32,  126, -42, 55,  -110, -11,
      73,   -72, 15,  103, -55,  35,   127, -27, 67,  -100, -4,  78,   -70, 15,  116, -44, 44,   -114}},
    {"int8:channel:asym:f32:minmax",
     {0.006096813827753067f, 0.006188725586980581f, 0.006035539321601391f},
     {128, 119, 120},
     {0,   104, 192, 40,  131, 223, 58,  152, 248, 87,  186, 10,  111, 197, 42,  131, 237, 69,
      161, 255, 91,  187, 25,  124, 197, 42,  127, 229, 61,  166, 255, 91,  183, 22,  116, 212,
      55,  137, 236, 66,  168, 0,   105, 195, 31,  123, 216, 56,  154, 253, 76,  178, 4,   108,
      198, 44,  136, 229, 62,  158, 255, 92,  191, 14,  116, 203, 46,  136, 243, 73,  167, 0}},
};

TEST(Affine, CodesOfTorch) {
  std::vector<float> x;
  for (int i = 0; i < 72; ++i)
    x.push_back(static_cast<float>(i * 37 % 101 - 50) / 64.0f + static_cast<float>(i * i * 7 % 13) / 128.0f);
  for (const TorchCase& c : torch_cases) {
    const QTensor t = encode_nearest(format_of(c.word), Shape{3, 24}, x);
    EXPECT_EQ(plane<float>(t, "scale"), c.scale) << c.word;
    if (c.zero.empty()) {
      const auto codes = plane<int8_t>(t, "codes");
      EXPECT_TRUE(std::equal(c.codes.begin(), c.codes.end(), codes.begin(), codes.end())) << c.word;
    } else {
      EXPECT_EQ(plane<uint8_t>(t, "zero"), c.zero) << c.word;
      const auto codes = plane<uint8_t>(t, "codes");
      EXPECT_TRUE(std::equal(c.codes.begin(), c.codes.end(), codes.begin(), codes.end())) << c.word;
    }
  }
}

TEST(Affine, SearchIsNeverWorseThanMinMax) {
  Rng rng(4);
  for (const std::string options : {"", ":asym", ":asym:zf", ":narrow"}) {
    for (int bits = 2; bits <= 8; ++bits) {
      auto x = gaussian(64 * 128, rng.next());
      for (size_t i = 0; i < x.size(); ++i) {
        if (i % 200 == 0) x[i] *= 8;                   // outliers
        if (i / 128 % 4 == 1) x[i] = std::fabs(x[i]);  // one-sided groups
        if (i / 128 % 4 == 2) x[i] += 0.05f;           // shifted ones
      }
      const std::string word = fmt::format("int{}:g128{}", bits, options);
      const Format& search = format_of(word);
      const Format& plain = format_of(word + ":minmax");
      for (size_t g = 0; g < 64; ++g) {  // group by group, not only on average
        const std::span<const float> group(x.data() + g * 128, 128);
        std::vector<float> w(128, 1.0f);
        if (bits < 8) fitting::plain_weights(group, nullptr, w);  // the error that is minimized
        const double e = squared_error(group, decoded(encode_nearest(search, Shape{128}, group)), w);
        const double m = squared_error(group, decoded(encode_nearest(plain, Shape{128}, group)), w);
        EXPECT_LE(e, m * 1.0001) << word << " group " << g;
      }
    }
  }
}

// Least error of every (scale, zero point) on a fine mesh, each refined to its least-squares scale.
double exhaustive(const GridData& d, int low, int levels, int zero_from, int zero_to, bool both_signs) {
  double best = 1e300;
  float top = 0;
  for (int64_t i = 0; i < d.n; ++i) top = std::max(top, std::fabs(d.x[i]));
  for (int z = zero_from; z <= zero_to; ++z) {
    for (int k = 1; k <= 600; ++k) {
      for (const float sign : {1.0f, -1.0f}) {
        if (sign < 0 && !both_signs) continue;
        const float s = sign * 1.1f * top * static_cast<float>(k) / 600.0f;
        double xq = 0, qq = 0, e = 0;
        for (int pass = 0; pass < 2; ++pass) {
          const double step = pass == 0 ? 0 : (qq > 0 ? xq / qq : 0);
          for (int64_t i = 0; i < d.n; ++i) {
            const double w = d.weight != nullptr ? d.weight[i] : 1.0;
            const double q = std::clamp(std::nearbyint(d.x[i] / s), float(low - z), float(levels - z));
            if (pass == 0)
              xq += w * d.x[i] * q, qq += w * q * q;
            else
              e += w * std::pow(d.x[i] - step * q, 2);
          }
        }
        best = std::min(best, e);
      }
    }
  }
  return best;
}

TEST(Affine, SearchIsNearTheOptimum) {
  Rng rng(9);
  for (const int bits : {2, 3, 4}) {
    const int levels = (1 << bits) - 1, middle = 1 << (bits - 1);
    double found_sym = 0, best_sym = 0, found_asym = 0, best_asym = 0;
    for (int trial = 0; trial < 6; ++trial) {
      const auto x = gaussian(64, rng.next(), 1.0);
      std::vector<float> w(64);
      for (float& v : w) v = static_cast<float>(rng.uniform() + 0.05);
      const GridData d{x.data(), trial % 2 == 0 ? nullptr : w.data(), 64};
      found_sym += grid_error(d, search_scale(d, 0, levels, middle, true), 0, levels, true);
      best_sym += exhaustive(d, 0, levels, middle, middle, true);
      found_asym += grid_error(d, search_scale_and_zero(d, levels), 0, levels, true);
      best_asym += exhaustive(d, 0, levels, 0, levels, false);
    }
    EXPECT_LE(found_sym, best_sym * 1.05) << bits << " bits";
    EXPECT_LE(found_asym, best_asym * 1.08) << bits << " bits";
  }
}

// What plain_weights.h is for: the least squared error shrinks, these weights do not.
TEST(Affine, KeepsTheLengthOfWhatItApproximates) {
  const Shape shape{64, 512};
  const auto x = gaussian(shape.elements(), 77);
  const std::vector<float> even(512, 1.0f);
  const auto length = [&](const std::vector<float>& y) {
    double xy = 0, xx = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      xy += double{x[i]} * y[i];
      xx += double{x[i]} * x[i];
    }
    return xy / xx;
  };
  for (const char* word : {"int2:g64:asym", "int3:g128", "int3:g128:asym:zf", "int4:channel"}) {
    const Format& f = format_of(word);
    const double own = length(decoded(encode_nearest(f, shape, x)));
    const double least_squares = length(decoded(encode_nearest(f, shape, x, even)));
    EXPECT_LT(least_squares, 0.994) << word;
    EXPECT_LT(std::fabs(1 - own), 0.75 * (1 - least_squares)) << word;
  }
}

TEST(Affine, ImportanceLowersTheWeightedError) {
  const Shape shape{32, 256};
  const auto x = gaussian(shape.elements(), 21);
  Rng rng(22);
  std::vector<float> w(256);
  for (float& v : w) v = static_cast<float>(std::exp(2 * rng.normal()));
  for (const char* word : {"int2:g64", "int3:g128:asym", "int4:g128", "int4:g64:asym:zf", "int8:channel"}) {
    const Format& f = format_of(word);
    const double with = squared_error(x, decoded(encode_nearest(f, shape, x, w)), w);
    const double without = squared_error(x, decoded(encode_nearest(f, shape, x)), w);
    EXPECT_LT(with, without) << word;
    // Importance that says nothing changes nothing.
    const std::vector<float> zeros(256, 0.0f);
    EXPECT_EQ(plane<uint8_t>(encode_nearest(f, shape, x, zeros), "codes"),
              plane<uint8_t>(encode_nearest(f, shape, x), "codes"))
        << word;
  }
}

TEST(Affine, TensorWideParametersDoNotDependOnTheCut) {
  const Shape shape{40, 100};
  auto x = gaussian(shape.elements(), 31);
  x[3777] = 3.5f;
  for (const char* word :
       {"int4:tensor", "int8:tensor:asym", "int3:tensor:asym:zf", "int8:tensor:asym:minmax"}) {
    const Format& f = format_of(word);
    const QTensor whole = encode_nearest(f, shape, x);
    const auto info = f.planes(shape);
    std::vector<std::vector<std::byte>> store;
    std::vector<std::byte*> at;
    for (const PlaneInfo& p : info) store.emplace_back(p.bytes);
    for (auto& s : store) at.push_back(s.data());
    const auto pass = f.tensor_pass(shape);
    for (size_t i = 0; i < x.size(); i += 7) pass->add({x.data() + i, std::min<size_t>(7, x.size() - i)});
    pass->finish(at.data());
    for (size_t i = 1; i < info.size(); ++i) {
      EXPECT_EQ(info[i].block_bytes, 0u);
      EXPECT_TRUE(std::equal(store[i].begin(), store[i].end(), whole.planes[i].bytes.begin())) << word;
    }
  }
}

TEST(Affine, TensorWideSearchEqualsOneGroupOfEverything) {
  auto x = gaussian(8192, 41);
  x[17] = 0.4f;  // clipping it pays
  for (const char* options : {":f32", ":asym:f32", ":asym:zf:f32"}) {
    for (const int bits : {2, 4, 8}) {
      const double tensor = squared_error(
          x,
          decoded(encode_nearest(format_of(fmt::format("int{}:tensor{}", bits, options)), Shape{8192}, x)));
      const double group = squared_error(
          x,
          decoded(encode_nearest(format_of(fmt::format("int{}:channel{}", bits, options)), Shape{8192}, x)));
      EXPECT_NEAR(tensor / group, 1.0, 0.01) << bits << options;
    }
  }
}

TEST(Affine, OddShapesComeBack) {
  const struct {
    const char* word;
    Shape shape;
  } cases[] = {{"int3:channel", {5, 100}},      {"int3:channel:asym", {7, 3}}, {"int4:channel", {33}},
               {"int5:g25:asym", {4, 100}},     {"int2:tensor", {3, 5, 7}},    {"int7:channel", {2, 3, 11}},
               {"int6:tensor:asym:zf", {1, 1}}, {"int8:channel", {0, 16}},     {"int4:tensor", Shape{}},
               {"int3:g100", {4, 100}}};
  for (const auto& c : cases) {
    const Format& f = format_of(c.word);
    ASSERT_EQ(f.misfit(c.shape), "");
    const auto x = gaussian(c.shape.elements(), 51);
    const QTensor t = encode_nearest(f, c.shape, x);
    const auto info = f.planes(c.shape);
    for (size_t i = 0; i < info.size(); ++i) {
      EXPECT_EQ(t.planes[i].bytes.size(), info[i].bytes);
      EXPECT_EQ(static_cast<size_t>(info[i].shape.elements()) * dtype_size(info[i].dtype), info[i].bytes)
          << c.word << " plane " << info[i].name;
    }
    double power = 0;
    for (const float v : x) power += double(v) * v;
    EXPECT_LE(squared_error(x, decoded(t)), 0.5 * power) << c.word << " " << c.shape.to_string();
  }
}

TEST(Affine, MisfitNamesChoices) {
  EXPECT_EQ(format_of("int4").misfit(Shape{4, 100}),
            "its rows of 100 cannot be cut in groups of 128; g100, g50, g25 or channel would fit");
  EXPECT_EQ(format_of("int4:g64").misfit(Shape{4, 128}), "");
  EXPECT_THROW(encode_nearest(format_of("int4"), Shape{1, 100}, gaussian(100, 1)), Error);
}

TEST(Affine, WordsHaveOneSpelling) {
  const std::pair<const char*, const char*> pairs[] = {
      {"int4", "int4:g128"},
      {"INT4:sym:f16", "int4:g128"},
      {"int3:asym:g64", "int3:g64:asym"},
      {"int4:zf", "int4:g128:asym:zf"},
      {"int8:minmax:channel:narrow", "int8:channel:narrow:minmax"},
      {"int2:bf16:zf:asym:tensor", "int2:tensor:asym:zf:bf16"}};
  for (const auto& [written, canonical] : pairs) EXPECT_EQ(format_of(written).spec().to_string(), canonical);
  for (const char* bad :
       {"int9", "int1", "int4:g0", "int4:g99999999999", "int4:x", "int4:sym:asym", "int4:narrow:asym"})
    EXPECT_THROW(format_of(bad), Error) << bad;
}

// Constant and tiny groups keep their value as well as the parameter type can.
TEST(Affine, ConstantGroups) {
  for (const float c : {0.0f, 1.0f, -3.25f, 1e-20f}) {
    const std::vector<float> x(128, c);
    for (const char* word :
         {"int4:g128:f32", "int4:g128:asym:f32", "int4:g128:asym:zf:f32", "int2:g128:asym:zf:f32:minmax"}) {
      for (const float y : decoded(encode_nearest(format_of(word), Shape{128}, x)))
        ASSERT_NEAR(y, c, std::fabs(c) * 1e-5) << word;
    }
  }
}

TEST(Histogram, CentroidsAreExactAndTheCutDoesNotMatter) {
  const auto x = gaussian(5000, 61, 3.0);
  Histogram one, two;
  one.add(x);
  for (const float v : x) two.add(v, 1.0);
  const auto a = one.points(), b = two.points();
  EXPECT_EQ(a.x, b.x);
  double sum = 0, direct = 0, count = 0;
  for (size_t i = 0; i < a.x.size(); ++i) sum += double(a.x[i]) * a.weight[i], count += a.weight[i];
  for (const float v : x) direct += v;
  EXPECT_EQ(count, 5000);
  EXPECT_NEAR(sum, direct, 1e-3);
  EXPECT_TRUE(std::is_sorted(a.x.begin(), a.x.end()));
  Histogram extreme;
  for (const float v : {3e38f, -3e38f, 1e-45f, 0.0f, INFINITY, NAN}) extreme.add(v, 1.0);
  EXPECT_EQ(extreme.points().x.size(), 3u);
  EXPECT_EQ(extreme.max(), 3e38f);
}

}  // namespace
}  // namespace nibble
