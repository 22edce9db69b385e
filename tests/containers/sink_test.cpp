#include <gtest/gtest.h>

#include <thread>

#include "base/rng.h"
#include "containers/gguf.h"
#include "containers/hf_quant.h"
#include "containers/json_meta.h"
#include "containers/tensor_file.h"
#include "containers/tensor_sink.h"
#include "support/gaussian.h"
#include "temp_folder.h"

namespace nibble {
namespace {

using test::gaussian;
using test::TempFolder;

struct Model {
  std::vector<PlannedTensor> planned;
  std::vector<QTensor> tensors;

  void add(std::string name, Shape shape, std::string_view word) {
    const Format& format = format_of(word);
    tensors.push_back(encode_nearest(format, shape, gaussian(shape.elements(), planned.size() + 1)));
    planned.push_back({std::move(name), std::move(shape), &format, DType::u8});
  }
  void write(TensorSink& sink, size_t i) const {
    for (size_t p = 0; p < tensors[i].planes.size(); ++p) {
      // In two windows, the later one first.
      const auto bytes = tensors[i].planes[p].bytes;
      sink.write(i, p, bytes.size() / 2, bytes.subspan(bytes.size() / 2));
      sink.write(i, p, 0, bytes.first(bytes.size() / 2));
    }
  }
  void write_all(TensorSink& sink) const {
    for (size_t i = tensors.size(); i-- > 0;) write(sink, i);
  }
  void expect_in(const TensorFile& file) const {
    for (size_t i = 0; i < tensors.size(); ++i) {
      const QTensor& found = file.at(planned[i].name).weights();
      EXPECT_EQ(found.format, tensors[i].format);
      EXPECT_EQ(found.shape, tensors[i].shape);
      ASSERT_EQ(found.planes.size(), tensors[i].planes.size());
      for (size_t p = 0; p < found.planes.size(); ++p) {
        EXPECT_EQ(found.planes[p].name, tensors[i].planes[p].name);
        EXPECT_TRUE(std::equal(found.planes[p].bytes.begin(), found.planes[p].bytes.end(),
                               tensors[i].planes[p].bytes.begin(), tensors[i].planes[p].bytes.end()))
            << planned[i].name << " plane " << found.planes[p].name;
      }
    }
    EXPECT_EQ(file.tensors().size(), tensors.size());
  }
};

Model small_model() {
  Model m;
  m.add("token_embd.weight", {20, 64}, "q8_0");
  m.add("norm.weight", {63}, "f32");
  m.add("blk.0.up.weight", {5, 64}, "q4_0");
  m.add("blk.0.down.weight", {3, 7}, "bf16");
  m.add("odd", {1}, "f16");
  return m;
}

std::vector<GgufKv> every_kind_of_key() {
  const std::vector<std::string> words = {"", "a", "\xff\x01 not utf-8"};
  const std::vector<int32_t> ints = {1, -2, 3};
  const std::vector<float> floats = {0.5f, -1.0f};
  return {GgufKv::text("general.architecture", "llama"),
          GgufKv::u8("k.u8", 200),
          GgufKv::u16("k.u16", 60000),
          GgufKv::i32("k.i32", -5),
          GgufKv::u32("k.u32", 4000000000u),
          GgufKv::u64("k.u64", UINT64_MAX),
          GgufKv::f32("k.f32", 1e-5f),
          GgufKv::boolean("k.b", true),
          GgufKv::texts("k.texts", words),
          GgufKv::i32s("k.ints", ints),
          GgufKv::f32s("k.floats", floats),
          GgufKv::booleans("k.bools", {true, false}),
          GgufKv::i32s("k.none", {})};
}

TEST(GgufSink, WhatIsWrittenIsRead) {
  const TempFolder dir;
  const Model m = small_model();
  const auto kv = every_kind_of_key();
  for (const uint32_t alignment : {0u, 64u, 8u}) {
    auto keys = kv;
    if (alignment != 0) keys.push_back(GgufKv::u32("general.alignment", alignment));
    TensorSink sink(plan_gguf(dir / "m.gguf", m.planned, keys));
    m.write_all(sink);
    EXPECT_FALSE(std::filesystem::exists(dir / "m.gguf") && alignment == 0);
    sink.finish();
    EXPECT_FALSE(std::filesystem::exists(dir / "m.gguf.partial"));
    EXPECT_EQ(std::filesystem::file_size(dir / "m.gguf"), sink.plan().total_bytes());
    const TensorFile file = open_tensor_file(dir / "m.gguf");
    EXPECT_EQ(file.kind(), "gguf");
    EXPECT_EQ(file.gguf(), keys);
    EXPECT_EQ(file.metadata().find("k.u64") != nullptr, true);
    EXPECT_EQ(std::get<uint64_t>(*file.metadata().find("k.u64")), UINT64_MAX);
    EXPECT_EQ(std::get<std::vector<std::string>>(*file.metadata().find("k.texts")).at(2),
              "\xff\x01 not utf-8");
    m.expect_in(file);
  }
}

TEST(GgufSink, RefusesWhatTheFormatCannotHold) {
  const auto plan = [](std::string name, Shape shape, const Format* format, DType dtype = DType::u8) {
    const std::vector<PlannedTensor> one = {{std::move(name), std::move(shape), format, dtype}};
    plan_gguf("x.gguf", one, {});
  };
  EXPECT_THROW(plan(std::string(64, 'a'), {32}, &format_of("f32")), Error);
  EXPECT_NO_THROW(plan(std::string(63, 'a'), {32}, &format_of("f32")));
  EXPECT_THROW(plan("a", {1, 1, 1, 1, 32}, &format_of("f32")), Error);
  EXPECT_THROW(plan("a", {33}, &format_of("q4_0")), Error);
  EXPECT_THROW(plan("a", {2}, nullptr, DType::boolean), Error);
  EXPECT_NO_THROW(plan("a", {2}, nullptr, DType::i64));
  const std::vector<PlannedTensor> twice = {{"a", {1}, &format_of("f32"), DType::u8},
                                            {"a", {1}, &format_of("f32"), DType::u8}};
  EXPECT_THROW(plan_gguf("x.gguf", twice, {}), Error);
  const std::vector<GgufKv> keys = {GgufKv::u8("k", 1), GgufKv::u8("k", 2)};
  EXPECT_THROW(plan_gguf("x.gguf", {}, keys), Error);
}

TEST(SafetensorsSink, OneFileCarriesItsOwnDescription) {
  const TempFolder dir;
  const Model m = small_model();
  TensorSink sink(plan_safetensors(dir / "m.safetensors", m.planned));
  m.write_all(sink);
  sink.finish();
  const TensorFile file = open_tensor_file(dir / "m.safetensors");
  EXPECT_EQ(file.kind(), "safetensors");
  EXPECT_EQ(file.metadata().text("format"), "pt");
  m.expect_in(file);
}

TEST(SafetensorsSink, FolderIsReadThroughItsConfig) {
  const TempFolder dir;
  const Model m = small_model();
  TensorSink sink(plan_safetensors(dir / "out", m.planned));
  m.write_all(sink);
  sink.finish();
  const std::string config = with_quantization_config(
      R"({"model_type": "llama", "rms_norm_eps": 1e-05, "quantization_config": {"quant_method": "old"}})",
      m.planned, "config.json");
  write_file_atomically(dir / "out/config.json", config);
  const Meta meta = read_json_meta(dir / "out/config.json");
  EXPECT_EQ(meta.text("quantization_config.quant_method"), "nibble");
  EXPECT_EQ(meta.number("rms_norm_eps"), 1e-5);
  m.expect_in(open_tensor_file(dir / "out"));
  m.expect_in(open_tensor_file(dir / "out/model.safetensors"));
}

TEST(SafetensorsSink, ShardsWithAnIndex) {
  const TempFolder dir;
  const Model m = small_model();
  OutputPlan plan = plan_safetensors(dir / "out", m.planned, {{"format", "pt"}}, 300);
  ASSERT_GE(plan.files.size(), 3u);
  EXPECT_TRUE(
      plan.files[0].path.ends_with(fmt::format("model-00001-of-{:05}.safetensors", plan.files.size())));
  TensorSink sink(std::move(plan));
  m.write_all(sink);
  sink.finish();
  write_file_atomically(dir / "out/config.json", with_quantization_config("{}", m.planned, "config.json"));
  const TensorFile file = open_tensor_file(dir / "out");
  m.expect_in(file);
  EXPECT_EQ(file.files().size(), sink.plan().files.size());
  // A single model.safetensors beside the shards would be taken for the model.
  test::spill(dir / "out/model.safetensors", "x");
  EXPECT_THROW(TensorSink(plan_safetensors(dir / "out", m.planned, {}, 300)), Error);
}

TEST(SafetensorsSink, SameInputSameBytesAlignedElements) {
  const TempFolder dir;
  const Model m = small_model();
  for (const char* name : {"a", "b"}) {
    TensorSink sink(plan_safetensors(dir / name, m.planned));
    m.write_all(sink);
    sink.finish();
  }
  EXPECT_EQ(test::slurp(dir / "a/model.safetensors"), test::slurp(dir / "b/model.safetensors"));
  const TensorFile file = open_tensor_file(dir / "a");
  for (const StoredTensor& t : file.tensors()) {
    EXPECT_EQ(t.offset % dtype_size(*t.dtype), 0u) << t.name;
  }
}

// Whatever the list of formats offers can be stored and read back, plane by plane.
TEST(SafetensorsSink, EveryFormatOfTheList) {
  const TempFolder dir;
  Model all, ggml;
  for (const FormatFamily& family : format_families()) {
    for (const std::string& word : family.examples()) {
      const Format& format = format_of(word);
      const Shape shape{4, 512};
      if (!format.info().can_encode || !format.misfit(shape).empty()) continue;
      for (Model* m : {&all, &ggml}) {
        if (m == &all || format.info().gguf_id >= 0) m->add("layer." + word, shape, word);
      }
    }
  }
  EXPECT_GT(all.tensors.size(), 40u);
  EXPECT_GT(ggml.tensors.size(), 15u);
  TensorSink folder(plan_safetensors(dir / "all", all.planned));
  all.write_all(folder);
  folder.finish();
  write_file_atomically(dir / "all/config.json", with_quantization_config("{}", all.planned, "config.json"));
  all.expect_in(open_tensor_file(dir / "all"));
  TensorSink file(plan_gguf(dir / "all.gguf", ggml.planned, {}));
  ggml.write_all(file);
  file.finish();
  ggml.expect_in(open_tensor_file(dir / "all.gguf"));
}

TEST(Sink, ThreadsMayWriteTogether) {
  const TempFolder dir;
  const Model m = small_model();
  TensorSink sink(plan_gguf(dir / "m.gguf", m.planned, {}));
  std::vector<std::jthread> threads;
  for (size_t i = 0; i < m.tensors.size(); ++i) threads.emplace_back([&, i] { m.write(sink, i); });
  threads.clear();
  sink.finish();
  m.expect_in(open_tensor_file(dir / "m.gguf"));
}

// Pages are dropped from the cache then, those that two pieces share as well.
TEST(Sink, LargeOutputsHoldWhatIsWritten) {
  const TempFolder dir;
  const Shape shape{1 << 10, 1 << 18};
  TensorSink sink(
      plan_gguf(dir / "m.gguf", std::vector<PlannedTensor>{{"x", shape, nullptr, DType::i8}}, {}));
  ASSERT_GE(sink.plan().total_bytes(), size_t{256} << 20);
  constexpr size_t piece = 70001;
  Rng rng(5);
  std::vector<std::byte> bytes(piece * 20);
  for (std::byte& b : bytes) b = static_cast<std::byte>(rng.next());
  const auto write = [&](size_t from) {
    for (size_t i = from; i < 20; i += 2)
      sink.write(0, 0, i * piece, std::span(bytes).subspan(i * piece, piece));
    sink.sync();
  };
  std::jthread even(write, 0);
  write(1);
  even.join();
  std::vector<std::byte> back(bytes.size());
  sink.read(0, 0, 0, back);
  EXPECT_TRUE(back == bytes);
  sink.discard();
}

TEST(Sink, ResumesWhereAnEarlierRunStopped) {
  const TempFolder dir;
  const Model m = small_model();
  const auto plan = [&] { return plan_safetensors(dir / "out", m.planned, {}, 300); };
  {
    TensorSink sink(plan());
    EXPECT_FALSE(sink.resumed());
    m.write(sink, 0);
    m.write(sink, 1);
    sink.sync();
  }
  {
    TensorSink sink(plan(), TensorSink::Start::resume);
    EXPECT_TRUE(sink.resumed());
    std::vector<std::byte> back(m.tensors[0].planes[0].bytes.size());
    sink.read(0, 0, 0, back);
    EXPECT_TRUE(std::equal(back.begin(), back.end(), m.tensors[0].planes[0].bytes.begin()));
    for (size_t i = 2; i < m.tensors.size(); ++i) m.write(sink, i);
    sink.sync();
    // As if the run had ended between two renames.
    std::filesystem::rename(sink.plan().files[0].path + ".partial", sink.plan().files[0].path);
  }
  {
    TensorSink sink(plan(), TensorSink::Start::resume);
    EXPECT_TRUE(sink.resumed());
    sink.finish();
  }
  write_file_atomically(dir / "out/config.json", with_quantization_config("{}", m.planned, "config.json"));
  m.expect_in(open_tensor_file(dir / "out"));
}

TEST(Sink, WhatWasToComeIsFilledInAndMayBeFilledInAgain) {
  const TempFolder dir;
  const Model m = small_model();
  const std::string text(text_to_come), first(text.size(), '1'), second(text.size(), '2');
  const auto plan = [&] { return plan_safetensors(dir / "out", m.planned, {{"source", text}}, 300); };
  {
    TensorSink sink(plan());
    ASSERT_GT(sink.plan().files.size(), 1u);
    m.write_all(sink);
    EXPECT_THROW(sink.fill_in("short"), Error);
    sink.fill_in(first);
    sink.sync();
  }
  {
    TensorSink sink(plan(), TensorSink::Start::resume);
    EXPECT_TRUE(sink.resumed());
    sink.fill_in(second);
    sink.finish();
  }
  for (const auto& f : plan().files)
    EXPECT_EQ(open_tensor_file(f.path).metadata().text("source").value_or(""), second) << f.path;
  write_file_atomically(dir / "out/config.json", with_quantization_config("{}", m.planned, "config.json"));
  m.expect_in(open_tensor_file(dir / "out"));
}

TEST(Sink, AnotherPlanStartsAfresh) {
  const TempFolder dir;
  Model m = small_model();
  {
    TensorSink sink(plan_gguf(dir / "m.gguf", m.planned, {}));
    m.write_all(sink);
  }
  m.add("one.more", {32}, "f32");
  TensorSink sink(plan_gguf(dir / "m.gguf", m.planned, {}), TensorSink::Start::resume);
  EXPECT_FALSE(sink.resumed());
  std::vector<std::byte> back(m.tensors[0].planes[0].bytes.size());
  sink.read(0, 0, 0, back);
  EXPECT_TRUE(std::all_of(back.begin(), back.end(), [](std::byte b) { return b == std::byte{0}; }));
}

TEST(Sink, TwoWritersDoNotMeet) {
  const TempFolder dir;
  const Model m = small_model();
  const TensorSink sink(plan_gguf(dir / "m.gguf", m.planned, {}));
  EXPECT_THROW(TensorSink(plan_gguf(dir / "m.gguf", m.planned, {})), Error);
}

TEST(Sink, DiscardLeavesNothing) {
  const TempFolder dir;
  const Model m = small_model();
  TensorSink sink(plan_gguf(dir / "m.gguf", m.planned, {}));
  sink.discard();
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  EXPECT_THROW(m.write(sink, 0), Error);
}

TEST(Sink, FullDiskIsRefusedPolitely) {
  const TempFolder dir;
  const std::vector<PlannedTensor> huge = {
      {"a", {int64_t{1} << 25, int64_t{1} << 20}, &format_of("f32"), DType::u8}};
  try {
    const TensorSink sink(plan_gguf(dir / "m.gguf", huge, {}));
    FAIL() << "128 TB fit on this disk";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::io);
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

}  // namespace
}  // namespace nibble
