#include "formats/whole_codes.h"

#include <algorithm>

#include "base/half.h"
#include "formats/granularity.h"

namespace nibble {

std::optional<WholeCodes> WholeCodes::of(const QTensor& t) {
  WholeCodes w;
  const FormatSpec spec = format_of(t.format).spec();
  const bool affine =
      spec.name.size() == 4 && spec.name.starts_with("int") && spec.name[3] >= '2' && spec.name[3] <= '8';
  if (spec.name == "q4_0") {
    w.kind_ = Kind::q4_0;
  } else if (spec.name == "q8_0") {
    w.kind_ = Kind::q8_0;
  } else if (affine) {
    w.bits_ = spec.name[3] - '0';
  } else {
    return std::nullopt;
  }
  for (const std::string& option : spec.options) {
    if (option == "zf") return std::nullopt;
    if (option == "asym") w.zeros_ = true;
    parse_param_type(option, w.scales_);
  }
  const Format& format = format_of(spec);
  w.cols_ = t.shape.cols();
  w.group_ = format.block(t.shape);
  w.info_ = format.planes(t.shape);
  for (const Plane& p : t.planes) w.planes_.push_back(const_cast<std::byte*>(p.bytes.data()));
  return w;
}

void WholeCodes::read_codes(int64_t row, int8_t* codes, int32_t* zeros) const {
  constexpr int64_t chunk = 256;
  uint8_t raw[chunk];
  std::byte* at[3];
  const int64_t groups = cols_ / group_;
  for (int64_t g = 0; g < groups; ++g) {
    block_pointers(info_, planes_.data(), row * groups + g, at);
    int8_t* out = codes + g * group_;
    zeros[g] = 0;
    if (kind_ != Kind::affine) {
      const std::byte* q = at[0] + sizeof(uint16_t);  // behind the scale
      for (int64_t i = 0; i < group_; ++i) {
        const auto nibble = static_cast<int>(i < 16 ? q[i % 16] & std::byte{15} : q[i % 16] >> 4);
        out[i] = kind_ == Kind::q8_0 ? static_cast<int8_t>(q[i]) : static_cast<int8_t>(nibble - 8);
      }
      continue;
    }
    const int middle = 1 << (bits_ - 1);
    if (zeros_) zeros[g] = static_cast<int>(at[2][0]) - middle;
    if (bits_ == 8 && !zeros_) {
      std::copy_n(reinterpret_cast<const int8_t*>(at[0]), group_, out);
      continue;
    }
    for (int64_t begin = 0; begin < group_; begin += chunk) {
      const int64_t n = std::min(chunk, group_ - begin);
      unpack_codes(at[0] + begin / 8 * bits_, n, bits_, raw);
      for (int64_t i = 0; i < n; ++i) out[begin + i] = static_cast<int8_t>(raw[i] - middle);
    }
  }
}

void WholeCodes::read_scales(int64_t row, float* scales) const {
  std::byte* at[3];
  const int64_t groups = cols_ / group_;
  for (int64_t g = 0; g < groups; ++g) {
    block_pointers(info_, planes_.data(), row * groups + g, at);
    if (kind_ == Kind::affine) {
      scales[g] = param_load(at[1], scales_);
      continue;
    }
    uint16_t d;
    std::copy_n(at[0], sizeof d, reinterpret_cast<std::byte*>(&d));
    scales[g] = f16_to_f32(d);
  }
}

}  // namespace nibble
