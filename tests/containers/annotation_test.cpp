#include "containers/annotation.h"

#include <gtest/gtest.h>

#include "containers/tensor_sink.h"
#include "support/scratch.h"

namespace nibble {
namespace {

class Annotation : public testing::TestWithParam<std::string> {
 protected:
  /// Two tensors of odd sizes under some metadata.
  std::string make(const std::string& kind) {
    const std::vector<PlannedTensor> tensors{{"a", Shape{3, 5}, &format_of("f32")},
                                             {"b", Shape{7}, &format_of("f16")}};
    const std::string path = scratch_.file("model." + kind);
    const std::vector<GgufKv> kv{GgufKv::text("general.architecture", "llama"),
                                 GgufKv::u32("general.alignment", 64),
                                 GgufKv::i32s("some.list", std::vector<int32_t>{1, 2, 3})};
    TensorSink sink(kind == "gguf"
                        ? plan_gguf(path, tensors, kv)
                        : plan_safetensors(path, tensors, {{"format", "pt"}, {"other", "\"quoted\""}}));
    for (size_t t = 0; t < tensors.size(); ++t) {
      std::vector<std::byte> bytes(planned_planes(tensors[t])[0].bytes);
      for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(7 * i + t + 1);
      sink.write(t, 0, 0, bytes);
    }
    sink.finish();
    return path;
  }
  static std::vector<std::byte> bytes_of(const TensorFile& f, std::string_view name) {
    const auto b = f.at(name).raw.bytes;
    return {b.begin(), b.end()};
  }
  test::Scratch scratch_;
};

TEST_P(Annotation, IsReadBackAndLeavesTheRestAsItWas) {
  const std::string path = make(GetParam());
  const TensorFile before = open_tensor_file(path);
  EXPECT_FALSE(annotation(before, "nibble.note").has_value());
  // Growing and shrinking, with everything JSON and UTF-8 can trip over.
  for (const std::string& text :
       {std::string("short"), std::string(5000, 'x'), std::string("\"\\\n ä €"), std::string()}) {
    annotate(open_tensor_file(path), "nibble.note", text);
    const TensorFile after = open_tensor_file(path);
    EXPECT_EQ(annotation(after, "nibble.note"), text);
    ASSERT_EQ(after.tensors().size(), before.tensors().size());
    for (const std::string& name : {std::string("a"), std::string("b")}) {
      EXPECT_EQ(bytes_of(after, name), bytes_of(before, name));
      EXPECT_EQ(after.at(name).shape, before.at(name).shape);
      EXPECT_EQ(after.at(name).type, before.at(name).type);
    }
    for (const auto& [key, value] : before.metadata().values()) {
      ASSERT_NE(after.metadata().find(key), nullptr) << key;
      EXPECT_EQ(*after.metadata().find(key), value) << key;
    }
    EXPECT_EQ(after.metadata().values().size(), before.metadata().values().size() + 1);
  }
  for (const auto& entry : std::filesystem::directory_iterator(scratch_.path())) {
    EXPECT_EQ(entry.path().string(), path) << "left behind";
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Annotation, testing::Values("gguf", "safetensors"),
                         [](const auto& kind) { return kind.param; });

}  // namespace
}  // namespace nibble
