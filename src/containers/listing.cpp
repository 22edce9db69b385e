#include "containers/listing.h"

#include <set>

#include "base/error.h"
#include "formats/format.h"

namespace nibble {

void check_word(std::string_view word, std::string_view what, std::string_view file, uint64_t offset) {
  if (word.empty()) fail(ErrorKind::bad_input, "{}: offset {}: {} is empty", file, offset, what);
  for (const char c : word) {
    if (static_cast<unsigned char>(c) < 0x20) {
      fail(ErrorKind::bad_input, "{}: offset {}: {} holds the control character {:#04x}", file, offset, what,
           static_cast<unsigned>(c));
    }
  }
}

int64_t checked_elements(const Shape& shape, std::string_view tensor, std::string_view file,
                         uint64_t offset) {
  int64_t product = 1;
  bool sane = true;
  for (const int64_t d : shape.dims()) {
    if (d < 0 || d > most_elements || (d != 0 && product > most_elements / d)) {
      sane = false;
      break;
    }
    product *= d;
  }
  if (!sane) {
    fail(ErrorKind::bad_input, "{}: offset {}: tensor '{}' has the impossible shape {}", file, offset, tensor,
         shape.to_string());
  }
  return product;
}

QTensor plain_view(DType dtype, const Shape& shape, const Plane& raw) {
  if (!is_float(dtype)) return {};
  try {
    const std::string name(dtype_name(dtype));
    const Format& format =
        format_of(FormatSpec{name.starts_with("f8_e") ? "fp8" + name.substr(2) : name, {}});
    const auto planes = format.planes(shape);
    if (planes.size() != 1 || planes[0].bytes != raw.bytes.size()) return {};
    return {format.spec(), shape, {{planes[0].name, raw.bytes, raw.owner}}};
  } catch (const Error&) {
    return {};  // a float type that is no format of nibble: the bytes are there all the same
  }
}

void append_listing(TensorListing& all, TensorListing more) {
  std::set<std::string_view> names;
  for (const StoredTensor& t : all.tensors) names.insert(t.name);
  for (const StoredTensor& t : more.tensors) {
    if (names.count(t.name) != 0) {
      fail(ErrorKind::bad_input, "{}: offset {}: tensor '{}' also stands in another file of this checkpoint",
           t.file, t.offset, t.name);
    }
  }
  all.tensors.reserve(all.tensors.size() + more.tensors.size());
  for (StoredTensor& t : more.tensors) all.tensors.push_back(std::move(t));
}

}  // namespace nibble
