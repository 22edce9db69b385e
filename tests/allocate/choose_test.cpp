#include "allocate/choose.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"

namespace nibble {
namespace {

using Tensors = std::vector<std::vector<Choice>>;

/// Tensors of different sizes and sensitivities; loss falls roughly by four with every bit.
Tensors random_tensors(Rng& rng, size_t count, size_t choices) {
  Tensors all(count);
  for (auto& t : all) {
    const double size = 100 + 900 * rng.uniform(), weight = std::exp(3 * rng.normal());
    for (size_t c = 0; c < choices; ++c) {
      const double bits = 2 + 6 * static_cast<double>(c) / static_cast<double>(choices - 1);
      t.push_back(
          {static_cast<uint64_t>(size * bits), weight * std::exp2(-2 * bits) * (0.6 + rng.uniform())});
    }
  }
  return all;
}

/// The least loss of all assignments.
double best_of_all(const Tensors& t, uint64_t budget) {
  double best = INFINITY;
  std::vector<size_t> picked(t.size(), 0);
  for (;;) {
    if (bytes_of(t, picked) <= budget) best = std::min(best, loss_of(t, picked));
    size_t i = 0;
    while (i < t.size() && ++picked[i] == t[i].size()) picked[i++] = 0;
    if (i == t.size()) return best;
  }
}

TEST(Choose, IsNearTheBestOfAllAssignments) {
  Rng rng(3);
  double worst = 1, sum = 0;
  constexpr int problems = 60;
  for (int i = 0; i < problems; ++i) {
    const Tensors t = random_tensors(rng, 7, 4);
    const uint64_t low = least_bytes(t), high = most_bytes(t);
    const uint64_t budget = low + static_cast<uint64_t>(rng.uniform() * static_cast<double>(high - low));
    const auto picked = choose_within(t, budget);
    ASSERT_EQ(picked.size(), t.size());
    ASSERT_LE(bytes_of(t, picked), budget);
    const double ratio = loss_of(t, picked) / best_of_all(t, budget);
    worst = std::max(worst, ratio);
    sum += ratio;
  }
  EXPECT_LT(worst, 1.3);
  EXPECT_LT(sum / problems, 1.02);
}

TEST(Choose, LosesNoMoreWithMoreBytes) {
  Rng rng(4);
  const Tensors t = random_tensors(rng, 40, 6);
  double last = INFINITY;
  for (int i = 0; i <= 20; ++i) {
    const uint64_t budget = least_bytes(t) + (most_bytes(t) - least_bytes(t)) * static_cast<uint64_t>(i) / 20;
    const auto picked = choose_within(t, budget);
    ASSERT_FALSE(picked.empty());
    EXPECT_LE(loss_of(t, picked), last * 1.001);
    last = loss_of(t, picked);
  }
}

TEST(Choose, IsNeverWorseThanOneFormatForAll) {
  Rng rng(5);
  for (int i = 0; i < 40; ++i) {
    const Tensors t = random_tensors(rng, 25, 5);
    for (size_t c = 0; c < 5; ++c) {
      const std::vector<size_t> uniform(t.size(), c);
      const auto picked = choose_within(t, bytes_of(t, uniform));
      ASSERT_FALSE(picked.empty());
      EXPECT_LE(loss_of(t, picked), loss_of(t, uniform) * (1 + 1e-12));
    }
  }
}

TEST(Choose, SaysWhenNothingFits) {
  const Tensors t{{{10, 1.0}, {20, 0.5}}, {{5, 2.0}}};
  EXPECT_TRUE(choose_within(t, 14).empty());
  EXPECT_EQ(choose_within(t, 15), (std::vector<size_t>{0, 0}));
  EXPECT_EQ(choose_within(t, 25), (std::vector<size_t>{1, 0}));
}

}  // namespace
}  // namespace nibble
