#pragma once

#include <string>

#include "cli/verb.h"
#include "model/checkpoint.h"
#include "pipeline/ledger.h"

namespace nibble::cli {

struct ReportWords {
  std::string output;  ///< HTML file
  std::string text;    ///< to measure divergence on; empty: only the weights are compared
  int64_t context = 0, windows = 40;
};

/// Measures a model beside its original and writes the page. `ledger` may be null.
void write_report(const Checkpoint& model, const Checkpoint& original, const ReportWords& words,
                  const Ledger* ledger, const Common& common);

}  // namespace nibble::cli
