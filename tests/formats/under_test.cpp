#include "formats/under_test.h"

#include <cctype>
#include <map>
#include <stdexcept>

#include "formats/block_format.h"
#include "formats/toy/toy.h"

namespace nibble::test {

std::span<const FormatFamily> families_under_test() {
  static const std::vector<FormatFamily> all = [] {
    const auto product = format_families();
    std::vector<FormatFamily> v(product.begin(), product.end());
    for (const FormatFamily& own : {
#define FORMAT(F) single_family<F>(),
#define FAMILY(F) option_family<F>(#F),
#include "formats/toy/list.inc"
#undef FORMAT
#undef FAMILY
         }) {
      v.push_back(own);
    }
    return v;
  }();
  return all;
}

const Format& format_under_test(const std::string& word) {
  static std::map<std::string, std::unique_ptr<Format>> known;
  auto& slot = known[word];
  if (!slot) slot = make_format(families_under_test(), FormatSpec::parse(word));
  if (!slot) throw std::out_of_range("no family knows " + word);
  return *slot;
}

std::string case_name(const Format& format) {
  std::string name = format.spec().to_string();
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

}  // namespace nibble::test
