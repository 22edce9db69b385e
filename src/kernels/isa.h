#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/streams.h"

namespace nibble {

/// Instruction sets that src/kernels/cpu is built for, of each architecture the lowest first. `scalar` is
/// what the compiler makes for every machine of an architecture. Their kernels: kernels/levels.cpp.
enum class IsaLevel : uint8_t { scalar, avx2, avx512, amx, neon, dotprod, i8mm };
inline constexpr size_t isa_level_count = static_cast<size_t>(IsaLevel::i8mm) + 1;

std::string_view isa_name(IsaLevel level) noexcept;

/// The levels that this machine can run, lowest first.
const std::vector<IsaLevel>& isa_levels();

/// The level in use: the highest one, unless NIBBLE_ISA (the name of one) or set_isa_level lowered it. Throws
/// Error{usage} if NIBBLE_ISA names none, Error{unsupported} if this machine lacks it.
IsaLevel isa_level();

/// The level a name asks for, checked against this machine. Throws like isa_level.
IsaLevel isa_from_name(std::string_view name);

/// Whether AVX-512 comes with VNNI, BF16, VBMI and BMI2, which its faster kernels need.
bool isa_has_vnni() noexcept;
/// What this machine's processor wants.
Streams isa_streams() noexcept;

/// What results of Precision::fast depend on beside their input: the level in use, and the kind of processor
/// where a level has more than one set of kernels.
std::string isa_identity();

/// Uses another level from now on, in every thread. Throws Error{unsupported} if this machine lacks it.
void set_isa_level(IsaLevel level);

}  // namespace nibble
