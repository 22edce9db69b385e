// Shrinks a model to 4 bits and lets the small one speak: shrink_and_speak ./my-llama small.gguf "Once upon a
// time"
#include <nibble/model/generate.h>
#include <nibble/model/load.h>
#include <nibble/pipeline/job.h>

#include <cstdio>

int main(int argc, char** argv) try {
  if (argc != 4) return std::fprintf(stderr, "usage: shrink_and_speak MODEL OUT.gguf PROMPT\n"), 2;
  nibble::ThreadPool pool;
  nibble::Progress progress;

  nibble::Recipe recipe;
  recipe.type = "q4_k_m";
  const auto plan = nibble::plan_quantization(nibble::open_checkpoint(argv[1]), nibble::Target::gguf, recipe);
  std::printf("%.2f bits per weight\n", plan.ledger.bits_per_weight());
  nibble::run_job(plan, {.output = argv[2]}, pool, progress);

  const auto program = nibble::load_program(nibble::open_checkpoint(argv[2]), pool);
  const auto tokenizer = nibble::open_tokenizer(argv[2]);
  nibble::Generator generator(program, tokenizer, pool);
  generator.generate(tokenizer.encode(argv[3]), {.max_tokens = 100}, [](std::string_view piece) {
    return std::fwrite(piece.data(), 1, piece.size(), stdout) == piece.size();
  });
  std::puts("");
  return 0;
} catch (const nibble::Error& e) {
  std::fprintf(stderr, "error: %s\n", e.what());
  return e.exit_code();
}
