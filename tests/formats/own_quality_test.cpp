// What nibble's own formats lose on a real model and on a normal distribution, held against the table of
// docs/formats.md. To make the table anew: test_formats --gtest_filter='OwnQuality.*' | grep '^|'
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "base/rng.h"
#include "formats/format.h"
#include "support/data.h"
#include "support/sample_rows.h"

namespace nibble {
namespace {

const char* const words[] = {
    "int2:g64:asym",      "int2:g64:asym:minmax",
    "int3:g128",          "int3:g128:asym",
    "int4:g128",          "int4:g128:minmax",
    "int4:g128:asym",     "int4:g128:asym:minmax",
    "int4:g128:asym:zf",  "int4:g32",
    "int4:channel",       "int4:tensor",
    "int4:tensor:minmax", "int8:g128",
    "int8:channel",       "int8:channel:minmax",
    "int8:tensor",        "nf4:b64",
    "nf4:b64:dq",         "fp4:b64",
    "fp8_e4m3",           "fp8_e4m3:channel",
    "fp8_e5m2",           "log4:channel",
    "log4:channel:pow2",  "log8:channel",
    "kmeans16:tensor",    "kmeans16:channel",
    "kmeans256:tensor",
};

struct Power {
  double error = 0, signal = 0;
  int64_t count = 0;
};

Power lose(const Format& format, int64_t cols, std::span<const float> x) {
  const auto n = static_cast<int64_t>(x.size());
  const QTensor t = encode_nearest(format, Shape{n / cols, cols}, x);
  std::vector<float> y(x.size());
  decode_range(t, 0, n, y.data());
  Power p;
  p.count = n;
  for (size_t i = 0; i < y.size(); ++i) {
    p.error += std::pow(double{y[i]} - x[i], 2);
    p.signal += std::pow(double{x[i]}, 2);
  }
  return p;
}

struct Row {
  double bits = 0, rmse = 0, decibels = 0, normal_decibels = 0;
};

std::map<std::string, Row> documented() {
  std::map<std::string, Row> rows;
  std::ifstream page(test::source_dir() / "docs/formats.md");
  for (std::string line; std::getline(page, line);) {
    std::istringstream cells(line);
    char bar = 0;
    std::string word;
    Row r;
    if (cells >> bar >> word >> bar >> r.bits >> bar >> r.rmse >> bar >> r.decibels >> bar >>
        r.normal_decibels)
      rows[word] = r;
  }
  return rows;
}

TEST(OwnQuality, DocumentNamesEveryFormat) {
  std::ifstream page(test::source_dir() / "docs/formats.md");
  const std::string text{std::istreambuf_iterator<char>(page), {}};
  for (const FormatFamily& family : format_families()) {
    for (const std::string& word : family.examples()) {
      const std::string name = FormatSpec::parse(word).name;
      const bool counted = name.starts_with("int") || name.starts_with("log") || name.starts_with("kmeans") ||
                           (name.size() == 4 && name[0] == 'q' && name[3] == 'k');  // written as ranges
      EXPECT_TRUE(counted || text.find("`" + name + "`") != std::string::npos) << name;
    }
    EXPECT_TRUE(text.find(family.help.substr(0, family.help.find(' '))) != std::string::npos) << family.help;
  }
}

TEST(OwnQuality, IsWhatTheDocumentSays) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "measured without sanitizers only: it takes long under them";
#endif
  NIBBLE_NEEDS_DATA(model, "models/docs-21m/model.safetensors");
  const auto matrices = test::sample_rows(model, 64);
  Rng rng(1);
  std::vector<float> normal(16 * 4096);
  for (float& v : normal) v = static_cast<float>(rng.normal());
  const auto page = documented();
  for (const char* word : words) {
    const Format& format = format_of(word);
    Power all;
    for (const auto& [name, m] : matrices) {
      const Power p = lose(format, m.cols, m.x);
      all.error += p.error;
      all.signal += p.signal;
      all.count += p.count;
    }
    const Power n = lose(format, 4096, normal);
    const Shape shape{4096, 4096};
    const Row r{
        8.0 * static_cast<double>(format_bytes(format, shape)) / static_cast<double>(shape.elements()),
        std::sqrt(all.error / static_cast<double>(all.count)), 10 * std::log10(all.signal / all.error),
        10 * std::log10(n.signal / n.error)};
    std::printf("| %s | %.3f | %.3e | %.2f | %.2f |\n", word, r.bits, r.rmse, r.decibels, r.normal_decibels);
    const auto said = page.find(word);
    if (said == page.end()) {
      ADD_FAILURE() << "docs/formats.md has no row for " << word;
      continue;
    }
    EXPECT_NEAR(said->second.bits, r.bits, 0.001) << word;
    EXPECT_NEAR(said->second.rmse, r.rmse, 0.01 * r.rmse) << word;
    EXPECT_NEAR(said->second.decibels, r.decibels, 0.06) << word;
    EXPECT_NEAR(said->second.normal_decibels, r.normal_decibels, 0.06) << word;
  }
}

// Parameters that are searched for lose no more than the ends of the data, matrix by matrix.
TEST(OwnQuality, SearchBeatsMinMaxInEveryMatrix) {
  NIBBLE_NEEDS_DATA(model, "models/docs-21m/model.safetensors");
  const auto matrices = test::sample_rows(model, 128);
  for (const std::string word : {"int2:g64", "int4:g128", "int4:g128:asym", "int4:channel:asym:zf",
                                 "int8:g128:asym", "int8:channel", "int4:tensor", "int8:tensor:asym"}) {
    for (const auto& [name, m] : matrices) {
      const double searched = lose(format_of(word), m.cols, m.x).error;
      EXPECT_LE(searched, lose(format_of(word + ":minmax"), m.cols, m.x).error * 1.0001)
          << word << " " << name;
    }
  }
}

}  // namespace
}  // namespace nibble
