// Activations to 8 bits: all that kernels read of a unit, at every level, number by number.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/kernel.h"
#include "kernels/isa.h"
#include "kernels/matmul.h"
#include "support/gaussian.h"
#include "support/keep_level.h"

namespace nibble {
namespace {

/// Units of one row of k numbers, as kernel.h says.
std::vector<RoundedUnit> expected(const std::vector<float>& x, int32_t bias) {
  std::vector<RoundedUnit> units((x.size() + unit_weights - 1) / unit_weights);
  for (size_t at = 0; at < units.size() * unit_weights; at += 32) {
    RoundedUnit& u = units[at / unit_weights];
    const size_t in = at % unit_weights;
    float most = 0;
    bool finite = true;
    const auto number = [&](size_t i) { return at + i < x.size() ? x[at + i] : 0.0f; };
    for (size_t i = 0; i < 32; ++i) {
      finite = finite && std::isfinite(number(i));
      most = std::max(most, std::fabs(number(i)));
    }
    const float scale = finite ? most / 127.0f : std::numeric_limits<float>::quiet_NaN();
    const float inverse = most > 0 ? 127.0f / most : 0.0f;
    int32_t pair = 0;
    for (size_t half = 0; half < 2; ++half) {
      int32_t sum = 0;
      for (size_t i = in + 16 * half; i < in + 16 * half + 16; ++i) {
        u.q[i] = finite ? static_cast<int8_t>(std::nearbyint(number(i - in) * inverse)) : int8_t{0};
        sum += u.q[i];
        if (i % 4 == 0) u.bias[i / 4] = 0;
        u.bias[i / 4] -= bias * u.q[i];
      }
      const size_t group = in / 16 + half;
      u.start[group] = -bias * sum;
      u.scale[group] = scale;
      u.sum[group] = scale * static_cast<float>(sum);
      pair += sum;
    }
    u.start_pair[in / 32] = -bias * pair;
    u.sum_pair[in / 32] = scale * static_cast<float>(pair);
  }
  return units;
}

bool same(float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); }

/// What a unit is for; of a group that is not finite nothing but that matters. `pairs`: what only lanes read.
void compare(const RoundedUnit& got, const RoundedUnit& want, bool pairs) {
  for (size_t g = 0; g < 16; ++g) {
    ASSERT_TRUE(same(got.scale[g], want.scale[g])) << "group " << g;
    ASSERT_TRUE(same(got.sum[g], want.sum[g])) << "group " << g;
    if (pairs) {
      ASSERT_TRUE(same(got.sum_pair[g / 2], want.sum_pair[g / 2])) << "group " << g;
    }
    if (std::isnan(want.scale[g])) continue;
    ASSERT_EQ(got.start[g], want.start[g]) << "group " << g;
    for (size_t i = 16 * g; i < 16 * g + 16; ++i) ASSERT_EQ(got.q[i], want.q[i]) << "number " << i;
    for (size_t i = 4 * g; i < 4 * g + 4; ++i) ASSERT_EQ(got.bias[i], want.bias[i]) << "four " << i;
    if (pairs) {
      ASSERT_EQ(got.start_pair[g / 2], want.start_pair[g / 2]) << "group " << g;
    }
  }
}

TEST(RoundedActivations, AreWhatKernelsExpect) {
  const test::KeepLevel keep;
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    const CpuKernels& cpu = cpu_kernels();
    if (cpu.round == nullptr) continue;
    const bool pairs = isa_has_vnni() && level >= IsaLevel::avx512;
    for (const int64_t k : {1, 31, 32, 250, 256, 300, 1024}) {
      for (const int32_t bias : {0, 8, 128, 32768}) {
        auto x = test::gaussian(k, static_cast<uint64_t>(k));
        // Groups of zeros, of large and of tiny numbers, and what is none.
        for (size_t i = 0; i < x.size(); ++i) {
          const size_t group = i / 32 % 6;
          x[i] *= group == 1 ? 0.0f : group == 2 ? 1e30f : group == 3 ? 1e-35f : 1.0f;
        }
        if (k == 1024) {
          x[130] = std::numeric_limits<float>::quiet_NaN();
          x[700] = -infinity;
        }
        const auto want = expected(x, bias);
        std::vector<RoundedUnit> got(want.size());
        cpu.round({x.data(), 1, k, bias, reinterpret_cast<std::byte*>(got.data()), 0, sizeof(RoundedUnit)});
        for (size_t i = 0; i < want.size(); ++i) {
          SCOPED_TRACE(testing::Message()
                       << isa_name(level) << " k " << k << " bias " << bias << " unit " << i);
          compare(got[i], want[i], pairs);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

}  // namespace
}  // namespace nibble
