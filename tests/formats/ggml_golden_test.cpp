// Every format that has a ggml type number decodes what ggml itself decoded:
// tests/data/goldens/ggml/README.md.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "formats/format.h"
#include "support/data.h"

namespace nibble {
namespace {

struct Golden {
  uint32_t type = 0, block = 0, block_bytes = 0;
  std::vector<std::byte> quantized, random, hashed;
  std::vector<float> decoded;    ///< of `random`
  std::vector<uint64_t> hashes;  ///< one per block of `hashed`
};

Golden read_golden(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  in.exceptions(std::ios::failbit | std::ios::badbit);
  const auto fill = [&in](auto& v, size_t n) {
    v.resize(n);
    in.read(reinterpret_cast<char*>(v.data()), static_cast<std::streamsize>(n * sizeof v[0]));
  };
  std::vector<uint32_t> head;
  fill(head, 8);
  if (head[0] != 0x4747424e || head[1] != 1) throw std::runtime_error(path.string() + " is no golden");
  Golden g{head[2], head[3], head[4], {}, {}, {}, {}, {}};
  fill(g.quantized, size_t{head[5]} * g.block_bytes);
  fill(g.random, size_t{head[6]} * g.block_bytes);
  fill(g.decoded, size_t{head[6]} * g.block);
  fill(g.hashed, size_t{head[7]} * g.block_bytes);
  fill(g.hashes, head[7]);
  return g;
}

std::vector<std::filesystem::path> golden_files() {
  std::vector<std::filesystem::path> files;
  for (const auto& e : std::filesystem::directory_iterator(test::source_dir() / "tests/data/goldens/ggml")) {
    if (e.path().extension() == ".bin") files.push_back(e.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<float> decode_blocks(const Format& format, const Golden& g, const std::vector<std::byte>& bytes) {
  const Shape shape{static_cast<int64_t>(bytes.size() / g.block_bytes * g.block)};
  const QTensor t{format.spec(), shape, {{"", bytes, nullptr}}};
  std::vector<float> y(static_cast<size_t>(shape.elements()));
  decode_range(t, 0, shape.elements(), y.data());
  return y;
}

uint64_t fnv1a(const float* x, size_t n) {
  uint64_t h = 0xcbf29ce484222325;
  for (size_t i = 0; i < n * sizeof(float); ++i) {
    h = (h ^ reinterpret_cast<const unsigned char*>(x)[i]) * 0x100000001b3;
  }
  return h;
}

class GgmlGolden : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(GgmlGolden, DecodesToTheBit) {
  const Golden g = read_golden(GetParam());
  const Format* format = format_of_gguf(static_cast<int>(g.type));
  if (format == nullptr) GTEST_SKIP() << "no format has the ggml type number " << g.type;
  ASSERT_EQ(format_bytes(*format, Shape{int64_t{g.block} * 256}), size_t{g.block_bytes} * 256);

  const auto y = decode_blocks(*format, g, g.random);
  ASSERT_EQ(y.size(), g.decoded.size());
  for (size_t i = 0; i < y.size(); ++i) {
    ASSERT_EQ(std::memcmp(&y[i], &g.decoded[i], sizeof(float)), 0)
        << "block " << i / g.block << ", weight " << i % g.block << ": " << y[i] << ", ggml " << g.decoded[i];
  }
  if (g.hashes.empty()) return;
  const auto z = decode_blocks(*format, g, g.hashed);
  for (size_t b = 0; b < g.hashes.size(); ++b) {
    ASSERT_EQ(fnv1a(z.data() + b * g.block, g.block), g.hashes[b]) << "hashed block " << b;
  }
}

INSTANTIATE_TEST_SUITE_P(Files, GgmlGolden, testing::ValuesIn(golden_files()),
                         [](const auto& param_info) { return param_info.param.stem().string(); });

}  // namespace
}  // namespace nibble
