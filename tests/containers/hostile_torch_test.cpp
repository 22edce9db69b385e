// Zip archives and pickles that lie, or that would run code in another reader.
#include "containers/torch_zip.h"
#include "hostile.h"

namespace nibble {
namespace {

using test::Hostile;
using test::raw;

// --- archives

struct Entry {
  std::string name, bytes;
  uint16_t method = 0, flags = 0;
  uint64_t claimed = UINT64_MAX;  // uncompressed size; UINT64_MAX: that of the bytes
  std::string local_name;         // where it differs
  uint32_t crc = 0;
};

struct Zip {
  std::vector<Entry> entries;
  uint32_t local_magic = 0x04034b50, directory_magic = 0x02014b50;
  int more_entries = 0;
  uint32_t directory_shift = 0, entry_shift = 0;
  std::string extra;        // of every directory entry
  uint32_t size_field = 0;  // in the directory, where not the true one

  std::string bytes() const {
    std::string s, directory;
    for (const Entry& e : entries) {
      const auto size = static_cast<uint32_t>(e.claimed == UINT64_MAX ? e.bytes.size() : e.claimed);
      const auto packed = static_cast<uint32_t>(e.bytes.size());
      const std::string common =
          raw(e.flags) + raw(e.method) + raw<uint32_t>(0) + raw(e.crc) + raw(packed) + raw(size);
      const std::string& local = e.local_name.empty() ? e.name : e.local_name;
      directory +=
          raw(directory_magic) + raw<uint32_t>(20) + raw(e.flags) + raw(e.method) + raw<uint32_t>(0) +
          raw(e.crc) + raw(size_field != 0 ? size_field : packed) + raw(size_field != 0 ? size_field : size) +
          raw<uint16_t>(static_cast<uint16_t>(e.name.size())) +
          raw<uint16_t>(static_cast<uint16_t>(extra.size())) + raw<uint16_t>(0) + std::string(8, '\0') +
          raw<uint32_t>(static_cast<uint32_t>(s.size()) + entry_shift) + e.name + extra;
      s += raw(local_magic) + raw<uint16_t>(20) + common +
           raw<uint16_t>(static_cast<uint16_t>(local.size())) + raw<uint16_t>(0) + local;
      s += e.bytes;
    }
    const auto count = static_cast<uint16_t>(static_cast<int>(entries.size()) + more_entries);
    return s + directory + raw<uint32_t>(0x06054b50) + raw<uint32_t>(0) + raw(count) + raw(count) +
           raw<uint32_t>(static_cast<uint32_t>(directory.size())) +
           raw<uint32_t>(static_cast<uint32_t>(s.size()) + directory_shift) + raw<uint16_t>(0);
  }
};

// --- pickles

std::string word(std::string_view s) {
  return "X" + raw<uint32_t>(static_cast<uint32_t>(s.size())) + std::string(s);
}
std::string number(int32_t v) { return "J" + raw(v); }
std::string global(std::string_view module, std::string_view name) {
  return "c" + std::string(module) + "\n" + std::string(name) + "\n";
}
std::string program(const std::string& body) { return "\x80\x02" + body + "."; }
std::string numbers(const std::vector<int32_t>& v) {
  std::string s = "(";
  for (const int32_t x : v) s += number(x);
  return s + "t";
}
std::string storage(int32_t elements, std::string_view key = "0") {
  return "(" + word("storage") + global("torch", "FloatStorage") + word(key) + word("cpu") +
         number(elements) + "tQ";
}
std::string tensor(const std::string& of, int32_t offset, const std::vector<int32_t>& size,
                   const std::vector<int32_t>& stride) {
  return global("torch._utils", "_rebuild_tensor_v2") + "(" + of + number(offset) + numbers(size) +
         numbers(stride) + "\x89NtR";
}
std::string dict_of(const std::string& name, const std::string& value) {
  return "}" + word(name) + value + "s";
}

Zip archive(const std::string& pickle) {
  Zip z;
  z.entries = {{"m/data.pkl", pickle, 0, 0, UINT64_MAX, "", 0},
               {"m/data/0", std::string(24, '\1'), 0, 0, UINT64_MAX, "", 0}};
  return z;
}
const std::string good = program(dict_of("w", tensor(storage(6), 0, {2, 3}, {3, 1})));

template <class Change>
std::string changed(Change&& change) {
  Zip z = archive(good);
  change(z);
  return z.bytes();
}
std::string holding(const std::string& body) { return archive(program(body)).bytes(); }
std::string holding_tensor(const std::string& t) { return holding(dict_of("w", t)); }

std::string laughs() {
  // Each list holds the one before twice: 2^60 ends.
  std::string s = "]" + number(1) + "aq" + raw<uint8_t>(0);
  for (uint8_t i = 0; i < 28; ++i) s += "](h" + raw(i) + "h" + raw(i) + "eq" + raw<uint8_t>(i + 1);
  return s;
}

std::string many(const std::string& s, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += s;
  return out;
}

std::vector<Hostile> archives() {
  const std::string whole = archive(good).bytes();
  return {
      {"CutShort", whole.substr(0, whole.size() - 30), {"end record"}},
      {"OnlyTheBeginning", std::string("PK\3\4"), {"end record", "offset 4"}},
      {"DirectoryBeyondTheEnd", changed([](Zip& z) { z.directory_shift = 1 << 30; }), {"directory of"}},
      {"DirectoryElsewhere", changed([](Zip& z) { z.directory_shift = UINT32_MAX - 500; }), {"directory"}},
      {"MoreEntriesThanFit", changed([](Zip& z) { z.more_entries = 60000; }), {"entries do not fit"}},
      {"OneEntryTooMany", changed([](Zip& z) { z.more_entries = 1; }), {"offset"}},
      {"NoDirectoryEntry", changed([](Zip& z) { z.directory_magic = 7; }), {"directory entry"}},
      {"NoEntryWhereItShouldBe", changed([](Zip& z) { z.local_magic = 7; }), {"offset 0", "an entry"}},
      {"EntryBeyondTheEnd",
       changed([](Zip& z) { z.entry_shift = 1 << 20; }),
       {"'m/data.pkl'", "beyond the end"}},
      {"EntryOfAnotherName",
       changed([](Zip& z) { z.entries[1].local_name = "m/data/1"; }),
       {"'m/data/0'", "another name"}},
      {"EntryTwice",
       changed([](Zip& z) { z.entries[1].name = "m/data.pkl"; }),
       {"'m/data.pkl' occurs twice"}},
      {"SizesThatLeaveTheFile", changed([](Zip& z) { z.size_field = 1 << 20; }), {"'m/data.pkl'", "1048576"}},
      {"EntriesThatOverlap",
       changed([](Zip& z) {
         z.entries.push_back({"m/data/1", std::string(200, '\1'), 0, 0, UINT64_MAX, "", 0});
         z.size_field = static_cast<uint32_t>(good.size()) + 50;
       }),
       {"'m/data/0' overlaps 'm/data.pkl'"}},
      {"Encrypted", changed([](Zip& z) { z.entries[0].flags = 1; }), {"'m/data.pkl'", "encrypted"}},
      {"AnotherCompression",
       changed([](Zip& z) { z.entries[0].method = 12; }),
       {"'m/data.pkl'", "compression 12"}},
      {"StoredInTwoSizes", changed([](Zip& z) { z.entries[0].claimed = 5; }), {"'m/data.pkl'", "stored"}},
      {"BombOfDeflate",
       changed([](Zip& z) {
         z.entries[0].method = 8;
         z.entries[0].claimed = 1u << 31;
       }),
       {"cannot unpack to"}},
      {"DeflatedNoise",
       changed([](Zip& z) { z.entries[0].method = 8; }),
       {"'m/data.pkl'", "does not unpack"}},
      {"Zip64SizeWithoutEnd",
       changed([](Zip& z) {
         z.size_field = UINT32_MAX;
         z.extra =
             raw<uint16_t>(1) + raw<uint16_t>(16) + raw<uint64_t>(UINT64_MAX) + raw<uint64_t>(UINT64_MAX);
       }),
       {"'m/data.pkl'", "18446744073709551615"}},
      {"ExtraFieldThatLeavesItsEntry",
       changed([](Zip& z) { z.extra = raw<uint16_t>(1) + raw<uint16_t>(9000); }),
       {"extra field"}},
      {"NoPickle", changed([](Zip& z) { z.entries[0].name = "m/model.txt"; }), {"data.pkl"}},
      {"TwoPickles", changed([](Zip& z) { z.entries[1].name = "n/data.pkl"; }), {"'n/data.pkl'"}},
      {"TorchScript", changed([](Zip& z) { z.entries[1].name = "m/constants.pkl"; }), {"TorchScript"}},
      {"BigEndian",
       changed([](Zip& z) {
         z.entries.push_back({"m/byteorder", "big", 0, 0, UINT64_MAX, "", 0});
       }),
       {"little-endian"}},
  };
}

std::vector<Hostile> pickles() {
  return {
      {"RunsACommand",
       holding(global("os", "system") + "(" + word("rm -rf /") + "tR"),
       {"global 'os.system'", "offset 2"}},
      {"RunsACommandByStack",
       holding(word("posix") + word("system") + "\x93(" + word("id") + "tR"),
       {"'posix.system'"}},
      {"Evaluates", holding(global("builtins", "eval") + "(" + word("1") + "tR"), {"'builtins.eval'"}},
      {"LoadsAFunctionOfTorch", holding(global("torch", "load") + "(" + word("x") + "tR"), {"'torch.load'"}},
      {"ImportsNumpy",
       holding(global("numpy.core.multiarray", "_reconstruct")),
       {"'numpy.core.multiarray._reconstruct'"}},
      {"GlobalWithControlCharacters", holding(global("o\x1b[2Js", "x")), {"global 'o?[2Js.x'"}},
      {"Instance", holding("(ios\nsystem\n"), {"opcode 0x69 'i'", "offset 3"}},
      {"Object", holding("(" + global("torch", "Size") + "o"), {"opcode 0x6f 'o'"}},
      {"NewObject", holding(global("torch", "Size") + ")\x81"), {"opcode 0x81"}},
      {"Extension", holding("\x82\x01"), {"opcode 0x82"}},
      {"TextProtocolInteger", holding("I1\n"), {"opcode 0x49 'I'"}},
      {"StateOfANumber", holding(number(1) + "}b"), {"state of anything but a dict"}},
      {"CallsAType", holding(global("torch", "float32") + ")R"), {"call of 'torch.float32'"}},
      {"CallsANumber", holding(number(1) + ")R"), {"a function and its arguments"}},
      {"OldProtocol", archive("\x80\x01N.").bytes(), {"pickle protocol 1"}},
      {"LaterProtocol", archive("\x80\x09N.").bytes(), {"pickle protocol 9"}},
      {"EmptyPickle", archive("").bytes(), {"offset 0", "opcode"}},
      {"NoEnd", archive("\x80\x02N").bytes(), {"offset 3", "opcode"}},
      {"NothingOnTheStack", archive("\x80\x02.").bytes(), {"stack", "offset 2"}},
      {"NoMark", holding("t"), {"mark"}},
      {"MarkTakenForAValue", holding("(0N"), {"stack"}},
      {"MemoNeverSet", holding("j" + raw<uint32_t>(77)), {"memo 77"}},
      {"StringOfMaximalLength", holding("\x8d" + raw<uint64_t>(UINT64_MAX)), {"18446744073709551615"}},
      {"StringWithoutEnd", holding("X" + raw<uint32_t>(1u << 31)), {"2147483648"}},
      {"NameWithoutEnd", holding("c" + std::string(5000, 'm')), {"256 bytes"}},
      {"IntegerOfManyDigits", holding("\x8a\xff" + std::string(255, '\x7f')), {"64 bits"}},
      {"AppendsToANumber", holding(number(1) + number(2) + "a"), {"list to append to"}},
      {"FillsAList", holding("]" + number(1) + number(2) + "s"), {"dict to fill"}},
      {"DictOfThree", holding("(NNNd"), {"pairs"}},
      {"StorageOfWords", holding(word("x") + "Q"), {"'storage'"}},
      {"StorageOfNoType",
       holding("(" + word("storage") + word("F") + word("0") + word("cpu") + number(1) + "tQ"),
       {"storage type"}},
      {"StorageOfNegativeSize", holding(storage(-1)), {"negative size"}},
      {"TensorOfNothing", holding(global("torch._utils", "_rebuild_tensor_v2") + ")R"), {"a storage"}},
      {"TensorInsteadOfAStorage", holding_tensor(tensor(number(3), 0, {1}, {1})), {"a storage"}},
      {"OneStrideForTwoSizes", holding_tensor(tensor(storage(6), 0, {2, 3}, {1})), {"as many strides"}},
      {"SeventyDimensions",
       holding_tensor(tensor(storage(6), 0, std::vector<int32_t>(70, 1), std::vector<int32_t>(70, 1))),
       {"64 dimensions"}},
      {"NoSuchStorage",
       holding_tensor(tensor(storage(6, "../../x"), 0, {6}, {1})),
       {"'w'", "m/data/../../x"}},
      {"StorageTooShort", holding_tensor(tensor(storage(7), 0, {6}, {1})), {"'w'", "7 elements", "24 bytes"}},
      {"TensorLongerThanItsStorage",
       holding_tensor(tensor(storage(6), 0, {7}, {1})),
       {"'w'", "leaves its storage"}},
      {"TensorBehindItsStorage",
       holding_tensor(tensor(storage(6), 6, {1}, {1})),
       {"'w'", "leaves its storage"}},
      {"NegativeOffset", holding_tensor(tensor(storage(6), -1, {1}, {1})), {"'w'", "leaves its storage"}},
      {"NegativeSize", holding_tensor(tensor(storage(6), 0, {-2, -3}, {3, 1})), {"'w'", "impossible shape"}},
      {"NegativeStride", holding_tensor(tensor(storage(6), 5, {6}, {-1})), {"'w'", "stride -1"}},
      {"StrideThatLeaves",
       holding_tensor(tensor(storage(6), 0, {2, 3}, {4, 1})),
       {"'w'", "leaves its storage"}},
      {"StrideThatOverflows",
       holding_tensor(tensor(storage(6), 0, {2147483647, 1}, {2147483647, 1})),
       {"'w'"}},
      {"ShapeThatOverflows",
       holding_tensor(tensor(storage(6), 0, std::vector<int32_t>(8, 1 << 30), std::vector<int32_t>(8, 0))),
       {"'w'", "impossible shape"}},
      {"OneElementShownAMillionTimes",
       holding_tensor(tensor(storage(6), 0, {1000, 1000}, {0, 0})),
       {"'w'", "repeat elements"}},
      {"NameTwice",
       holding("}(" + word("w") + tensor(storage(6), 0, {6}, {1}) + word("w") +
               tensor(storage(6), 0, {6}, {1}) + "u"),
       {"'w' occurs twice"}},
      {"NameWithControlCharacters",
       holding(dict_of("w\n", tensor(storage(6), 0, {6}, {1}))),
       {"control character"}},
      {"KeyThatIsATensor", holding("}" + tensor(storage(6), 0, {6}, {1}) + "Ns"), {"keys"}},
      {"ListInsideOfItself", holding("]q" + raw<uint8_t>(0) + "h" + raw<uint8_t>(0) + "a"), {"without end"}},
      {"NestedWithoutEnd", holding(many("]", 900) + many("a", 899)), {"nested more than 32"}},
      {"ListsOfListsOfLists", holding(laughs()), {"without end"}},
  };
}

class HostileTorch : public testing::TestWithParam<Hostile> {};
TEST_P(HostileTorch, IsRefused) {
  const Hostile& h = GetParam();
  test::expect_refused(h.says, h.bytes.size(), [&] { parse_torch(test::bytes_of(h.bytes), "hostile.pt"); });
}
INSTANTIATE_TEST_SUITE_P(Archives, HostileTorch, testing::ValuesIn(archives()),
                         [](const auto& of) { return test::case_name(of); });
INSTANTIATE_TEST_SUITE_P(Pickles, HostileTorch, testing::ValuesIn(pickles()),
                         [](const auto& of) { return test::case_name(of); });

TEST(Torch, WhatTheCasesAreMadeFromIsValid) {
  const std::string whole = archive(good).bytes();
  const TensorListing listing = parse_torch(test::bytes_of(whole), "good.pt");
  ASSERT_EQ(listing.tensors.size(), 1u);
  EXPECT_EQ(listing.tensors[0].shape, (Shape{2, 3}));
  EXPECT_EQ(listing.tensors[0].bytes(), 24u);
}

// Archives over 4 GB keep sizes and offsets in a zip64 field and end in a zip64 record.
TEST(Torch, Zip64) {
  Zip z = archive(good);
  z.entries.resize(1);
  z.entries[0] = {"m/data.pkl", program("}"), 0, 0, UINT64_MAX, "", 0};
  z.size_field = UINT32_MAX;
  z.extra = raw<uint16_t>(1) + raw<uint16_t>(16) + raw<uint64_t>(4) + raw<uint64_t>(4);
  std::string bytes = z.bytes();
  EXPECT_NO_THROW(parse_torch(test::bytes_of(bytes), "good.pt"));
  // The same with the directory found through the zip64 record.
  std::string end = bytes.substr(bytes.size() - 22);
  uint32_t size, offset;
  std::memcpy(&size, end.data() + 12, 4);
  std::memcpy(&offset, end.data() + 16, 4);
  std::memset(end.data() + 8, 0xff, 12);
  bytes.resize(bytes.size() - 22);
  const uint64_t record = bytes.size();
  bytes += raw<uint32_t>(0x06064b50) + raw<uint64_t>(44) + raw<uint32_t>(0) + raw<uint64_t>(0) +
           raw<uint64_t>(1) + raw<uint64_t>(1) + raw<uint64_t>(size) + raw<uint64_t>(offset);
  const std::string locator = raw<uint32_t>(0x07064b50) + raw<uint32_t>(0);
  EXPECT_NO_THROW(
      parse_torch(test::bytes_of(bytes + locator + raw(record) + raw<uint32_t>(1) + end), "good.pt"));
  const std::string lies = bytes + locator + raw<uint64_t>(UINT64_MAX) + raw<uint32_t>(1) + end;
  test::expect_refused({"beyond the end"}, lies.size(),
                       [&] { parse_torch(test::bytes_of(lies), "hostile.pt"); });
}

}  // namespace
}  // namespace nibble
