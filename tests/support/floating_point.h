#pragma once

#include <algorithm>
#include <array>
#include <cstdio>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

// Tells floating-point instructions of x86 from others, by the names that objdump gives them.

namespace nibble::test {

/// Whether an instruction computes with, compares, rounds or converts floating-point numbers, or sets how
/// that is done. Moving and combining bits does not count, though Intel names some of it after floats
/// (compilers move integers with movups); what is on no list counts.
inline bool is_floating_point(std::string name) {
  if (name.starts_with("fx")) return false;  // fxsave, fxrstor: the state of all registers
  if (name.starts_with("v") && !name.starts_with("ver")) name.erase(0, 1);
  if (name.starts_with("f")) return true;  // x87, and fused multiply-adds after their v
  if (name.starts_with("cvt") || name == "ldmxcsr" || name == "stmxcsr") return true;
  if (name.starts_with("p")) return false;  // packed integers, permutations
  if (name.starts_with("rdssp")) return false;
  // AT&T's suffixes of operand sizes do not follow these.
  static constexpr std::array<std::string_view, 6> kinds{"ps", "pd", "ss", "sd", "ph", "sh"};
  const auto kind =
      std::find_if(kinds.begin(), kinds.end(), [&](std::string_view k) { return name.ends_with(k); });
  if (kind == kinds.end()) return false;
  static constexpr std::array<std::string_view, 20> moves{
      "mova", "movu",   "mov",    "movl",  "movh",   "movlh",  "movhl",   "movnt",     "movmsk",   "maskmov",
      "shuf", "unpckl", "unpckh", "blend", "blendv", "insert", "extract", "broadcast", "compress", "expand"};
  static constexpr std::array<std::string_view, 5> logic{"and", "andn", "or", "xor", "blendm"};
  const std::string_view stem(name.data(), name.size() - 2);
  return std::find(moves.begin(), moves.end(), stem) == moves.end() &&
         std::find(logic.begin(), logic.end(), stem) == logic.end();
}

/// One line of `objdump --no-show-raw-insn`: "  addr:\tmnemonic operands".
struct Instruction {
  uint64_t address = 0;
  std::string name, text;
};

/// Nothing where the line is no instruction.
inline bool parse_instruction(const std::string& line, Instruction& found) {
  const size_t colon = line.find(":\t");
  if (colon == std::string::npos) return false;
  char* end = nullptr;
  found.address = std::strtoull(line.c_str(), &end, 16);
  if (end != line.c_str() + colon) return false;
  found.text = line.substr(colon + 2);
  std::istringstream words(found.text);
  while (words >> found.name) {
    static constexpr std::array<std::string_view, 16> prefixes{
        "lock", "rep", "repz", "repnz", "bnd", "notrack", "data16",   "cs",
        "ds",   "es",  "ss",   "fs",    "gs",  "addr32",  "xacquire", "xrelease"};
    const bool prefix = std::find(prefixes.begin(), prefixes.end(), found.name) != prefixes.end() ||
                        found.name.starts_with("rex") || found.name.starts_with("{");
    if (!prefix) return true;
  }
  return false;
}

/// What a command prints, by lines; nothing where it cannot be run.
inline std::vector<std::string> lines_of(const std::string& command) {
  std::vector<std::string> lines;
  FILE* pipe = popen((command + " 2>/dev/null").c_str(), "r");
  if (pipe == nullptr) return lines;
  std::string line;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) {
    if (c != '\n') {
      line += static_cast<char>(c);
      continue;
    }
    lines.push_back(line);
    line.clear();
  }
  if (pclose(pipe) != 0) lines.clear();
  return lines;
}

}  // namespace nibble::test
