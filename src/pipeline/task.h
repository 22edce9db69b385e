#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "formats/format.h"

// What a job is cut into. Tasks write ranges of bytes that do not overlap, in any order, on any thread.

namespace nibble {

/// A run of bytes in one plane of the output.
struct Range {
  size_t plane;
  uint64_t offset, bytes;
};

/// The unit of work: rows to round, or stored bytes to copy.
struct Task {
  size_t tensor = 0;
  int64_t row = 0, rows = 0;  ///< rows == 0: copy `ranges`
  std::vector<Range> ranges;  ///< the bytes it writes
};

/// About so many weights, in rows that end on a block border.
int64_t rows_of(const Format& format, const Shape& shape, int64_t weights);

/// Rows of a window: enough weights to keep a core busy for some milliseconds, few enough to bound memory;
/// always whole blocks of the format.
int64_t window_rows(const Format& format, const Shape& shape);

/// Planes that are written as they are.
std::vector<Task> copy_tasks(size_t tensor, std::span<const PlaneInfo> planes);

/// Windows of rows, none with rows of two groups of `rows_each`; first of all, in one task, the planes that
/// are for the whole tensor.
std::vector<Task> row_tasks(size_t tensor, const Format& format, const Shape& shape,
                            std::span<const PlaneInfo> planes, int64_t rows_each);

}  // namespace nibble
