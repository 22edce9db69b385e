#include "model/kv_cache.h"

#include <algorithm>

namespace nibble {

KvCache::KvCache(int64_t layers, int64_t cols, int64_t capacity, DType type)
    : cols_(cols), capacity_(capacity), type_(type) {
  if (capacity < 1) fail(ErrorKind::usage, "a context of {} tokens holds nothing", capacity);
  if (type != DType::f32 && type != DType::f16 && type != DType::i16)
    fail(ErrorKind::usage, "a KV cache of {} is not possible, only f32, f16 and i16", dtype_name(type));
  keys_.resize(static_cast<size_t>(layers));
  values_.resize(keys_.size());
}

size_t KvCache::bytes() const noexcept {
  size_t n = 0;
  for (size_t i = 0; i < keys_.size(); ++i) n += keys_[i].size() + values_[i].size();
  return n;
}

void KvCache::truncate(int64_t length) {
  if (length < 0 || length > length_)
    fail(ErrorKind::internal, "cannot cut {} cached tokens to {}", length_, length);
  length_ = length;
}

void KvCache::reserve(int64_t rows) {
  if (rows < 0 || rows > capacity_ - length_)
    fail(ErrorKind::usage, "{} tokens do not fit into the context: {} of {} are in use", rows, length_,
         capacity_);
  if (length_ + rows <= room_) return;
  room_ = std::min(capacity_, std::max(length_ + rows, std::max<int64_t>(256, 2 * room_)));
  // Whole numbers stand in records of 16 positions.
  if (type_ == DType::i16) room_ = (room_ + 15) / 16 * 16;
  const size_t bytes = static_cast<size_t>(room_ * cols_) * dtype_size(type_);
  for (auto* side : {&keys_, &values_}) {
    for (std::vector<std::byte>& layer : *side) layer.resize(bytes);
  }
}

void KvCache::advance(int64_t rows) {
  if (rows > room_ - length_) fail(ErrorKind::internal, "more tokens written than there was room for");
  length_ += rows;
}

std::vector<KvLayer> KvCache::layers() {
  std::vector<KvLayer> all;
  for (size_t i = 0; i < keys_.size(); ++i)
    all.push_back({type_, keys_[i].data(), values_[i].data(), cols_, room_});
  return all;
}

}  // namespace nibble
