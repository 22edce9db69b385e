#include "pipeline/ledger.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/progress.h"

namespace nibble {

std::string_view fate_name(Fate fate) noexcept {
  switch (fate) {
    case Fate::quantized:
      return "quantized";
    case Fate::kept:
      return "kept";
    case Fate::substituted:
      return "substituted";
    case Fate::dropped:
      return "dropped";
  }
  return "";
}

uint64_t Ledger::bytes_out() const noexcept {
  uint64_t n = 0;
  for (const LedgerLine& l : lines) n += l.bytes_out;
  return n;
}

uint64_t Ledger::weights() const {
  uint64_t n = 0;
  for (const LedgerLine& l : lines) {
    if (l.fate != Fate::dropped) n += static_cast<uint64_t>(l.shape.elements());
  }
  return n;
}

double Ledger::bits_per_weight() const {
  const uint64_t n = weights();
  return n == 0 ? 0 : 8.0 * static_cast<double>(bytes_out()) / static_cast<double>(n);
}

std::map<std::string, int> Ledger::count_by_format() const {
  std::map<std::string, int> counts;
  for (const LedgerLine& l : lines) {
    if (l.fate != Fate::dropped) ++counts[l.to];
  }
  return counts;
}

std::string Ledger::to_json() const {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const LedgerLine& l : lines) {
    nlohmann::ordered_json row{{"source", l.source}, {"fate", fate_name(l.fate)}, {"from", l.from}};
    if (l.fate != Fate::dropped) {
      row["target"] = l.target;
      row["to"] = l.to;
      row["shape"] = l.shape.dims();
    }
    if (!l.asked.empty()) row["asked"] = l.asked;
    row["reason"] = l.reason;
    row["bytes_in"] = l.bytes_in;
    row["bytes_out"] = l.bytes_out;
    rows.push_back(std::move(row));
  }
  return rows.dump(2);
}

std::string Ledger::to_text() const {
  std::string out = fmt::format("{:<44} {:<16} {:>9} {:<14} {:<14} {:>9}  {}\n", "tensor", "shape", "bytes",
                                "from", "to", "bytes", "why");
  for (const LedgerLine& l : lines) {
    std::string why = std::string(fate_name(l.fate));
    if (!l.asked.empty()) why += fmt::format(" (asked for {})", l.asked);
    if (!l.reason.empty()) why += ": " + l.reason;
    out +=
        fmt::format("{:<44} {:<16} {:>9} {:<14} {:<14} {:>9}  {}\n", l.target.empty() ? l.source : l.target,
                    l.shape.to_string(), human_bytes(static_cast<double>(l.bytes_in)), l.from,
                    l.to.empty() ? "-" : l.to, human_bytes(static_cast<double>(l.bytes_out)), why);
  }
  return out;
}

}  // namespace nibble
