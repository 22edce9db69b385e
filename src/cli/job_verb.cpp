#include "cli/job_verb.h"

#include <filesystem>

#include "base/error.h"
#include "cli/format_search.h"
#include "cli/output_path.h"
#include "model/activation_note.h"

namespace nibble::cli {
namespace {

nlohmann::ordered_json summary(const QuantizationPlan& plan, const Preflight& p, const std::string& output) {
  nlohmann::ordered_json j{{"output", output},
                           {"target", plan.file.target == Target::gguf ? "gguf" : "huggingface"},
                           {"architecture", plan.file.checkpoint().arch().name},
                           {"tensors", plan.file.tensors.size()},
                           {"weights", p.weights},
                           {"bytes_in", p.bytes_in},
                           {"bytes_out", p.bytes_out},
                           {"bits_per_weight", p.bits_per_weight},
                           {"memory_bound", p.memory},
                           {"disk_free", p.disk_free}};
  j["turned_inputs"] = turned_inputs(plan.file.checkpoint()).size();
  j["formats"] = plan.ledger.count_by_format();
  j["dropped"] = nlohmann::ordered_json::array();
  for (const UnclaimedTensor& t : plan.file.dropped)
    j["dropped"].push_back({{"tensor", t.name}, {"reason", t.reason}});
  return j;
}

void print_preflight(const QuantizationPlan& plan, const Preflight& p, const std::string& output) {
  fmt::print(stderr, "{}: {} weights, {} -> {}, {:.3f} bits per weight\n", plan.file.checkpoint().arch().name,
             p.weights, human_bytes(static_cast<double>(p.bytes_in)),
             human_bytes(static_cast<double>(p.bytes_out)), p.bits_per_weight);
  std::string formats;
  for (const auto& [format, count] : plan.ledger.count_by_format()) {
    formats += fmt::format("{}{} x {}", formats.empty() ? "" : ", ", count, format);
  }
  fmt::print(stderr, "tensors: {}\nneeds {} of memory at most; {} has {} free\n", formats,
             human_bytes(static_cast<double>(p.memory)),
             std::filesystem::absolute(output).parent_path().string(),
             human_bytes(static_cast<double>(p.disk_free)));
  if (const size_t turned = turned_inputs(plan.file.checkpoint()).size(); turned > 0) {
    fmt::print(stderr,
               "remark: the inputs of {} matrices are to be turned as the model runs: nibble does it, other "
               "runtimes would compute something else\n",
               turned);
  }
  for (const LedgerLine& l : plan.ledger.lines) {
    if (l.fate == Fate::substituted) {
      fmt::print(stderr, "substituted: {} is {} instead of {}: {}\n", l.target, l.to, l.asked, l.reason);
    } else if (l.fate == Fate::dropped) {
      fmt::print(stderr, "dropped: {}: {}\n", l.source, l.reason);
    }
  }
}

}  // namespace

void JobWords::add_to(CLI::App& app) {
  app.add_option("--shard-size", shard_size, "split a folder's weights into files of this size (500M, 5G)");
  app.add_flag("--drop-unknown", drop_unknown, "leave out tensors that the architecture does not know");
  app.add_flag("--dry-run", dry_run, "print what would be done to every tensor, and stop");
  app.add_option("--ledger", ledger, "write the account of every tensor to this JSON file");
  app.add_flag("--fresh", fresh, "begin anew even if an earlier try can be resumed");
}

Checkpoint open_source(const std::string& input, const std::string& output, const JobWords& words) {
  Checkpoint source = open_checkpoint(input);
  refuse_own_source(source, output);
  refuse_unknown(source, words.drop_unknown);
  return source;
}

void run_planned(const QuantizationPlan& plan, JobOptions options, const JobWords& words,
                 const Common& common, ThreadPool& pool) {
  const std::string& output = options.output;
  options.fresh = words.fresh;
  options.shard_size = words.shard_size.empty() ? 0 : bytes_of_word(words.shard_size, "--shard-size");
  if (options.shard_size != 0 && plan.file.target == Target::gguf) {
    throw Error(ErrorKind::usage, "--shard-size splits folders; a GGUF file is written in one piece",
                "leave it out, or name a folder as output");
  }
  const Preflight p = preflight(plan, output, pool.threads());
  if (!common.quiet && !common.json) print_preflight(plan, p, output);
  if (!words.ledger.empty()) write_text(words.ledger, plan.ledger.to_json() + "\n");
  nlohmann::ordered_json j = summary(plan, p, output);
  if (words.dry_run) {
    if (common.json) {
      j["ledger"] = nlohmann::ordered_json::parse(plan.ledger.to_json());
      fmt::print("{}\n", j.dump(2));
    } else {
      fmt::print("{}", plan.ledger.to_text());
    }
    return;
  }
  Progress progress(common.progress_style());
  const JobResult result = run_job(plan, options, pool, progress);
  if (!words.ledger.empty() && !result.notes.empty()) {
    // Written again with what only the work itself could tell.
    Ledger ledger = plan.ledger;
    for (LedgerLine& l : ledger.lines) {
      for (const auto& [tensor, note] : result.notes) {
        if (tensor != l.target && !tensor.starts_with(l.target + " ")) continue;
        l.reason += (l.reason.empty() ? "" : "; ") +
                    (tensor == l.target ? note : tensor.substr(l.target.size() + 1) + ": " + note);
      }
    }
    write_text(words.ledger, ledger.to_json() + "\n");
  }
  if (common.json) {
    j["seconds"] = result.seconds;
    j["resumed_tensors"] = result.resumed;
    j["notes"] = result.notes;
    fmt::print("{}\n", j.dump(2));
  } else if (!common.quiet) {
    if (result.resumed > 0)
      fmt::print(stderr, "{} tensors were finished by an earlier try\n", result.resumed);
    for (const auto& [tensor, note] : result.notes) fmt::print(stderr, "{}: {}\n", tensor, note);
    fmt::print(stderr, "{} is complete: {} in {}\n", result.path,
               human_bytes(static_cast<double>(p.bytes_out)), human_seconds(result.seconds));
  }
}

}  // namespace nibble::cli
