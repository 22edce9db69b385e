#include "kernels/isa.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "base/error.h"

namespace nibble {
namespace {

std::vector<IsaLevel> detect() {
  std::vector<IsaLevel> levels{IsaLevel::scalar};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) {
    levels.push_back(IsaLevel::avx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
      levels.push_back(IsaLevel::avx512);
  }
#elif defined(__aarch64__)
  levels.push_back(IsaLevel::neon);  // part of every AArch64
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

std::string_view isa_name(IsaLevel level) noexcept {
  switch (level) {
    case IsaLevel::scalar:
      return "scalar";
    case IsaLevel::avx2:
      return "avx2";
    case IsaLevel::avx512:
      return "avx512";
    case IsaLevel::neon:
      return "neon";
  }
  return "?";
}

const std::vector<IsaLevel>& isa_levels() {
  static const std::vector<IsaLevel> levels = detect();
  return levels;
}

IsaLevel isa_level() { return current().load(std::memory_order_relaxed); }

IsaLevel isa_from_name(std::string_view name) {
  for (const IsaLevel level : {IsaLevel::scalar, IsaLevel::avx2, IsaLevel::avx512, IsaLevel::neon}) {
    if (name != isa_name(level)) continue;
    require(level);
    return level;
  }
  throw Error(ErrorKind::usage, fmt::format("NIBBLE_ISA names no instruction set: '{}'", name),
              "one of scalar, avx2, avx512, neon");
}

void set_isa_level(IsaLevel level) {
  require(level);
  current().store(level, std::memory_order_relaxed);
}

}  // namespace nibble
