// Every architecture, from the table to the logits: small random checkpoints as Hugging Face and as llama.cpp
// name and order them, against values computed by a separate program (tests/data/goldens/arch/README.md).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <numeric>

#include "model/executor.h"
#include "model/load.h"
#include "support/data.h"
#include "support/npz.h"

namespace nibble {
namespace {

std::filesystem::path goldens() { return test::source_dir() / "tests/data/goldens/arch"; }

std::vector<float> read_floats(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  std::vector<float> x(bytes.size() / sizeof(float));
  std::memcpy(x.data(), bytes.data(), x.size() * sizeof(float));
  return x;
}

std::vector<int32_t> golden_ids() {
  std::ifstream file(goldens() / "ids.txt");
  return {std::istream_iterator<int32_t>(file), {}};
}

double largest_difference(std::span<const float> a, std::span<const float> b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::fabs(double(a[i]) - b[i]);
    if (!(d <= worst)) worst = d;  // NaN counts
  }
  return worst;
}

std::vector<float> outputs(const Program& program, std::span<const int32_t> ids, ThreadPool& pool) {
  Executor executor(program, pool);
  if (program.encoder) {
    const auto hidden = executor.encode(ids);
    return {hidden.begin(), hidden.end()};
  }
  KvCache cache = program.cache(static_cast<int64_t>(ids.size()));
  const auto logits = executor.run(ids, cache, Want::all);
  return {logits.begin(), logits.end()};
}

std::vector<std::string> golden_files() {
  std::vector<std::string> files;
  for (const auto& folder : std::filesystem::directory_iterator(goldens())) {
    if (!folder.is_directory()) continue;
    const std::string name = folder.path().filename();
    files.push_back(name);
    if (std::filesystem::exists(folder.path() / "model.gguf")) files.push_back(name + "/model.gguf");
  }
  std::sort(files.begin(), files.end());
  return files;
}

class EveryArch : public testing::TestWithParam<std::string> {};

TEST_P(EveryArch, GivesTheExpectedValues) {
  const auto path = goldens() / GetParam();
  const auto folder = path.extension() == ".gguf" ? path.parent_path() : path;
  ThreadPool pool(2);
  const Program program = load_program(open_checkpoint(path.string()), pool);
  const auto y = outputs(program, golden_ids(), pool);
  const auto expected = read_floats(folder / "expected.f32");
  ASSERT_EQ(y.size(), expected.size());
  const double worst = largest_difference(y, expected);
  std::printf("%-28s largest difference %.2g\n", GetParam().c_str(), worst);
  EXPECT_LE(worst, 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Goldens, EveryArch, testing::ValuesIn(golden_files()), [](const auto& param_info) {
  std::string name = param_info.param;
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
});

/// Hidden states of BERT and DistilBERT against PyTorch's encoder layer (reference/encoders.py).
void check_encoders(const std::filesystem::path& npz) {
  auto arrays = test::read_npz(npz);
  ThreadPool pool(2);
  for (const std::string kind : {"bert", "distilbert"}) {
    const Program program = load_program(open_checkpoint((goldens() / kind).string()), pool);
    Executor executor(program, pool);
    for (const std::string length : {"24", "1", "13", "24"}) {
      const auto ids = arrays.at("ids_" + length).ints();
      auto types = arrays.at("types_" + length).ints();
      if (kind == "distilbert") types.clear();
      const auto expected = arrays.at(kind + "_" + length).floats();
      const auto y = executor.encode(ids, types);
      ASSERT_EQ(y.size(), expected.size());
      EXPECT_LE(largest_difference(y, expected), 1e-5) << kind << " with " << length << " tokens";
    }
  }
}

TEST(Encoders, EqualPyTorch) { check_encoders(test::source_dir() / "tests/model/reference/encoders.npz"); }

TEST(Encoders, EqualPyTorchRunHere) {
  if (std::system("/usr/bin/python3 -c 'import torch' >/dev/null 2>&1") != 0)
    GTEST_SKIP() << "python3-torch is not installed";
  const auto out =
      std::filesystem::path(testing::TempDir()) / ("encoders-" + std::to_string(getpid()) + ".npz");
  const std::string command = "OMP_NUM_THREADS=1 /usr/bin/python3 " +
                              (test::source_dir() / "tests/model/reference/encoders.py").string() + " " +
                              goldens().string() + " " + out.string();
  ASSERT_EQ(std::system(command.c_str()), 0);
  check_encoders(out);
  std::filesystem::remove(out);
}

TEST(Encoders, RefuseToPredictAndTooManyTokens) {
  ThreadPool pool(1);
  const Program program = load_program(open_checkpoint((goldens() / "bert").string()), pool);
  Executor executor(program, pool);
  KvCache cache = program.cache(4);
  EXPECT_THROW(executor.run(std::vector<int32_t>{1}, cache, Want::last), Error);
  EXPECT_THROW(executor.encode(std::vector<int32_t>(65, 1)), Error);
  EXPECT_THROW(executor.encode({}), Error);
}

}  // namespace
}  // namespace nibble
