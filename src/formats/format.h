#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "formats/grid_sums.h"
#include "tensor/qtensor.h"

namespace nibble {

/// How activations are best rounded when a kernel multiplies them with this format in integers.
enum class Act : uint8_t { f32, q8_block32, q8_block256 };

/// What is known of a format before it meets a tensor.
struct FormatInfo {
  std::string_view name;     ///< first word of its FormatSpec: "q4_k"
  std::string_view family;   ///< for listings: "k-quants"
  std::string_view summary;  ///< one line for `nibble formats`
  int gguf_id = -1;          ///< ggml type number; -1 if GGUF cannot hold it
  int64_t block = 1;         ///< weights that share parameters; 0: depends on the tensor's shape
  size_t bytes = 0;          ///< bytes of such a block; 0: depends on the shape
  Act activation = Act::f32;
  bool can_encode = true;  ///< false: nibble reads the format only
};

/// One array of bytes that a format needs for a tensor.
struct PlaneInfo {
  std::string name;
  DType dtype = DType::u8;  ///< element type as a safetensors file declares it
  Shape shape;              ///< likewise
  size_t bytes = 0;         ///< of the whole plane
  size_t block_bytes = 0;   ///< bytes that belong to one block; 0: the plane belongs to the whole tensor
};

/// A rounded weight: an index into the grid of the block's parameters. Float formats store their bits.
using Code = int32_t;

/// Parameters of one block (scales, minima, a codebook), as the format's own struct in a fixed place.
class Params {
 public:
  static constexpr size_t capacity = 4096;
  template <class T>
  T& as() noexcept {
    static_assert(sizeof(T) <= capacity && std::is_trivially_copyable_v<T> && alignof(T) <= 16);
    return *reinterpret_cast<T*>(storage_);
  }
  template <class T>
  const T& as() const noexcept {
    return const_cast<Params*>(this)->as<T>();
  }
  void* data() noexcept { return storage_; }

 private:
  alignas(16) std::byte storage_[capacity];
};

/// Sees every weight of a tensor once, in order, before the first block is fitted; then writes the planes
/// that belong to the whole tensor (a tensor-wide scale, a codebook). Memory must not grow with the tensor.
class TensorPass {
 public:
  virtual ~TensorPass() = default;
  virtual void add(std::span<const float> x) = 0;
  /// `planes[i]` is the start of plane i; only planes with block_bytes == 0 may be written.
  virtual void finish(std::byte* const* planes) = 0;
};

/// A grid and its bytes. Tensors are seen flat, slowest dimension first, cut into blocks of `block(shape)`
/// weights (the last one may be shorter where the format allows it); each block has its own Params. Solvers
/// choose codes by fit and round, formats store them by pack; decode defines the truth. All methods are const
/// and safe to call from any thread.
class Format {
 public:
  virtual ~Format() = default;
  virtual const FormatInfo& info() const noexcept = 0;
  /// Canonical spelling: parsing it gives this format again.
  virtual FormatSpec spec() const = 0;

  /// Weights per block for a tensor of this shape.
  virtual int64_t block(const Shape& shape) const = 0;
  /// Empty if the format can hold this shape; else why not, for the user ("its rows of 100 are no multiple of
  /// 256").
  virtual std::string misfit(const Shape& shape) const = 0;
  virtual std::vector<PlaneInfo> planes(const Shape& shape) const = 0;
  /// Null if the format has no tensor-wide parameters.
  virtual std::unique_ptr<TensorPass> tensor_pass(const Shape&) const { return nullptr; }

  /// Chooses parameters for the n weights x of one block, given their importance (null: all alike; else n
  /// weights of the squared error, not negative). `planes` gives the tensor-wide planes, already written. x
  /// must be finite.
  virtual void fit(const float* x, const float* importance, int64_t n, const std::byte* const* planes,
                   Params& params) const = 0;
  /// The same parameters, with a machine's own way of summing where that is what the search is made of.
  virtual void fit_with(GridSums, const float* x, const float* importance, int64_t n,
                        const std::byte* const* planes, Params& params) const {
    fit(x, importance, n, planes, params);
  }
  /// Weights that must be rounded together (1; 8 for lattices). `first` and `n` of round are multiples of it.
  virtual int64_t vector_width() const noexcept { return 1; }
  /// Nearest grid points of n weights that stand at positions [first, first + n) of the block; `values` (may
  /// be null) receives what decode will give for them, to the bit.
  virtual void round(const float* x, int64_t first, int64_t n, const Params& params, Code* codes,
                     float* values) const = 0;
  /// Writes one block of n codes; `planes[i]` points at this block's bytes of plane i (or at a tensor-wide
  /// plane's start).
  virtual void pack(const Code* codes, int64_t n, const Params& params, std::byte* const* planes) const = 0;
  /// Reads one block of n weights.
  virtual void decode(const std::byte* const* planes, int64_t n, float* out) const = 0;
};

// --- the list
// -------------------------------------------------------------------------------------------------------

/// A family of formats: one line of formats/list.inc.
struct FormatFamily {
  std::string_view name;
  /// The format a word means, or null if the word is not of this family. Throws Error{usage} for bad options.
  std::unique_ptr<Format> (*make)(const FormatSpec&);
  /// Words that show what the family offers; every one gets the generated tests and a line of `nibble
  /// formats`.
  std::vector<std::string> (*examples)();
  /// The grammar of its words in one line, `intB[:tensor|channel|gN]...`; empty if it has a single word.
  std::string_view help;
};

std::span<const FormatFamily> format_families();
/// The format a word means in a list of families, or null.
std::unique_ptr<Format> make_format(std::span<const FormatFamily> families, const FormatSpec& spec);
/// The format a word means; lives as long as the program. Throws Error{usage} with the nearest names for an
/// unknown word.
const Format& format_of(const FormatSpec& spec);
const Format& format_of(std::string_view word);
/// The format of a ggml type number; null if nibble does not know it.
const Format* format_of_gguf(int id);

// --- whole tensors
// --------------------------------------------------------------------------------------------------

/// Bytes of all planes.
size_t format_bytes(const Format& format, const Shape& shape);
/// Plane pointers moved to block `index`.
void block_pointers(const std::vector<PlaneInfo>& info, std::byte* const* planes, int64_t index,
                    std::byte** out);

/// Decodes weights [begin, begin + n) of the flat tensor; any range, need not meet block borders. Throws
/// Error{bad_input} if the planes are too short for the shape.
void decode_range(const QTensor& t, int64_t begin, int64_t n, float* out);
/// The same for a tensor whose format is at hand, and need not be in the list.
void decode_range(const Format& format, const QTensor& t, int64_t begin, int64_t n, float* out);
/// Rounds a whole tensor in memory to the nearest grid points: fit, round, pack of every block. `importance`
/// is null or one weight per column. Throws Error{unsupported} on misfit. The reference for every faster
/// path.
QTensor encode_nearest(const Format& format, const Shape& shape, std::span<const float> x,
                       std::span<const float> importance = {});

}  // namespace nibble
