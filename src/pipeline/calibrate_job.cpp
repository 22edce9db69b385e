#include "pipeline/calibrate_job.h"

#include <optional>

#include "base/error.h"
#include "calibrate/layer_walk.h"
#include "containers/imatrix.h"

namespace nibble {
namespace {

Imatrix imatrix_of(const StatsFolder& folder, const Checkpoint& model) {
  Imatrix m;
  for (int64_t part = 0; part < folder.about().parts; ++part) {
    for (const InputStats& s : folder.read(part)) {
      const CanonicalTensor* t = model.find(s.readers.front());
      add_to_imatrix(m, s, t != nullptr && t->experts > 0 ? t->experts : 1);
    }
  }
  m.chunks = static_cast<uint32_t>(folder.about().chunks);
  m.chunk_size = static_cast<uint32_t>(folder.about().chunk_size);
  m.datasets = {folder.about().dataset};
  return m;
}

/// Walks through the parts that the folder does not hold yet.
void collect(LayerWalk& walk, const StatsFolder& folder, Precision precision, ThreadPool& pool,
             Progress& progress) {
  progress.start("calibrating", walk.sequences() * static_cast<uint64_t>(walk.parts() + 1), "sequences");
  for (int64_t part = 0; part < folder.about().parts; ++part) {
    if (folder.has(part)) {
      progress.advance(walk.sequences());
      continue;
    }
    Collector collector({folder.about().hessian, folder.about().histogram, precision}, pool);
    walk.observe(part, collector,
                 [&] { progress.advance(1, fmt::format("part {} of {}", part + 1, walk.parts())); });
    folder.write(part, collector.take());
  }
}

}  // namespace

bool is_imatrix_path(const std::string& path) { return path.ends_with(".gguf") || path.ends_with(".dat"); }

void run_calibration(const Checkpoint& model, const CalibrationText& text, const CalibrateOptions& options,
                     ThreadPool& pool, Progress& progress) {
  const bool imatrix = is_imatrix_path(options.output);
  LayerWalk walk(model, text.sequences, options.output + ".hidden.partial", pool, text.precision);
  const StatsFolder::About about{fmt::format("{} {}", walk.identity(), options.output_matrix),
                                 text.description,
                                 options.hessian && !imatrix,
                                 walk.parts() - (options.output_matrix ? 0 : 1),
                                 static_cast<int64_t>(text.sequences.size()),
                                 text.length,
                                 text.source,
                                 options.histogram && !imatrix};
  std::optional<StatsFolder> folder;
  try {
    folder = StatsFolder::create(imatrix ? options.output + ".parts.partial" : options.output, about);
    collect(walk, *folder, text.precision, pool, progress);
    if (imatrix) {
      write_imatrix(imatrix_of(*folder, model), options.output);
      folder->remove();
    }
  } catch (const Error& e) {
    // The same command can only fail again: nothing is left to go on from.
    if (e.kind() == ErrorKind::bad_input || e.kind() == ErrorKind::usage) {
      walk.remove();
      if (folder) folder->remove();
    }
    throw;
  }
  walk.remove();
  progress.finish();
}

}  // namespace nibble
