#include "kernels/isa.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include <fmt/ranges.h>

#include "base/error.h"

namespace nibble {
namespace {

/// In the order of IsaLevel.
constexpr std::string_view names[] = {"scalar", "avx2", "avx512", "amx", "neon", "dotprod", "i8mm"};
static_assert(std::size(names) == isa_level_count);

#if defined(__x86_64__)

/// What __builtin_cpu_supports of g++ 12 does not know: tiles with their products, the system's readiness to
/// save them, and its permission for this process (all threads, those to come included).
bool may_use_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24, amx_int8 = 1u << 25;
  constexpr unsigned all = amx_bf16 | amx_tile | amx_int8;
  if ((d & all) != all) return false;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_OSXSAVE) == 0) return false;
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned tile_state = 3u << 17;
  if ((low & tile_state) != tile_state) return false;
  constexpr long request_permission = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

#endif

std::vector<IsaLevel> detect() {
  std::vector<IsaLevel> levels{IsaLevel::scalar};
#if defined(__x86_64__)
  __builtin_cpu_init();
  // F16C came with the processors before, and AVX2 always with it.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) {
    levels.push_back(IsaLevel::avx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      levels.push_back(IsaLevel::avx512);
      if (isa_has_vnni() && may_use_amx()) levels.push_back(IsaLevel::amx);
    }
  }
#elif defined(__aarch64__)
  levels.push_back(IsaLevel::neon);                                       // part of every AArch64
  constexpr unsigned long has_dotprod = 1ul << 20, has_i8mm = 1ul << 13;  // of AT_HWCAP and AT_HWCAP2
  if ((getauxval(AT_HWCAP) & has_dotprod) != 0) {
    levels.push_back(IsaLevel::dotprod);
    if ((getauxval(AT_HWCAP2) & has_i8mm) != 0) levels.push_back(IsaLevel::i8mm);
  }
#endif
  return levels;
}

std::atomic<IsaLevel>& current() {
  static std::atomic<IsaLevel> level = [] {
    const char* asked = std::getenv("NIBBLE_ISA");
    return asked == nullptr || *asked == '\0' ? isa_levels().back() : isa_from_name(asked);
  }();
  return level;
}

void require(IsaLevel level) {
  if (std::find(isa_levels().begin(), isa_levels().end(), level) == isa_levels().end())
    fail(ErrorKind::unsupported, "this machine cannot run the instruction set {}", isa_name(level));
}

}  // namespace

std::string_view isa_name(IsaLevel level) noexcept { return names[static_cast<size_t>(level)]; }

bool isa_has_vnni() noexcept {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16") &&
         __builtin_cpu_supports("avx512vbmi");
#else
  return false;
#endif
}

Streams isa_streams() noexcept {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_is("intel")) return Streams::asked;
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned zen5 = 0x1a;
  if (__builtin_cpu_is("amd") && __get_cpuid(1, &a, &b, &c, &d) != 0 &&
      (a >> 8 & 15) + (a >> 20 & 255) >= zen5)  // family and extended family
    return Streams::asked_in_pairs;
#endif
  return Streams::alone;
}

const std::vector<IsaLevel>& isa_levels() {
  static const std::vector<IsaLevel> levels = detect();
  return levels;
}

IsaLevel isa_level() { return current().load(std::memory_order_relaxed); }

IsaLevel isa_from_name(std::string_view name) {
  const auto* found = std::find(std::begin(names), std::end(names), name);
  if (found == std::end(names)) {
    throw Error(ErrorKind::usage, fmt::format("NIBBLE_ISA names no instruction set: '{}'", name),
                fmt::format("one of {}", fmt::join(names, ", ")));
  }
  const auto level = static_cast<IsaLevel>(found - std::begin(names));
  require(level);
  return level;
}

std::string isa_identity() {
  constexpr std::string_view streams[] = {"", " asked", " asked in pairs"};
  return fmt::format("{}{}{}", isa_name(isa_level()), isa_has_vnni() ? " vnni" : "",
                     streams[static_cast<size_t>(isa_streams())]);
}

void set_isa_level(IsaLevel level) {
  require(level);
  current().store(level, std::memory_order_relaxed);
}

}  // namespace nibble
