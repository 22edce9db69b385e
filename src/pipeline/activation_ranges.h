#pragma once

#include <map>
#include <span>
#include <string>

#include "calibrate/range_rule.h"
#include "pipeline/planner.h"

namespace nibble {

/// Ranges of inputs by the name of the node that reads them, as an ActivationPlan wants them.
using InputRanges = std::map<std::string, InputRange, std::less<>>;

/// Adds the ranges of what was seen. Throws as find_range does.
void add_ranges(InputRanges& ranges, const InputStats& seen, const RangeRule& rule,
                const ActivationScheme& scheme);

/// Refuses what the file's runtime would have to: an integer-only recipe that keeps some matrices in other
/// formats, patterns of inputs to keep that match nothing. Reads no matrix. Throws as round_activations does.
void check_activations(const ExportPlan& file, const Recipe& recipe);

/// Writes into the plan's metadata how the activations are to be rounded, as its recipe has it, and which
/// inputs are to be turned, as the source's weights want it; nothing where both are silent. Static ranges
/// come from the plan's statistics, those of scaled inputs divided by the scales. Throws Error{usage} for a
/// rule that cannot be used on scaled inputs, Error{unsupported} for statistics that tell of no ranges.
void note_activations(QuantizationPlan& plan, ThreadPool& pool);

}  // namespace nibble
