// Importance matrices: nibble's own of both kinds, llama-imatrix's, and hostile ones.
#include "containers/imatrix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "calibrate/input_stats.h"
#include "calibrate/made_models.h"
#include "containers/gguf.h"
#include "containers/output_plan.h"
#include "containers/tensor_sink.h"
#include "support/checkpoint_maker.h"
#include "support/scratch.h"

namespace nibble {
namespace {

using test::thrown_by;

Imatrix made() {
  Imatrix m;
  m.entries["blk.0.attn_q.weight"] = {{2, 8, 18, 0.5f}, {4}};
  m.entries["blk.0.ffn_down_exps.weight"] = {{3, 6, 0, 0, 9, 27}, {3, 0, 9}};  // two columns, three experts
  m.datasets = {"a.txt"};
  m.chunks = 2;
  m.chunk_size = 8;
  return m;
}

TEST(Imatrix, ImportanceIsTheMeanOfASlice) {
  const Imatrix m = made();
  const auto& q = m.entries.at("blk.0.attn_q.weight");
  EXPECT_EQ(q.cols(), 4);
  EXPECT_EQ(q.importance(0), (std::vector<float>{0.5f, 2, 4.5f, 0.125f}));
  const auto& e = m.entries.at("blk.0.ffn_down_exps.weight");
  EXPECT_EQ(e.cols(), 2);
  EXPECT_EQ(e.importance(0), (std::vector<float>{1, 2}));
  EXPECT_TRUE(e.importance(1).empty());  // no token was routed to it
  EXPECT_EQ(e.importance(2), (std::vector<float>{1, 3}));
  EXPECT_TRUE(e.importance(3).empty());
}

TEST(Imatrix, GgufRoundTrip) {
  const test::Scratch scratch;
  const std::string path = scratch.file("imatrix.gguf");
  write_imatrix(made(), path);
  const Imatrix m = read_imatrix(path);
  EXPECT_EQ(m.datasets, made().datasets);
  EXPECT_EQ(m.chunks, 2u);
  EXPECT_EQ(m.chunk_size, 8u);
  ASSERT_EQ(m.entries.size(), 2u);
  for (const auto& [name, e] : made().entries) {
    EXPECT_EQ(m.entries.at(name).sum2, e.sum2) << name;
    EXPECT_EQ(m.entries.at(name).counts, e.counts) << name;
  }
}

TEST(Imatrix, DatRoundTripKeepsTheMeans) {
  const test::Scratch scratch;
  const std::string path = scratch.file("imatrix.dat");
  write_imatrix(made(), path);
  Imatrix m = read_imatrix(path);
  EXPECT_EQ(m.datasets, made().datasets);
  EXPECT_EQ(m.chunks, 2u);
  const std::vector<float> q = m.entries.at("blk.0.attn_q.weight").importance(0);
  const std::vector<float> expected = made().entries.at("blk.0.attn_q.weight").importance(0);
  ASSERT_EQ(q.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(q[i], expected[i]);
  // This kind does not say how many experts there are; an expert that saw nothing is told by ones.
  auto& e = m.entries.at("blk.0.ffn_down_exps.weight");
  ASSERT_EQ(e.counts.size(), 1u);
  EXPECT_EQ(e.importance(0), (std::vector<float>{1, 2, 1, 1, 1, 3}));
}

TEST(Imatrix, StatisticsBecomeEntriesOfEveryReader) {
  Imatrix m;
  InputStats s;
  s.readers = {"a", "b"};
  s.cols = 2;
  s.rows = 5;
  s.sum2 = {1.5, 2.5};
  add_to_imatrix(m, s, 1);
  s.readers = {"experts"};
  s.slice = 2;
  add_to_imatrix(m, s, 4);
  EXPECT_EQ(m.entries.at("a").sum2, (std::vector<float>{1.5f, 2.5f}));
  EXPECT_EQ(m.entries.at("b").counts, (std::vector<float>{5}));
  EXPECT_EQ(m.entries.at("experts").sum2, (std::vector<float>{0, 0, 0, 0, 1.5f, 2.5f, 0, 0}));
  EXPECT_EQ(m.entries.at("experts").counts, (std::vector<float>{0, 0, 5, 0}));
}

// --- the older kind, one rule broken at a time

template <class T>
std::string raw(T v) {
  std::string s(sizeof v, '\0');
  std::memcpy(s.data(), &v, sizeof v);
  return s;
}
std::string text(const std::string& s) { return raw(static_cast<int32_t>(s.size())) + s; }
std::string entry(const std::string& name, int32_t calls, const std::vector<float>& values) {
  std::string s = text(name) + raw(calls) + raw(static_cast<int32_t>(values.size()));
  for (const float v : values) s += raw(v);
  return s;
}
std::string dat(const std::vector<std::string>& entries) {
  std::string s = raw(static_cast<int32_t>(entries.size()));
  for (const std::string& e : entries) s += e;
  return s;
}
Imatrix parse(const std::string& bytes) {
  return parse_imatrix_dat(std::as_bytes(std::span(bytes)), "hostile.dat");
}

TEST(Dat, WhatTheCasesAreMadeFromIsValid) {
  const std::string entries = dat({entry("a", 2, {4, 8}), entry("b", 0, {1})});
  for (const std::string& end : {std::string(), raw<int32_t>(7) + text("wiki.txt")}) {
    const Imatrix m = parse(entries + end);
    EXPECT_EQ(m.entries.at("a").importance(0), (std::vector<float>{2, 4}));
    EXPECT_EQ(m.entries.at("b").importance(0), (std::vector<float>{1}));
    EXPECT_EQ(m.chunks, end.empty() ? 0u : 7u);
    EXPECT_EQ(m.datasets.size(), end.empty() ? 0u : 1u);
  }
}

TEST(Dat, HostileFilesAreRefused) {
  const std::string good = dat({entry("a", 2, {4, 8})});
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "number of entries"},
      {"\x01", "number of entries"},
      {raw<int32_t>(0), "number of entries, found 0"},
      {raw<int32_t>(-1), "found -1"},
      {raw<int32_t>(INT32_MAX), "name of an entry"},
      {raw<int32_t>(1) + raw<int32_t>(-5), "length of the name of an entry, found -5"},
      {raw<int32_t>(1) + raw<int32_t>(INT32_MAX) + "a", "2147483647"},
      {raw<int32_t>(1) + text("a"), "number of chunks"},
      {dat({entry("a", -2, {4})}), "found -2"},
      {raw<int32_t>(1) + text("a") + raw<int32_t>(1) + raw<int32_t>(-4), "values of a, found -4"},
      {raw<int32_t>(1) + text("a") + raw<int32_t>(1) + raw<int32_t>(0), "values of a, found 0"},
      {raw<int32_t>(1) + text("a") + raw<int32_t>(1) + raw<int32_t>(INT32_MAX) + "1234", "8589934588"},
      {good.substr(0, good.size() - 1), "values"},
      {dat({entry("a", 2, {4, NAN})}), "a holds a negative or infinite"},
      {dat({entry("a", 2, {4, INFINITY})}), "a holds a negative or infinite"},
      {dat({entry("a", 2, {4, -1})}), "a holds a negative or infinite"},
      {dat({entry("a", 2, {4}), entry("a", 2, {4})}), "a stands there twice"},
      {good + "\x01", "number of chunks"},
      {good + raw<int32_t>(7) + raw<int32_t>(-1), "length of the name of the text, found -1"},
      {good + raw<int32_t>(7) + raw<int32_t>(99) + "wiki", "name of the text"},
      {dat({entry(std::string("a\x1b[2J\n\0", 7), 2, {NAN})}), "hostile.dat"},
  };
  for (const auto& [bytes, says] : cases) {
    const auto e = thrown_by([&] { parse(bytes); });
    EXPECT_EQ(e.kind, ErrorKind::bad_input) << says;
    EXPECT_TRUE(e.says("hostile.dat")) << e.message;
    EXPECT_TRUE(e.says(says)) << "expected '" << says << "' in: " << e.message;
    EXPECT_EQ(e.message.find('\x1b'), std::string::npos) << "quotes control characters";
  }
}

TEST(Dat, EveryTruncationIsRefusedOrOneOfTheTwoEnds) {
  const std::string entries = dat({entry("blk.0.a", 2, {4, 8}), entry("blk.0.b", 1, {1})});
  const std::string whole = entries + raw<int32_t>(7) + text("wiki.txt");
  for (size_t left = 0; left < whole.size(); ++left) {
    if (left == entries.size()) continue;
    EXPECT_EQ(thrown_by([&] { parse(whole.substr(0, left)); }).kind, ErrorKind::bad_input) << left;
  }
}

// --- the GGUF kind

struct Tensor {
  std::string name;
  std::vector<float> values;
  Shape shape;
};

std::string gguf_file(const test::Scratch& scratch, const std::vector<Tensor>& tensors,
                      const std::string& type = "imatrix") {
  const std::string path = scratch.file("hostile.gguf");
  std::vector<PlannedTensor> planned;
  for (const Tensor& t : tensors) planned.push_back({t.name, t.shape, &format_of("f32"), DType::f32});
  std::vector<GgufKv> kv;
  if (!type.empty()) kv.push_back(GgufKv::text("general.type", type));
  TensorSink sink(plan_gguf(path, planned, kv));
  for (size_t i = 0; i < tensors.size(); ++i)
    sink.write(i, 0, 0, std::as_bytes(std::span(tensors[i].values)));
  sink.finish();
  return path;
}

TEST(GgufImatrix, HostileFilesAreRefused) {
  const test::Scratch scratch;
  const Tensor sums{"a.in_sum2", {1, 2}, {1, 2}}, counts{"a.counts", {2}, {1, 1}};
  const auto refused = [&](const std::vector<Tensor>& tensors, const std::string& says,
                           const std::string& type = "imatrix") {
    const auto e = thrown_by([&] { read_imatrix(gguf_file(scratch, tensors, type)); });
    EXPECT_EQ(e.kind, ErrorKind::bad_input) << says;
    EXPECT_TRUE(e.says("hostile.gguf")) << e.message;
    EXPECT_TRUE(e.says(says)) << "expected '" << says << "' in: " << e.message;
  };
  EXPECT_EQ(read_imatrix(gguf_file(scratch, {sums, counts})).entries.size(), 1u);
  refused({sums, counts}, "general.type is 'model'", "model");
  refused({sums, counts}, "general.type is ''", "");
  refused({}, "no matrix");
  refused({sums}, "a has 2 sums and 0 counts");
  refused({counts}, "a has 0 sums and 1 counts");
  refused({sums, {"a.counts", {1, 1, 1}, {3, 1}}}, "a has 2 sums and 3 counts");
  refused({sums, counts, {"b.weight", {1}, {1}}}, "b.weight is neither");
  refused({{"a.in_sum2", {1, NAN}, {1, 2}}, counts}, "a holds a negative or infinite");
  refused({{"a.in_sum2", {1, -1}, {1, 2}}, counts}, "a holds a negative or infinite");
  refused({sums, {"a.counts", {-3}, {1, 1}}}, "a holds a negative or infinite");
  refused({sums, {"a.counts", {INFINITY}, {1, 1}}}, "a holds a negative or infinite");
}

TEST(GgufImatrix, TruncatedFilesAreRefused) {
  const test::Scratch scratch;
  const std::string path = scratch.file("hostile.gguf");
  write_imatrix(made(), path);
  const std::string whole = test::file_bytes(path);
  for (size_t left = 4; left + 32 < whole.size(); left += 13) {
    std::ofstream(path, std::ios::binary) << whole.substr(0, left);
    const auto e = thrown_by([&] { read_imatrix(path); });
    EXPECT_EQ(e.kind, ErrorKind::bad_input) << left;
    EXPECT_TRUE(e.says("hostile.gguf")) << e.message;
  }
}

TEST(GgufImatrix, OtherNumbersThanF32AreRefused) {
  const test::Scratch scratch;
  const std::string path = scratch.file("hostile.gguf");
  const std::vector<PlannedTensor> planned{{"a.in_sum2", Shape{1, 4}, &format_of("f16"), DType::f16},
                                           {"a.counts", Shape{1, 1}, &format_of("f32"), DType::f32}};
  TensorSink sink(plan_gguf(path, planned, std::vector<GgufKv>{GgufKv::text("general.type", "imatrix")}));
  sink.finish();
  const auto e = thrown_by([&] { read_imatrix(path); });
  EXPECT_EQ(e.kind, ErrorKind::bad_input);
  EXPECT_TRUE(e.says("a.in_sum2")) << e.message;
}

}  // namespace
}  // namespace nibble
