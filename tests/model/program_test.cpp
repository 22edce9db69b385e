#include "model/program.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "model/executor.h"
#include "model/small_model.h"
#include "ops/attention.h"

namespace nibble {
namespace {

using test::llama_like;
using test::random_weights;
using test::small_hparams;

std::vector<int32_t> some_tokens(int64_t n, int64_t vocab) {
  Rng rng(9);
  std::vector<int32_t> t;
  for (int64_t i = 0; i < n; ++i) t.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab))));
  return t;
}

/// Logits of all tokens, run in batches of `step`.
std::vector<float> logits_of(const Program& program, std::span<const int32_t> tokens, size_t step,
                             int threads = 2, std::string_view kv = "f32") {
  ThreadPool pool(threads);
  Executor executor(program, pool);
  KvCache cache = program.cache(static_cast<int64_t>(tokens.size()), kv);
  std::vector<float> all;
  for (size_t begin = 0; begin < tokens.size(); begin += step) {
    const auto part =
        executor.run(tokens.subspan(begin, std::min(step, tokens.size() - begin)), cache, Want::all);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

struct Variant {
  const char* name;
  void (*change)(Hparams&);
};

class Cuts : public testing::TestWithParam<Variant> {};

TEST_P(Cuts, BatchesThreadsAndLevelsChangeNoBit) {
  Hparams h = small_hparams();
  GetParam().change(h);
  const auto source = random_weights(h);
  ThreadPool pool(2);
  const Program program = build_program(llama_like(), h, source, pool);
  const auto tokens = some_tokens(150, h.vocab);
  const auto whole = logits_of(program, tokens, 150);
  ASSERT_EQ(whole.size(), size_t(150 * h.vocab));
  EXPECT_EQ(logits_of(program, tokens, 1), whole) << "token by token";
  EXPECT_EQ(logits_of(program, tokens, 37), whole) << "in chunks";
  EXPECT_EQ(logits_of(program, tokens, 64, 1), whole) << "one thread";
  EXPECT_EQ(logits_of(program, tokens, 150, 3), whole) << "three threads";
  const IsaLevel usual = isa_level();
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    EXPECT_EQ(logits_of(program, tokens, 150), whole) << isa_name(level);
  }
  set_isa_level(usual);
}

INSTANTIATE_TEST_SUITE_P(
    Variants, Cuts,
    testing::Values(Variant{"plain", [](Hparams&) {}}, Variant{"window", [](Hparams& h) { h.window = 20; }},
                    Variant{"window_every_other", [](Hparams& h) { h.window = 9, h.window_every = 2; }},
                    Variant{"experts",
                            [](Hparams& h) { h.experts = 4, h.experts_used = 2, h.expert_ffn = 24; }},
                    Variant{"caps", [](Hparams& h) { h.attn_softcap = 10, h.logit_softcap = 5; }},
                    Variant{"yarn",
                            [](Hparams& h) {
                              h.rope_scaling = RopeScaling::yarn;
                              h.rope_factor = 4;
                              h.rope_original_context = 64;
                            }}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

TEST(Program, QuantizedWeightsGiveTheSameBitsDecodedOrNot) {
  const Hparams h = small_hparams();
  auto source = random_weights(h);
  for (auto& [name, tensor] : source.tensors) {
    if (tensor.shape.rank() < 2) continue;
    std::vector<float> x(static_cast<size_t>(tensor.shape.elements()));
    decode_range(tensor, 0, tensor.shape.elements(), x.data());
    source.set(name, tensor.shape, x, tensor.shape.cols() % 32 == 0 ? "q8_0" : "bf16");
  }
  ThreadPool pool(2);
  const Program kept = build_program(llama_like(), h, source, pool);
  const Program packed = build_program(llama_like(), h, source, pool, {.decoded_bytes = 0});
  EXPECT_EQ(packed.weights[0]->matrix->decoded(), nullptr);
  EXPECT_NE(kept.weights[0]->matrix->decoded(), nullptr);
  const auto tokens = some_tokens(40, h.vocab);
  EXPECT_EQ(logits_of(kept, tokens, 40), logits_of(packed, tokens, 40));
}

TEST(Program, FastProductsStayNearTheExactOnes) {
  Hparams h = small_hparams();
  auto source = random_weights(h);
  for (auto& [name, tensor] : source.tensors) {
    if (tensor.shape.rank() < 2 || tensor.shape.cols() % 32 != 0) continue;
    std::vector<float> x(static_cast<size_t>(tensor.shape.elements()));
    decode_range(tensor, 0, tensor.shape.elements(), x.data());
    source.set(name, tensor.shape, x, "q4_0");
  }
  ThreadPool pool(2);
  const auto tokens = some_tokens(70, h.vocab);
  const auto exact = logits_of(build_program(llama_like(), h, source, pool), tokens, 70);
  const IsaLevel usual = isa_level();
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    const Program fast = build_program(llama_like(), h, source, pool, {.precision = Precision::fast});
    for (const Node& node : fast.nodes) {
      if (node.op != &attention_op) continue;
      EXPECT_EQ(node.attribute<AttentionAttributes>().precision, Precision::fast) << node.name;
    }
    for (const size_t step : {size_t{70}, size_t{1}, size_t{6}}) {
      const auto y = logits_of(fast, tokens, step);
      double error = 0, power = 0;
      for (size_t i = 0; i < y.size(); ++i) {
        error += (y[i] - exact[i]) * (y[i] - exact[i]);
        power += exact[i] * exact[i];
      }
      // Eight bits for 32 normal values lose about 0.5 % of a product (their largest is 2.1 sigma, a step
      // 1/127 of it), bf16 0.2 %. Fifteen products in two layers and the output: 2 % if independent, 7.5 % if
      // all alike.
      EXPECT_LT(std::sqrt(error / power), 0.04) << isa_name(level) << " in batches of " << step;
      EXPECT_EQ(logits_of(fast, tokens, step, 1), y) << isa_name(level) << ": one thread";
    }
  }
  set_isa_level(usual);
}

TEST(Program, ScalesBesideMatricesCount) {
  const Hparams h = small_hparams();
  auto source = random_weights(h);
  ThreadPool pool(1);
  const auto tokens = some_tokens(5, h.vocab);
  const auto plain = logits_of(build_program(llama_like(), h, source, pool), tokens, 5);
  // A matrix halved with a scale of 2 beside it is the same matrix, exactly.
  const std::string stem = "blk.1.ffn_up";
  std::vector<float> x(static_cast<size_t>(h.ffn * h.hidden));
  decode_range(source.tensors.at(stem + ".weight"), 0, h.ffn * h.hidden, x.data());
  for (float& v : x) v /= 2;
  source.set(stem + ".weight", {h.ffn, h.hidden}, x);
  EXPECT_NE(logits_of(build_program(llama_like(), h, source, pool), tokens, 5), plain);
  source.set(stem + ".scale", {1}, std::vector<float>{2});
  EXPECT_EQ(logits_of(build_program(llama_like(), h, source, pool), tokens, 5), plain);
  source.set(stem + ".scale", {2}, std::vector<float>{2, 2});
  EXPECT_THROW(build_program(llama_like(), h, source, pool), Error);
}

TEST(Program, CachesAreAsSmallAsTheirFormatAndStayClose) {
  Hparams h = small_hparams();
  h.head_dim = h.rope_dim = 32;
  ThreadPool pool(2);
  const Program program = build_program(llama_like(), h, random_weights(h), pool);
  const auto tokens = some_tokens(60, h.vocab);
  const auto full = logits_of(program, tokens, 60);
  struct Kept {
    const char* words;
    double bytes, error;  ///< of a token's number; of the logits, relative
  };
  // Steps of the formats: 2^-11 of a number, 1/127 and 1/8 of the largest in a block; most of it averages
  // out.
  for (const Kept& kept : {Kept{"f16", 2, 1e-3}, Kept{"q8_0", 34.0 / 32, 0.02}, Kept{"q4_0", 18.0 / 32, 0.3},
                           Kept{"k=q8_0,v=q4_0", 26.0 / 32, 0.3}, Kept{"q4_0:plain", 18.0 / 32, 0.3}}) {
    const auto y = logits_of(program, tokens, 60, 2, kept.words);
    double error = 0, power = 0;
    for (size_t i = 0; i < y.size(); ++i) {
      error += (y[i] - full[i]) * (y[i] - full[i]);
      power += full[i] * full[i];
    }
    EXPECT_GT(error, 0) << kept.words;
    EXPECT_LT(std::sqrt(error / power), kept.error) << kept.words;
    // Batches, threads and levels change no bit of any of them.
    EXPECT_EQ(logits_of(program, tokens, 1, 1, kept.words), y) << kept.words;
    const IsaLevel usual = isa_level();
    for (const IsaLevel level : isa_levels()) {
      set_isa_level(level);
      EXPECT_EQ(logits_of(program, tokens, 60, 2, kept.words), y) << kept.words << " " << isa_name(level);
    }
    set_isa_level(usual);
    KvCache cache = program.cache(128, kept.words);
    EXPECT_DOUBLE_EQ(cache.bytes_per_token(), kept.bytes * double(2 * h.layers * h.kv_heads * h.head_dim));
    EXPECT_EQ(cache.bytes(), 0u);
    cache.reserve(128);
    const auto slack = static_cast<double>(2 * h.layers * kv_slack);
    EXPECT_EQ(static_cast<double>(cache.bytes()), 128 * cache.bytes_per_token() + slack) << kept.words;
  }
}

TEST(Program, CutSequencesGoOnAsIfNothingHadFollowed) {
  const Hparams h = small_hparams();
  ThreadPool pool(2);
  for (const Precision precision : {Precision::exact, Precision::fast}) {
    const Program program = build_program(llama_like(), h, random_weights(h), pool, {.precision = precision});
    const auto tokens = some_tokens(90, h.vocab);
    for (const char* kv : {"f32", "f16", "q8_0", "q4_0"}) {
      Executor executor(program, pool);
      KvCache cache = program.cache(90, kv), fresh = program.cache(90, kv);
      executor.run(tokens, cache, Want::none);
      cache.truncate(37);
      const std::span<const int32_t> other = std::span(tokens).subspan(20, 11);
      executor.run(std::span(tokens).first(37), fresh, Want::none);
      const auto got = executor.run(other, cache, Want::all);
      const std::vector<float> cut(got.begin(), got.end());
      const auto want = executor.run(other, fresh, Want::all);
      // Fast products differ between batches only in what ran before the cut.
      double worst = 0;
      for (size_t i = 0; i < cut.size(); ++i) worst = std::max<double>(worst, std::fabs(cut[i] - want[i]));
      EXPECT_LE(worst, precision == Precision::exact ? 0 : 0.5) << kv;
    }
  }
}

TEST(Program, SequencesThatRunTogetherGiveWhatEachGivesAlone) {
  Hparams h = small_hparams();
  ThreadPool pool(2);
  const Program program = build_program(llama_like(), h, random_weights(h), pool);
  Executor executor(program, pool);
  const std::vector<std::vector<int32_t>> texts{some_tokens(5, h.vocab), some_tokens(600, h.vocab),
                                                some_tokens(33, h.vocab)};
  const std::vector<Want> wants{Want::all, Want::last, Want::none};
  for (const char* kv : {"f32", "q4_0"}) {
    std::vector<float> want;
    std::vector<KvCache> caches;
    for (size_t i = 0; i < texts.size(); ++i) {
      KvCache cache = program.cache(1000, kv);
      const auto alone = executor.run(texts[i], cache, wants[i]);
      want.insert(want.end(), alone.begin(), alone.end());
      caches.push_back(program.cache(1000, kv));
    }
    std::vector<Executor::Part> parts;
    for (size_t i = 0; i < texts.size(); ++i) parts.push_back({texts[i], &caches[i], wants[i]});
    const auto together = executor.run(parts);
    EXPECT_EQ(std::vector<float>(together.begin(), together.end()), want) << kv;
    for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(caches[i].length(), int64_t(texts[i].size()));
    // A token that the model does not have leaves all as they were.
    const std::vector<int32_t> bad{1, 5000};
    parts[1].tokens = bad;
    EXPECT_THROW(executor.run(parts), Error);
    for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(caches[i].length(), int64_t(texts[i].size()));
  }
}

TEST(Program, LastAndNoneWantFewerRows) {
  const Hparams h = small_hparams();
  ThreadPool pool(2);
  const Program program = build_program(llama_like(), h, random_weights(h), pool);
  const auto tokens = some_tokens(700, h.vocab);  // more than one batch
  Executor executor(program, pool);
  KvCache cache = program.cache(700);
  EXPECT_TRUE(executor.run(tokens, cache, Want::none).empty());
  cache.clear();
  const auto last = executor.run(tokens, cache, Want::last);
  const std::vector<float> row(last.begin(), last.end());
  const auto all = logits_of(program, tokens, 700);
  EXPECT_EQ(row, std::vector<float>(all.end() - h.vocab, all.end()));
}

TEST(Program, FullCacheIsAUsageErrorAndChangesNothing) {
  const Hparams h = small_hparams();
  ThreadPool pool(1);
  const Program program = build_program(llama_like(), h, random_weights(h), pool);
  Executor executor(program, pool);
  KvCache cache = program.cache(10);
  const auto tokens = some_tokens(8, h.vocab);
  executor.run(tokens, cache, Want::none);
  try {
    executor.run(tokens, cache, Want::last);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_EQ(std::string(e.what()), "8 tokens do not fit into the context: 8 of 10 are in use");
  }
  EXPECT_EQ(cache.length(), 8);
}

void expect_message(const Hparams& h, const test::MapSource& source, const std::string& wanted) {
  ThreadPool pool(1);
  try {
    build_program(llama_like(), h, source, pool);
    FAIL() << "expected: " << wanted;
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::bad_input);
    EXPECT_EQ(std::string(e.what()), wanted);
  }
}

TEST(Program, MissingAndIllShapedTensorsAreNamed) {
  const Hparams h = small_hparams();
  auto source = random_weights(h);
  source.tensors.erase("blk.1.ffn_up.weight");
  expect_message(h, source, "the model has no tensor blk.1.ffn_up.weight");
  source = random_weights(h);
  source.random("blk.0.attn_k.weight", {17, 32}, 1);
  expect_message(h, source, "blk.0.attn_k.weight has shape [17, 32], expected [16, 32]");
  source = random_weights(h);
  source.random("blk.0.attn_norm.weight", {31}, 1);
  expect_message(h, source, "blk.0.attn_norm.weight has shape [31], expected [32]");
  source = random_weights(h);
  source.random("token_embd.weight", {49, 32}, 1);
  expect_message(h, source, "token_embd.weight has shape [49, 32], expected [50, 32]");
}

TEST(Program, NotFiniteValuesNameTheirOrigin) {
  const Hparams h = small_hparams();
  auto source = random_weights(h);
  std::vector<float> x(static_cast<size_t>(h.hidden * h.ffn), 0.01f);
  x[5] = std::numeric_limits<float>::infinity();
  source.set("blk.1.ffn_down.weight", {h.hidden, h.ffn}, x);
  ThreadPool pool(1);
  const Program program = build_program(llama_like(), h, source, pool);
  Executor executor(program, pool);
  KvCache cache = program.cache(10);
  try {
    executor.run(some_tokens(3, h.vocab), cache, Want::last);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::bad_input);
    EXPECT_EQ(std::string(e.what()),
              "NaN or infinite values in the output of blk.1.ffn_down (linear) for the token at position 0; "
              "row 0 of "
              "blk.1.ffn_down.weight is not finite itself");
  }
  EXPECT_EQ(cache.length(), 0);
}

TEST(Program, TokensOutsideTheVocabularyAreErrors) {
  const Hparams h = small_hparams();
  ThreadPool pool(2);
  const Program program = build_program(llama_like(), h, random_weights(h), pool);
  Executor executor(program, pool);
  KvCache cache = program.cache(10);
  EXPECT_THROW(executor.run(std::vector<int32_t>{1, 50}, cache, Want::last), Error);
  EXPECT_THROW(executor.run(std::vector<int32_t>{-1}, cache, Want::last), Error);
  EXPECT_EQ(executor.run(std::vector<int32_t>{49}, cache, Want::last).size(), 50u);
}

}  // namespace
}  // namespace nibble
