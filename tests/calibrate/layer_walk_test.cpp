// A model walked layer by layer, with its hidden states in a file that outlives a kill.
#include "calibrate/layer_walk.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "calibrate/made_models.h"
#include "support/checkpoint_maker.h"
#include "support/patch.h"
#include "support/scratch.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using test::made_sequences;
using test::thrown_by;
using Bits = std::vector<std::pair<std::string, std::vector<double>>>;

class Walk : public testing::Test {
 protected:
  Walk() : model_(test::made_checkpoint("llama", scratch_.path() / "model")) {}

  struct Seen {
    Bits bits;      ///< by matrix
    int steps = 0;  ///< sequences that went through a part
  };
  /// What a walk from the file as it stands sees of a part.
  Seen observe(int64_t part, const std::vector<Sequence>& sequences) {
    LayerWalk walk(model_, sequences, file_, pool_);
    return observe(walk, part);
  }
  Seen observe(LayerWalk& walk, int64_t part) {
    Seen seen;
    Collector collector({.hessian = false}, pool_);
    walk.observe(part, collector, [&] { ++seen.steps; });
    for (const InputStats& s : collector.take()) {
      for (const std::string& r : s.readers) seen.bits.emplace_back(r, s.sum2);
    }
    return seen;
  }
  /// What a walk without any file before it sees.
  Bits anew(int64_t part, const std::vector<Sequence>& sequences) {
    LayerWalk walk(model_, sequences, scratch_.file("another"), pool_);
    Bits bits = observe(walk, part).bits;
    walk.remove();
    return bits;
  }
  /// Changes some bytes of the file.
  void damage(std::streamoff at, const std::string& bytes) {
    std::fstream f(file_, std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(at);
    f.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(f.good());
  }

  test::Scratch scratch_;
  ThreadPool pool_{2};
  Checkpoint model_;
  const std::vector<Sequence> sequences_ = made_sequences(4, 40);
  const std::string file_ = scratch_.file("hidden");
};

TEST_F(Walk, EveryPartTakesOneStepASequence) {
  LayerWalk walk(model_, sequences_, file_, pool_);
  EXPECT_EQ(walk.parts(), 4);  // three layers and the head
  EXPECT_EQ(walk.sequences(), 4u);
  EXPECT_EQ(observe(walk, 0).steps, 8);  // with the embedding
  for (int64_t part = 1; part < 4; ++part) EXPECT_EQ(observe(walk, part).steps, 4) << part;
  EXPECT_EQ(fs::file_size(file_), LayerWalk::file_bytes(model_, sequences_));
}

TEST_F(Walk, PartsLeftOutAreRunAllTheSame) {
  LayerWalk walk(model_, sequences_, file_, pool_);
  observe(walk, 0);
  const Seen head = observe(walk, 3);
  EXPECT_EQ(head.steps, 3 * 4);
  LayerWalk steady(model_, sequences_, scratch_.file("steady"), pool_);
  for (int64_t part = 0; part < 3; ++part) observe(steady, part);
  EXPECT_EQ(observe(steady, 3).bits, head.bits);
}

TEST_F(Walk, ASecondWalkGoesOnWhereTheFirstStopped) {
  const Bits expected = anew(2, sequences_);
  observe(0, sequences_);
  const Seen one = observe(1, sequences_), two = observe(2, sequences_), again = observe(2, sequences_);
  EXPECT_EQ(one.steps, 4);
  EXPECT_EQ(two.steps, 4);
  EXPECT_EQ(two.bits, expected);
  // The states before the last layer it reached still stand: it can be asked again.
  EXPECT_EQ(again.steps, 4);
  EXPECT_EQ(again.bits, expected);
  EXPECT_EQ(observe(3, sequences_).bits, anew(3, sequences_));
}

TEST_F(Walk, StoppedInTheMiddleOfALayerItGoesOnToTheSameBits) {
  const Bits expected = anew(3, sequences_);
  for (int stop = 1; stop < 20; stop += 3) {
    int left = stop;
    {
      LayerWalk walk(model_, sequences_, file_, pool_);
      for (int64_t part = 0; part < 4 && left > 0; ++part) {
        Collector collector({}, pool_);
        try {
          walk.observe(part, collector, [&] {
            if (--left == 0) throw Error(ErrorKind::interrupted, "stopped");
          });
        } catch (const Error&) {
        }
      }
    }
    const Seen head = observe(3, sequences_);
    EXPECT_EQ(head.bits, expected) << stop;
    EXPECT_EQ(head.steps, 20 - (stop - 1) / 4 * 4) << stop;  // finished parts are not run again
    fs::remove(file_);
  }
}

TEST_F(Walk, OtherSequencesBeginAnew) {
  observe(1, sequences_);
  const std::vector<Sequence> others = made_sequences(4, 40, 2);  // as many, so the file has the same size
  const Seen seen = observe(1, others);
  EXPECT_EQ(seen.steps, 3 * 4);
  EXPECT_EQ(seen.bits, anew(1, others));
  EXPECT_EQ(observe(1, made_sequences(3, 40)).steps, 3 * 3);
}

TEST_F(Walk, OtherProductsBeginAnew) {
  observe(1, sequences_);
  const auto fast = [&] {
    LayerWalk walk(model_, sequences_, file_, pool_, Precision::fast);
    return observe(walk, 1);
  };
  const Seen first = fast();
  EXPECT_EQ(first.steps, 3 * 4);
  const Bits exact = anew(1, sequences_);
  ASSERT_EQ(first.bits.size(), exact.size());
  for (size_t i = 0; i < exact.size(); ++i) {
    double difference = 0, size = 0;
    for (size_t c = 0; c < exact[i].second.size(); ++c) {
      difference += std::fabs(first.bits[i].second[c] - exact[i].second[c]);
      size += exact[i].second[c];
    }
    EXPECT_LT(difference, 0.05 * size) << exact[i].first;
  }
  EXPECT_EQ(fast().steps, 4) << "as before: it goes on";
  EXPECT_EQ(observe(1, sequences_).steps, 3 * 4);
}

TEST_F(Walk, AnotherModelBeginsAnew) {
  observe(1, sequences_);
  fs::last_write_time(scratch_.path() / "model" / "model.safetensors", fs::file_time_type::clock::now());
  EXPECT_EQ(observe(1, sequences_).steps, 3 * 4);
}

TEST_F(Walk, ADamagedFileBeginsAnew) {
  const Bits expected = anew(2, sequences_);
  observe(1, sequences_);
  const uintmax_t size = fs::file_size(file_);
  for (const uintmax_t left : {uintmax_t{0}, uintmax_t{10}, uintmax_t{4096}, size - 1, size + 1}) {
    fs::resize_file(file_, left);
    const Seen seen = observe(2, sequences_);
    EXPECT_EQ(seen.steps, 4 * 4) << left;
    EXPECT_EQ(seen.bits, expected) << left;
  }
  for (const std::streamoff at : {0, 20}) {  // magic, identity
    damage(at, "#");
    const Seen seen = observe(2, sequences_);
    EXPECT_EQ(seen.steps, 4 * 4) << at;
    EXPECT_EQ(seen.bits, expected) << at;
  }
  // Parts that the model does not have.
  damage(48, std::string(16, '\x7f'));
  EXPECT_EQ(observe(2, sequences_).bits, expected);
  damage(48, std::string(16, '\x80'));
  EXPECT_EQ(observe(2, sequences_).bits, expected);
}

TEST_F(Walk, RemoveLeavesNothing) {
  LayerWalk walk(model_, sequences_, file_, pool_);
  EXPECT_TRUE(fs::exists(file_));
  walk.remove();
  EXPECT_FALSE(fs::exists(file_));
}

TEST_F(Walk, WhatCannotBeWalkedIsRefused) {
  const auto nothing = thrown_by([&] { LayerWalk(model_, {}, file_, pool_); });
  EXPECT_EQ(nothing.kind, ErrorKind::bad_input);
  EXPECT_TRUE(nothing.says("no text")) << nothing.message;
  const auto nowhere =
      thrown_by([&] { LayerWalk(model_, sequences_, scratch_.file("no/such/folder/hidden"), pool_); });
  EXPECT_EQ(nowhere.kind, ErrorKind::io);
  EXPECT_TRUE(nowhere.says("no/such/folder")) << nowhere.message;
  const test::SeededModel encoder{
      "distilbert", R"({"architectures": ["DistilBertModel"], "model_type": "distilbert", "dim": 64,
        "hidden_dim": 96, "n_layers": 1, "n_heads": 4, "vocab_size": 300, "max_position_embeddings": 64,
        "activation": "gelu"})"};
  test::write_seeded_checkpoint(encoder, scratch_.path() / "encoder", {});
  const Checkpoint bert = open_checkpoint(scratch_.file("encoder"));
  const auto refused = thrown_by([&] { LayerWalk(bert, sequences_, file_, pool_); });
  EXPECT_EQ(refused.kind, ErrorKind::usage);
  EXPECT_TRUE(refused.says("encoder")) << refused.message;
}

TEST_F(Walk, KeysThatF16CannotHoldAreNamedWhereProductsAreFast) {
  for (const char* name : {"k_proj", "v_proj"}) {
    const std::string folder = scratch_.file(name);
    test::made_checkpoint("llama", folder);
    test::patch_tensor(folder + "/model.safetensors",
                       std::string("model.layers.1.self_attn.") + name + ".weight",
                       [](std::vector<float>& x, int64_t) {
                         for (float& v : x) v *= 1e6f;
                       });
    const Checkpoint loud = open_checkpoint(folder);
    LayerWalk exact(loud, sequences_, scratch_.file("exact"), pool_);
    EXPECT_EQ(observe(exact, 1).bits.size(), 7u) << name;
    LayerWalk fast(loud, sequences_, file_, pool_, Precision::fast);
    observe(fast, 0);
    const auto e = thrown_by([&] { observe(fast, 1); });
    EXPECT_EQ(e.kind, ErrorKind::bad_input) << name;
    EXPECT_TRUE(e.says(std::string("blk.1.attention: a ") + (name[0] == 'k' ? "key" : "value"))) << e.message;
    EXPECT_TRUE(e.says("which f16 cannot hold")) << e.message;
    EXPECT_TRUE(e.says("without --fast")) << e.hint;
  }
}

TEST_F(Walk, NotANumberIsNamedByWhereItAppears) {
  test::MadeModel m;
  m.hidden = 64;
  m.ffn = 96;
  m.vocab = 300;
  m.poison = "model.layers.1.mlp.down_proj.weight";
  test::make_checkpoint(scratch_.path() / "poisoned", m);
  const Checkpoint poisoned = open_checkpoint(scratch_.file("poisoned"));
  LayerWalk walk(poisoned, sequences_, file_, pool_);
  Collector collector({.hessian = true}, pool_);
  walk.observe(0, collector, [] {});
  collector.take();
  const auto e = thrown_by([&] { walk.observe(1, collector, [] {}); });
  EXPECT_EQ(e.kind, ErrorKind::bad_input);
  EXPECT_TRUE(e.says("blk.1.ffn_down")) << e.message;
}

}  // namespace
}  // namespace nibble
