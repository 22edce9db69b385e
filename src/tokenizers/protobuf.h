#pragma once

#include <cstdint>
#include <string_view>

namespace nibble {

/// Walks the fields of one protocol-buffer message (wire format). Every length is checked.
class ProtoReader {
 public:
  /// `origin` is the offset of `message` in its file and `file` its name, for error messages.
  ProtoReader(std::string_view message, size_t origin, std::string_view file)
      : message_(message), origin_(origin), file_(file) {}

  /// Steps to the next field; false at the end. Throws Error{bad_input} on damage.
  bool next();

  uint32_t field() const noexcept { return field_; }
  size_t offset() const noexcept { return origin_ + at_; }  ///< in the file, behind the current field

  // Value of the current field. Throw Error{bad_input} if it is of another wire type.
  uint64_t integer() const;
  bool boolean() const { return integer() != 0; }
  float number() const;
  std::string_view bytes() const;
  ProtoReader message() const;

 private:
  enum Wire : uint32_t { varint = 0, fixed64 = 1, delimited = 2, fixed32 = 5 };
  uint64_t read_varint();
  void expect(Wire wire) const;

  std::string_view message_;
  size_t origin_;
  std::string_view file_;
  size_t at_ = 0;
  uint32_t field_ = 0;
  uint32_t wire_ = 0;
  uint64_t value_ = 0;
  std::string_view bytes_;
};

}  // namespace nibble
