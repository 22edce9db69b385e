#include "kernels/levels.h"

namespace nibble {
namespace {

/// `few` tokens at most are multiplied without unpacking codes first.
[[maybe_unused]] CpuKernels with_lanes(CpuKernels kernels, const LaneRow* rows, int count, int64_t few) {
  kernels.lanes = rows;
  kernels.lane_count = count;
  kernels.streams = isa_streams();
  // A processor left to itself would rather have long stretches.
  kernels.narrow_tokens = kernels.streams == Streams::alone ? 0 : few;
  return kernels;
}

[[maybe_unused]] AttendKernels with_pages(AttendKernels kernels) {
  kernels.prefetch = isa_streams() != Streams::alone;
  return kernels;
}

#if defined(__x86_64__)

LevelKernels avx2_level() {
  return {.cpu = with_lanes(cpu_avx2, lanes_avx2, lanes_avx2_count, 3),
          .widen = &widen_avx2,
          .encode = &encode_avx2,
          .integer = &integer_avx2,
          .attend = with_pages(avx2_attend)};
}

LevelKernels avx512_level() {
  LevelKernels k = avx2_level();
  k.widen = &widen_avx512;
  k.encode = &encode_avx512;
  k.integer = &integer_avx512;
  if (!isa_has_vnni()) {
    k.cpu = with_lanes(cpu_avx512, lanes_avx2, lanes_avx2_count, 3);
    return k;
  }
  k.cpu = with_lanes(cpu_avx512_vnni, lanes_vnni, lanes_vnni_count, 8);
  k.encode_first = &encode_vnni;
  k.attend = with_pages(avx512_attend);
  k.attend.tiles = avx512_attend_tiles;
  k.attend.tile_pages = avx512_tile_pages;
  k.attend.tile_page_count = avx512_tile_page_count;
  return k;
}

LevelKernels amx_level() {
  LevelKernels k = avx512_level();
  k.cpu.tiles = amx_tiles;
  k.cpu.gram = amx_gram;
  k.cpu.split = amx_split;
  k.cpu.int8.products = &int8_products_amx;
  k.cpu.int8.name = "int8-amx";
  k.cpu.peak = amx_peak;
  k.attend.tiles = amx_attend_tiles;
  return k;
}

#elif defined(__aarch64__)

LevelKernels neon_level() {
  LevelKernels k{.cpu = with_lanes(cpu_neon, lanes_neon, lanes_neon_count, 2),
                 .widen = &widen_neon,
                 .encode = &encode_neon,
                 .integer = &integer_neon,
                 .attend = with_pages(neon_attend)};
  k.cpu.peak = neon_peak;
  return k;
}

LevelKernels dotprod_level() {
  LevelKernels k = neon_level();
  k.cpu = with_lanes(k.cpu, lanes_dotprod, lanes_dotprod_count, 2);
  k.cpu.peak = dotprod_peak;
  k.cpu.int8 = int8_dotprod;
  k.attend = with_pages(dotprod_attend);
  return k;
}

LevelKernels i8mm_level() {
  LevelKernels k = dotprod_level();
  k.cpu = with_lanes(k.cpu, lanes_i8mm, lanes_i8mm_count, 2);
  k.cpu.peak = i8mm_peak;
  k.cpu.int8.products = &int8_products_i8mm;
  k.cpu.int8.name = "int8-i8mm";
  return k;
}

#endif

LevelKernels make_level(IsaLevel level) {
  switch (level) {
#if defined(__x86_64__)
    case IsaLevel::avx2:
      return avx2_level();
    case IsaLevel::avx512:
      return avx512_level();
    case IsaLevel::amx:
      return amx_level();
#elif defined(__aarch64__)
    case IsaLevel::neon:
      return neon_level();
    case IsaLevel::dotprod:
      return dotprod_level();
    case IsaLevel::i8mm:
      return i8mm_level();
#endif
    default:
      return {
          .cpu = cpu_scalar, .widen = &widen_scalar, .encode = &encode_scalar, .integer = &integer_scalar};
  }
}

}  // namespace

const LevelKernels& level_kernels(IsaLevel level) {
  // In the order of IsaLevel; those of other architectures are never asked for.
  static const LevelKernels all[] = {
      make_level(IsaLevel::scalar), make_level(IsaLevel::avx2), make_level(IsaLevel::avx512),
      make_level(IsaLevel::amx),    make_level(IsaLevel::neon), make_level(IsaLevel::dotprod),
      make_level(IsaLevel::i8mm),
  };
  static_assert(std::size(all) == isa_level_count);
  return all[static_cast<size_t>(level)];
}

}  // namespace nibble
