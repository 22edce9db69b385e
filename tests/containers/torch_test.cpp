#include <gtest/gtest.h>

#include "base/error.h"
#include "base/half.h"
#include "containers/torch_zip.h"
#include "formats/format.h"
#include "support/data.h"
#include "temp_folder.h"

namespace nibble {
namespace {

std::vector<float> decoded(const TensorFile& file, std::string_view name) {
  const QTensor& t = file.at(name).weights();
  std::vector<float> out(static_cast<size_t>(t.shape.elements()));
  decode_range(t, 0, t.shape.elements(), out.data());
  return out;
}

// The values of tests/data/torch/make.py.
void expect_small(const std::string& path) {
  const TensorFile file = open_tensor_file(path);
  EXPECT_EQ(file.kind(), "torch");
  EXPECT_EQ(file.tensors().size(), 12u);
  EXPECT_EQ(file.at("plain").shape, (Shape{4, 6}));
  EXPECT_EQ(decoded(file, "plain").at(23), 23.0f);
  EXPECT_EQ(file.at("transposed").shape, (Shape{6, 4}));
  const auto transposed = decoded(file, "transposed");
  for (size_t i = 0; i < 24; ++i) EXPECT_EQ(transposed[i], static_cast<float>(i % 4 * 6 + i / 4));
  EXPECT_EQ(decoded(file, "slice"), (std::vector<float>{6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(file.at("slice").offset, file.at("plain").offset + 24) << "one storage, two views";
  EXPECT_EQ(decoded(file, "columns"), (std::vector<float>{1, 2, 7, 8, 13, 14, 19, 20}));
  EXPECT_EQ(file.at("bf16").weights().format.to_string(), "bf16");
  EXPECT_EQ(decoded(file, "bf16"), (std::vector<float>{0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75}));
  EXPECT_EQ(decoded(file, "f16"), (std::vector<float>{1.5, -2}));
  EXPECT_EQ(file.at("ints").dtype, DType::i64);
  EXPECT_FALSE(file.at("ints").has_weights());
  int64_t ints[3];
  std::memcpy(ints, file.at("ints").raw.bytes.data(), sizeof ints);
  EXPECT_EQ(ints[1], -2);
  EXPECT_EQ(file.at("flags").dtype, DType::boolean);
  EXPECT_EQ(file.at("scalar").shape, Shape{});
  EXPECT_EQ(decoded(file, "scalar"), std::vector<float>{2.5});
  EXPECT_EQ(file.at("none").shape, (Shape{0, 3}));
  EXPECT_EQ(decoded(file, "weight"), (std::vector<float>{7, 8}));
  EXPECT_EQ(file.at("nested.list.0").dtype, DType::i8);
  EXPECT_EQ(file.metadata().integer("nested.epoch"), 3);
  EXPECT_EQ(file.metadata().text("nested.name"), "x");
  EXPECT_EQ(file.metadata().number("nested.rate"), 0.5);
  EXPECT_EQ(file.metadata().boolean("nested.on"), true);
}

TEST(Torch, KeptFile) { expect_small((test::source_dir() / "tests/data/torch/small.pt").string()); }

class LiveTorch : public testing::Test {
 protected:
  void SetUp() override {
    const std::string python = "/usr/bin/python3";
    if (std::system((python +
                     " -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec(\"torch\") is None)'"
                     " 2>/dev/null")
                        .c_str()) != 0) {
      GTEST_SKIP() << python << " has no PyTorch";
    }
    const auto script = test::source_dir() / "tests/data/torch/make.py";
    ASSERT_EQ(std::system((python + " " + script.string() + " " + dir_.path().string()).c_str()), 0);
  }
  test::TempFolder dir_;
};

TEST_F(LiveTorch, WhatPyTorchWrites) {
  expect_small(dir_ / "small.pt");
  for (const int protocol : {2, 3, 4, 5}) {
    const TensorFile file = open_tensor_file(dir_ / fmt::format("module{}.bin", protocol));
    EXPECT_EQ(file.tensors().size(), 4u);
    EXPECT_EQ(decoded(file, "0.weight"), (std::vector<float>{0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(decoded(file, "1.weight"), (std::vector<float>{1, 1}));
  }
  const auto refusal = [&](const std::string& name) -> std::string {
    try {
      open_tensor_file(dir_ / name);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::unsupported);
      return e.what();
    }
    return "";
  };
  EXPECT_NE(refusal("old.bin").find("before 1.6"), std::string::npos);
  EXPECT_NE(refusal("whole_module.pt").find("global 'torch.nn.modules.container.Sequential'"),
            std::string::npos);
  EXPECT_NE(refusal("expanded.pt").find("'expanded'"), std::string::npos);
  // A folder of them.
  std::filesystem::create_directory(dir_ / "hf");
  std::filesystem::copy(dir_ / "module2.bin", dir_ / "hf/pytorch_model-00001-of-00001.bin");
  test::spill(dir_ / "hf/pytorch_model.bin.index.json",
              R"({"weight_map": {"0.weight": "pytorch_model-00001-of-00001.bin"}})");
  EXPECT_EQ(open_tensor_file(dir_ / "hf").tensors().size(), 4u);
  std::filesystem::rename(dir_ / "hf/pytorch_model-00001-of-00001.bin", dir_ / "hf/pytorch_model.bin");
  EXPECT_EQ(open_tensor_file(dir_ / "hf").kind(), "torch");
}

}  // namespace
}  // namespace nibble
