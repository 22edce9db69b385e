#include "containers/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "containers/byte_reader.h"

namespace nibble {
namespace {

constexpr size_t largest_pickle = 64u << 20;
constexpr size_t most_values = 8'000'000;
constexpr PickleRef mark = UINT32_MAX;  // on the stack only

struct NamedType {
  std::string_view name;
  DType dtype;
};
constexpr std::array<NamedType, 10> storage_types = {{{"torch.DoubleStorage", DType::f64},
                                                      {"torch.FloatStorage", DType::f32},
                                                      {"torch.HalfStorage", DType::f16},
                                                      {"torch.BFloat16Storage", DType::bf16},
                                                      {"torch.LongStorage", DType::i64},
                                                      {"torch.IntStorage", DType::i32},
                                                      {"torch.ShortStorage", DType::i16},
                                                      {"torch.CharStorage", DType::i8},
                                                      {"torch.ByteStorage", DType::u8},
                                                      {"torch.BoolStorage", DType::boolean}}};
constexpr std::array<NamedType, 16> torch_dtypes = {{{"torch.float64", DType::f64},
                                                     {"torch.float32", DType::f32},
                                                     {"torch.float16", DType::f16},
                                                     {"torch.bfloat16", DType::bf16},
                                                     {"torch.float8_e4m3fn", DType::f8_e4m3},
                                                     {"torch.float8_e5m2", DType::f8_e5m2},
                                                     {"torch.float8_e8m0fnu", DType::f8_e8m0},
                                                     {"torch.int64", DType::i64},
                                                     {"torch.int32", DType::i32},
                                                     {"torch.int16", DType::i16},
                                                     {"torch.int8", DType::i8},
                                                     {"torch.uint64", DType::u64},
                                                     {"torch.uint32", DType::u32},
                                                     {"torch.uint16", DType::u16},
                                                     {"torch.uint8", DType::u8},
                                                     {"torch.bool", DType::boolean}}};
constexpr std::string_view untyped_storage = "torch.storage.UntypedStorage";
constexpr std::array<std::string_view, 7> callables = {"collections.OrderedDict",
                                                       "torch._utils._rebuild_tensor",
                                                       "torch._utils._rebuild_tensor_v2",
                                                       "torch._utils._rebuild_tensor_v3",
                                                       "torch._utils._rebuild_parameter",
                                                       "torch.Size",
                                                       "torch.device"};

std::optional<DType> type_named(std::span<const NamedType> types, std::string_view name) {
  for (const NamedType& t : types) {
    if (t.name == name) return t.dtype;
  }
  return std::nullopt;
}

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, const std::string& file) : in_(bytes, file) {}

  Pickle run() {
    if (in_.left() > largest_pickle)
      in_.bad("a pickle of {} bytes, more than {}", in_.left(), largest_pickle);
    for (;;) {
      at_ = in_.offset();
      const auto op = in_.number<uint8_t>("an opcode");
      if (op == '.') break;
      step(op);
    }
    pickle_.root = pop();
    return std::move(pickle_);
  }

 private:
  void step(uint8_t op) {
    switch (op) {
      case 0x80: {  // PROTO
        const auto version = in_.number<uint8_t>("a protocol version");
        if (version < 2 || version > 5) unsupported(fmt::format("pickle protocol {}", version));
        return;
      }
      case 0x95:  // FRAME
        in_.number<uint64_t>("a frame's length");
        return;
      case '(':
        return stack_.push_back(mark);
      case '0':
        pop();
        return;
      case '2':
        return stack_.push_back(top());
      case 'N':
        return push(PickleNone{});
      case 0x88:
        return push(true);
      case 0x89:
        return push(false);
      case 'J':
        return push(int64_t{in_.number<int32_t>("an integer")});
      case 'K':
        return push(int64_t{in_.number<uint8_t>("an integer")});
      case 'M':
        return push(int64_t{in_.number<uint16_t>("an integer")});
      case 0x8a:
        return push(long_integer(in_.number<uint8_t>("an integer's length")));
      case 'G':
        return push(big_endian_double());
      case 'X':
      case 'T':
      case 'B':
        return push_text(in_.number<uint32_t>("a string's length"));
      case 0x8c:
      case 'U':
      case 'C':
        return push_text(in_.number<uint8_t>("a string's length"));
      case 0x8d:
      case 0x8e:
        return push_text(in_.number<uint64_t>("a string's length"));
      default:
        return step_compound(op);
    }
  }

  void step_compound(uint8_t op) {
    switch (op) {
      case ')':
        return push(PickleTuple{});
      case 't':
        return push(PickleTuple{pop_to_mark()});
      case 0x85:
      case 0x86:
      case 0x87:
        return push(PickleTuple{pop_many(op - 0x84u)});
      case ']':
        return push(PickleList{});
      case 'l':
        return push(PickleList{pop_to_mark()});
      case 'a':
        return append(pop_many(1));
      case 'e':
        return append(pop_to_mark());
      case '}':
        return push(PickleDict{});
      case 'd': {
        const auto items = pop_to_mark();
        push(PickleDict{});
        return set_items(items);
      }
      case 's':
        return set_items(pop_many(2));
      case 'u':
        return set_items(pop_to_mark());
      case 0x94:
        return remember(static_cast<uint32_t>(memo_.size()));
      case 'q':
        return remember(in_.number<uint8_t>("a memo index"));
      case 'r':
        return remember(in_.number<uint32_t>("a memo index"));
      case 'h':
        return recall(in_.number<uint8_t>("a memo index"));
      case 'j':
        return recall(in_.number<uint32_t>("a memo index"));
      case 'c': {
        const std::string module = line();
        return push_global(module + "." + line());
      }
      case 0x93: {
        const auto parts = pop_many(2);
        return push_global(text(parts[0]) + "." + text(parts[1]));
      }
      case 'R':
        return reduce();
      case 'b':
        return build();
      case 'Q':
        return persistent();
      default:
        unsupported(fmt::format("pickle opcode {:#04x}{}", op,
                                op > 32 && op < 127 ? fmt::format(" '{}'", char(op)) : ""));
    }
  }

  // --- stack

  [[noreturn]] void bad(std::string_view message) const {
    fail(ErrorKind::bad_input, "{}: offset {}: {}", in_.file(), at_, message);
  }
  [[noreturn]] void unsupported(std::string_view what) const {
    throw Error(
        ErrorKind::unsupported,
        fmt::format("{}: offset {}: {} is nothing a file of weights needs; refused", in_.file(), at_, what),
        "load the file where you trust it and save its state dict alone, best as safetensors");
  }
  void push(PickleValue v) {
    if (pickle_.values.size() == most_values) bad("more values than any checkpoint needs");
    pickle_.values.push_back(std::move(v));
    stack_.push_back(static_cast<PickleRef>(pickle_.values.size() - 1));
  }
  void push_text(uint64_t length) { push(std::string(in_.text(length, "a string"))); }
  PickleRef top() const {
    if (stack_.empty() || stack_.back() == mark) bad("expected a value on the stack, found none");
    return stack_.back();
  }
  PickleRef pop() {
    const PickleRef v = top();
    stack_.pop_back();
    return v;
  }
  std::vector<PickleRef> pop_many(size_t n) {
    std::vector<PickleRef> items(n);
    for (size_t i = n; i-- > 0;) items[i] = pop();
    return items;
  }
  std::vector<PickleRef> pop_to_mark() {
    const auto it = std::find(stack_.rbegin(), stack_.rend(), mark);
    if (it == stack_.rend()) bad("expected a mark on the stack, found none");
    std::vector<PickleRef> items(it.base(), stack_.end());
    stack_.erase(it.base() - 1, stack_.end());
    return items;
  }
  template <class T>
  T* as(PickleRef r) {
    return std::get_if<T>(&pickle_.values[r]);
  }
  const std::string& text(PickleRef r) {
    const auto* s = as<std::string>(r);
    if (s == nullptr) bad("expected a string");
    return *s;
  }
  int64_t integer(PickleRef r) {
    const auto* i = as<int64_t>(r);
    if (i == nullptr) bad("expected an integer");
    return *i;
  }

  // --- reading

  int64_t long_integer(uint8_t length) {
    if (length > 8) bad("an integer of more than 64 bits");
    const auto raw = in_.take(length, "an integer");
    uint64_t v = length > 0 && (static_cast<uint8_t>(raw.back()) & 0x80) != 0 ? UINT64_MAX : 0;
    for (size_t i = length; i-- > 0;) v = (v << 8) | static_cast<uint64_t>(raw[i]);
    return static_cast<int64_t>(v);
  }
  double big_endian_double() {
    const auto raw = in_.take(8, "a float");
    uint64_t v = 0;
    for (const std::byte b : raw) v = (v << 8) | static_cast<uint64_t>(b);
    return std::bit_cast<double>(v);
  }
  std::string line() {
    std::string s;
    for (;;) {
      const auto c = static_cast<char>(in_.number<uint8_t>("a name"));
      if (c == '\n') return s;
      if (s.size() == 256) bad("a name of more than 256 bytes");
      s += c;
    }
  }

  // --- building

  void append(const std::vector<PickleRef>& items) {
    auto* list = as<PickleList>(top());
    if (list == nullptr) bad("expected a list to append to");
    list->items.insert(list->items.end(), items.begin(), items.end());
  }
  void set_items(const std::vector<PickleRef>& items) {
    auto* dict = as<PickleDict>(top());
    if (dict == nullptr) bad("expected a dict to fill");
    if (items.size() % 2 != 0) bad("expected pairs of keys and values");
    for (size_t i = 0; i < items.size(); i += 2) dict->items.emplace_back(items[i], items[i + 1]);
  }
  void remember(uint32_t index) { memo_[index] = top(); }
  void recall(uint32_t index) {
    const auto it = memo_.find(index);
    if (it == memo_.end()) bad(fmt::format("memo {} was never set", index));
    stack_.push_back(it->second);
  }
  void push_global(std::string name) {
    const bool known = std::find(callables.begin(), callables.end(), name) != callables.end() ||
                       type_named(storage_types, name) || type_named(torch_dtypes, name) ||
                       name == untyped_storage;
    if (!known) {
      for (char& c : name) {
        if (static_cast<unsigned char>(c) < 0x20) c = '?';
      }
      unsupported(fmt::format("global '{}'", name.substr(0, 200)));
    }
    push(PickleGlobal{std::move(name)});
  }

  void persistent() {
    const auto* tuple = as<PickleTuple>(pop());
    if (tuple == nullptr || tuple->items.size() != 5 || text(tuple->items[0]) != "storage") {
      bad("expected ('storage', type, key, location, size)");
    }
    const std::vector<PickleRef> items = tuple->items;
    const auto* type = as<PickleGlobal>(items[1]);
    PickleStorage s;
    s.key = text(items[2]);
    s.elements = integer(items[4]);
    if (s.elements < 0) bad("a storage of negative size");
    if (type != nullptr && type->name == untyped_storage) {
      s.typed = false;
    } else if (const auto dtype = type == nullptr ? std::nullopt : type_named(storage_types, type->name)) {
      s.dtype = *dtype;
    } else {
      bad("expected a storage type");
    }
    push(std::move(s));
  }

  std::vector<int64_t> integers(PickleRef r) {
    const auto* tuple = as<PickleTuple>(r);
    if (tuple == nullptr) bad("expected a tuple of integers");
    if (tuple->items.size() > 64) bad("more than 64 dimensions");
    std::vector<int64_t> v;
    for (const PickleRef item : tuple->items) v.push_back(integer(item));
    return v;
  }

  // (storage, offset, size, stride, requires_grad, hooks[, dtype, metadata])
  void rebuild_tensor(const std::vector<PickleRef>& args, bool with_dtype) {
    if (args.size() < (with_dtype ? 7u : 4u) || as<PickleStorage>(args[0]) == nullptr) {
      bad("expected a storage, an offset, sizes and strides");
    }
    PickleTensor t;
    t.storage = *as<PickleStorage>(args[0]);
    t.dtype = t.storage.dtype;
    if (with_dtype) {
      const auto* type = as<PickleGlobal>(args[6]);
      const auto dtype = type == nullptr ? std::nullopt : type_named(torch_dtypes, type->name);
      if (!dtype) bad("expected a torch dtype");
      t.dtype = *dtype;
    } else if (!t.storage.typed) {
      bad("expected a storage with a type");
    }
    t.offset = integer(args[1]);
    t.size = integers(args[2]);
    t.stride = integers(args[3]);
    if (t.size.size() != t.stride.size()) bad("expected as many strides as sizes");
    push(std::move(t));
  }

  void reduce() {
    const PickleRef arguments = pop();
    const PickleRef function = pop();
    const auto* global = as<PickleGlobal>(function);
    const auto* tuple = as<PickleTuple>(arguments);
    if (global == nullptr || tuple == nullptr) bad("expected a function and its arguments");
    const std::vector<PickleRef> args = tuple->items;
    const std::string name = global->name;
    if (name == "collections.OrderedDict") {
      if (!args.empty()) unsupported("an OrderedDict made from arguments");
      push(PickleDict{});
    } else if (name == "torch._utils._rebuild_tensor" || name == "torch._utils._rebuild_tensor_v2") {
      rebuild_tensor(args, false);
    } else if (name == "torch._utils._rebuild_tensor_v3") {
      rebuild_tensor(args, true);
    } else if (name == "torch._utils._rebuild_parameter") {
      if (args.empty() || as<PickleTensor>(args[0]) == nullptr) bad("expected a parameter's tensor");
      stack_.push_back(args[0]);
    } else if (name == "torch.Size") {
      if (args.size() != 1 || as<PickleTuple>(args[0]) == nullptr) bad("expected a tuple of sizes");
      stack_.push_back(args[0]);
    } else if (name == "torch.device") {
      push(PickleOpaque{});
    } else {
      unsupported(fmt::format("a call of '{}'", name));
    }
  }

  // State set on an OrderedDict (the _metadata of state dicts) says nothing about weights.
  void build() {
    pop();
    if (as<PickleDict>(top()) == nullptr) unsupported("state of anything but a dict");
  }

  ByteReader in_;
  uint64_t at_ = 0;  // of the opcode at work
  Pickle pickle_;
  std::vector<PickleRef> stack_;
  std::unordered_map<uint32_t, PickleRef> memo_;
};

}  // namespace

Pickle run_pickle(std::span<const std::byte> bytes, const std::string& file) {
  return Machine(bytes, file).run();
}

}  // namespace nibble
