#include "tokenizers/protobuf.h"

#include <bit>

#include "base/error.h"

namespace nibble {

uint64_t ProtoReader::read_varint() {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (at_ >= message_.size()) fail(ErrorKind::bad_input, "{}: truncated at byte {}", file_, offset());
    const auto byte = static_cast<unsigned char>(message_[at_++]);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  fail(ErrorKind::bad_input, "{}: a number before byte {} has more than 10 bytes", file_, offset());
}

bool ProtoReader::next() {
  if (at_ == message_.size()) return false;
  const uint64_t key = read_varint();
  if (key >> 3 == 0 || key >> 32 != 0)
    fail(ErrorKind::bad_input, "{}: field number {} before byte {} is out of range", file_, key >> 3,
         offset());
  field_ = static_cast<uint32_t>(key >> 3);
  wire_ = static_cast<uint32_t>(key & 7);
  const auto take = [&](uint64_t size) {
    if (size > message_.size() - at_)
      fail(ErrorKind::bad_input, "{}: field {} at byte {} claims {} bytes where {} are left", file_, field_,
           offset(), size, message_.size() - at_);
    bytes_ = message_.substr(at_, size);
    at_ += size;
  };
  switch (wire_) {
    case varint:
      value_ = read_varint();
      break;
    case fixed64:
      take(8);
      break;
    case delimited:
      take(read_varint());
      break;
    case fixed32:
      take(4);
      break;
    default:
      fail(ErrorKind::bad_input, "{}: field {} before byte {} has wire type {}", file_, field_, offset(),
           wire_);
  }
  return true;
}

void ProtoReader::expect(Wire wire) const {
  if (wire_ != wire)
    fail(ErrorKind::bad_input, "{}: field {} before byte {} has wire type {}, expected {}", file_, field_,
         offset(), wire_, static_cast<uint32_t>(wire));
}

uint64_t ProtoReader::integer() const {
  expect(varint);
  return value_;
}

float ProtoReader::number() const {
  expect(fixed32);
  uint32_t bits = 0;
  for (size_t i = 0; i < 4; ++i)
    bits |= static_cast<uint32_t>(static_cast<unsigned char>(bytes_[i])) << (8 * i);
  return std::bit_cast<float>(bits);
}

std::string_view ProtoReader::bytes() const {
  expect(delimited);
  return bytes_;
}

ProtoReader ProtoReader::message() const {
  expect(delimited);
  return {bytes_, offset() - bytes_.size(), file_};
}

}  // namespace nibble
