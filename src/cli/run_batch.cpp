#include "cli/run_batch.h"

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"

namespace nibble::cli {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) lines.push_back(std::move(line));
    begin = end + 1;
  }
  return lines;
}

void run_batch(const BatchJob& job, const Common& common) {
  if (job.prompts.empty())
    throw Error(ErrorKind::usage, "the file of prompts has none", "write one on each line");
  std::map<size_t, Generation> ended;
  size_t shown = 0;
  const auto show = [&] {
    for (auto it = ended.find(shown); it != ended.end(); it = ended.find(++shown)) {
      fmt::print("{}{}{}\n", shown == 0 ? "" : "\n", common.quiet ? "" : job.prompts[shown], it->second.text);
      std::fflush(stdout);
    }
  };
  const BatchReport report = generate_batch(job.program, job.tokenizer, job.pool, job.ids, job.generate,
                                            job.batch, [&](size_t number, const Generation& g) {
                                              ended[number] = g;
                                              if (!common.json) show();
                                            });
  const double rate = report.seconds > 0 ? static_cast<double>(report.generated_tokens) / report.seconds : 0;
  if (common.json) {
    nlohmann::json all = nlohmann::json::array();
    for (const auto& [number, g] : ended) {
      all.push_back({{"prompt", job.prompts[number]},
                     {"text", g.text},
                     {"tokens", g.tokens},
                     {"stopped_by", stop_reason_name(g.reason)},
                     {"prompt_tokens", g.prompt_tokens}});
    }
    const nlohmann::json out{{"generations", all},        {"together", job.batch.together},
                             {"steps", report.steps},     {"generated_tokens", report.generated_tokens},
                             {"seconds", report.seconds}, {"tokens_per_second", rate}};
    fmt::print("{}\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  } else if (!common.quiet) {
    fmt::print(stderr, "[{} prompts, {} at once: {} tokens read, {} generated in {} steps, {:.1f}/s]\n",
               job.prompts.size(), job.batch.together, report.prompt_tokens, report.generated_tokens,
               report.steps, rate);
  }
  if (report.interrupted) check_interrupt();
}

}  // namespace nibble::cli
