#include "model/kv_cache.h"

#include <algorithm>

#include "kernels/rotation.h"

namespace nibble {
KvCache::KvCache(const KvShape& shape, int64_t capacity, const KvStorages& storages, Layers layers)
    : shape_(shape), capacity_(capacity), storages_(storages) {
  if (capacity < 1) fail(ErrorKind::usage, "a context of {} tokens holds nothing", capacity);
  if (storages.k.rotated || storages.v.rotated) fixed_rotation(shape.dim);
  keys_.resize(
      static_cast<size_t>(layers == Layers::all ? shape.layers : std::min<int64_t>(shape.layers, 1)));
  values_.resize(keys_.size());
}

size_t KvCache::bytes() const noexcept {
  size_t n = 0;
  for (size_t i = 0; i < keys_.size(); ++i) n += keys_[i].bytes + values_[i].bytes;
  return n;
}

double KvCache::bytes_per_token() const {
  const int64_t page =
      storages_.k.format->page_bytes(shape_.dim) + storages_.v.format->page_bytes(shape_.dim);
  return static_cast<double>(shape_.layers * shape_.heads * page) / static_cast<double>(kv_page);
}

void KvCache::truncate(int64_t length) {
  if (length < 0 || length > length_)
    fail(ErrorKind::internal, "cannot cut {} cached tokens to {}", length_, length);
  length_ = length;
}

void KvCache::wipe() noexcept {
  for (auto* side : {&keys_, &values_}) {
    for (const Side& layer : *side) std::fill_n(layer.memory.get(), layer.bytes, std::byte{0});
  }
  length_ = 0;
}

void KvCache::reserve(int64_t rows) {
  if (rows < 0 || rows > capacity_ - length_)
    fail(ErrorKind::usage, "{} tokens do not fit into the context: {} of {} are in use", rows, length_,
         capacity_);
  if (length_ + rows <= room_) return;
  // By half: the ends of all heads are room that large pages may make real.
  const int64_t room = std::min(capacity_, std::max({length_ + rows, int64_t{256}, room_ + room_ / 2}));
  // All layers are read for each token: with pages of 4 KiB, finding them takes a good part of the time.
  HugeMemory memory;
  const auto fit = [&](std::vector<Side>& side, const KvFormat& format) {
    const int64_t stretches = format.joins_heads ? 1 : shape_.heads;
    const int64_t page = shape_.heads / stretches * format.page_bytes(shape_.dim);
    const auto bytes = static_cast<size_t>(kv_pages(room) * stretches * page + kv_slack);
    for (Side& layer : side) {
      Side wider{memory.take(bytes), bytes};
      for (int64_t i = 0; i < stretches; ++i)
        std::copy_n(layer.memory.get() + i * kv_pages(room_) * page, kv_pages(length_) * page,
                    wider.memory.get() + i * kv_pages(room) * page);
      layer = std::move(wider);
    }
  };
  fit(keys_, *storages_.k.format);
  fit(values_, *storages_.v.format);
  room_ = room;  // only now that nothing can throw
}

void KvCache::advance(int64_t rows) {
  if (rows > room_ - length_) fail(ErrorKind::internal, "more tokens written than there was room for");
  length_ += rows;
}

std::vector<KvLayer> KvCache::layers() {
  std::vector<KvLayer> all;
  for (size_t i = 0; i < static_cast<size_t>(shape_.layers); ++i) {
    const size_t k = std::min(i, keys_.size() - 1);
    all.push_back({storages_.k, storages_.v, keys_[k].memory.get(), values_[k].memory.get(), shape_.heads,
                   shape_.dim, room_});
  }
  return all;
}

}  // namespace nibble
