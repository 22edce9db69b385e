#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tensor/dtype.h"

namespace nibble {

// What a torch checkpoint's pickle may build. Values refer to each other by index, so that cycles cost
// nothing.
using PickleRef = uint32_t;

struct PickleNone {};
struct PickleTuple {
  std::vector<PickleRef> items;
};
struct PickleList {
  std::vector<PickleRef> items;
};
struct PickleDict {
  std::vector<std::pair<PickleRef, PickleRef>> items;
};
/// A function, class or constant by name: "torch._utils._rebuild_tensor_v2".
struct PickleGlobal {
  std::string name;
};
/// Elements in the archive's entry data/KEY. Without a type until a tensor gives it one (UntypedStorage).
struct PickleStorage {
  std::string key;
  bool typed = true;
  DType dtype = DType::u8;
  int64_t elements = 0;  ///< bytes where untyped
};
struct PickleTensor {
  PickleStorage storage;
  DType dtype = DType::u8;
  int64_t offset = 0;  ///< elements
  std::vector<int64_t> size, stride;
};
/// Something harmless that nibble has no use for (a torch.device).
struct PickleOpaque {};

using PickleValue = std::variant<PickleNone, bool, int64_t, double, std::string, PickleTuple, PickleList,
                                 PickleDict, PickleGlobal, PickleStorage, PickleTensor, PickleOpaque>;

struct Pickle {
  std::vector<PickleValue> values;
  PickleRef root = 0;
};

/// Runs a pickle (protocols 2 to 5) as torch.save writes them, by a machine that knows only what such files
/// need: plain data, OrderedDict, tensors, storages, sizes, types. Nothing else is ever called or imported:
/// any other opcode or name throws Error{unsupported} that names it. Throws Error{bad_input} for a damaged
/// program. All messages carry `file` and the offset in the pickle. Memory is linear in `bytes`.
Pickle run_pickle(std::span<const std::byte> bytes, const std::string& file);

}  // namespace nibble
