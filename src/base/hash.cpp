#include "base/hash.h"

#include <fmt/format.h>
#include <xxhash.h>
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>  // the same functions, on the widest vectors that the processor has
#endif

#include <new>

namespace nibble {
namespace {
XXH3_state_t* state_of(void* p) { return static_cast<XXH3_state_t*>(p); }
std::string print(XXH128_hash_t h) { return fmt::format("{:016x}{:016x}", h.high64, h.low64); }
}  // namespace

Hasher::Hasher() : state_(XXH3_createState()) {
  if (state_ == nullptr) throw std::bad_alloc();
  XXH3_128bits_reset(state_of(state_));
}

Hasher::~Hasher() { XXH3_freeState(state_of(state_)); }

void Hasher::update(std::span<const std::byte> bytes) {
  // Memory that is read once is asked for from beyond the page's end, where the processor's own prefetching
  // stops.
  constexpr size_t part = 1024, ahead = 2048, line = 64;
  for (; bytes.size() > part + ahead; bytes = bytes.subspan(part)) {
    for (size_t i = 0; i < part; i += line) __builtin_prefetch(bytes.data() + ahead + i);
    XXH3_128bits_update(state_of(state_), bytes.data(), part);
  }
  XXH3_128bits_update(state_of(state_), bytes.data(), bytes.size());
}

std::string Hasher::hex() const { return print(XXH3_128bits_digest(state_of(state_))); }

std::string hash_hex(std::span<const std::byte> bytes) {
  return print(XXH3_128bits(bytes.data(), bytes.size()));
}

}  // namespace nibble
