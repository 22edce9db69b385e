// The proof that inference in whole numbers uses no floating point: the processor stops after every
// instruction from the look-up of the tokens to the logits, in nibble, the C++ library and the C library
// alike, and objdump names every instruction that was executed.
#include <gtest/gtest.h>

#include "../support/data.h"
#include "../support/floating_point.h"
#include "../support/scratch.h"
#include "model/executor.h"
#include "model/rewrites/activations.h"
#include "ops/integer/to_floats.h"
#include "quantized_model.h"

#if defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)

#include <immintrin.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <numeric>
#include <set>

namespace nibble {
namespace {

constexpr size_t instruction_bytes = 16;  // one more than the longest
constexpr size_t slot_bytes = 32;
constexpr size_t most_addresses = 1 << 17;

// What the processor executes between two borders. With the trap flag set it stops after every instruction
// and the handler, which is not traced itself, writes down where it stands. Nothing here may allocate.
uint64_t addresses[most_addresses];  // a hash table
size_t used = 0;
int64_t steps = 0;

void on_step(int, siginfo_t*, void* context) {
  const auto at = static_cast<uint64_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  ++steps;
  size_t slot = at * 0x9e3779b97f4a7c15u >> 47;
  while (addresses[slot] != 0 && addresses[slot] != at) slot = (slot + 1) % most_addresses;
  if (addresses[slot] == at || used > most_addresses / 2) return;
  addresses[slot] = at;
  ++used;
}

// Below the 128 bytes that a function may use without asking. The instruction after popfq is not seen: a nop.
__attribute__((noinline)) void set_trap_flag() {
  asm volatile("lea -128(%%rsp), %%rsp; pushfq; orq $0x100, (%%rsp); popfq; nop; lea 128(%%rsp), %%rsp" ::
                   : "memory", "cc");
}
__attribute__((noinline)) void clear_trap_flag() {
  asm volatile("lea -128(%%rsp), %%rsp; pushfq; andq $~0x100, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::
                   : "memory", "cc");
}

std::vector<Extent> one_cell(const Node&, std::span<const Extent>) { return {{RowSet::all, 1}}; }
const Op begin_op{.name = "begin",
                  .shape = one_cell,
                  .forward = [](const Node&, RunContext&, std::span<const Value>, std::span<const Value>) {
                    set_trap_flag();
                  }};
const Op end_op{.name = "end",
                .shape = one_cell,
                .forward = [](const Node&, RunContext&, std::span<const Value>, std::span<const Value>) {
                  clear_trap_flag();
                }};

void halve(const Node&, RunContext& run, std::span<const Value>, std::span<const Value> out) {
  // The compiler must not do it before the program runs.
  volatile float x = static_cast<float>(static_cast<uint8_t>(run.tokens[0]));
  x = x * 0.5f;
  *out[0].row(0) = x;
}
const Op halve_op{.name = "halve", .shape = one_cell, .forward = halve};

void insert_node(Program& program, size_t at, const Op& op) {
  Node node{&op, std::string(op.name), {}, {static_cast<int>(program.slots.size())}, {}, {}};
  program.slots.push_back({{RowSet::all, 1}, node.name});
  program.nodes.insert(program.nodes.begin() + static_cast<ptrdiff_t>(at), std::move(node));
}

void* pointer(uint64_t address) {
  return reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr): where the processor stood
}

/// Whether a page can be read.
bool mapped(uint64_t page) {
  unsigned char resident;
  return mincore(pointer(page), 1, &resident) == 0;
}

/// The floating-point instructions among those at `addresses`, by name.
std::map<std::string, int> floating_point() {
  test::Scratch scratch;
  std::ofstream file(scratch.file("code"), std::ios::binary);
  // Each instruction begins a slot of its own; what follows it ends within the slot, whatever it is.
  for (const uint64_t at : addresses) {
    if (at == 0) continue;
    char slot[slot_bytes];
    std::memset(slot, 0x90, sizeof slot);
    // What lies on the next page may not be readable, and is not part of the instruction if it is not.
    const size_t left = 4096 - at % 4096;
    const bool crosses = left < instruction_bytes && mapped((at / 4096 + 1) * 4096);
    std::memcpy(slot, pointer(at), crosses ? instruction_bytes : std::min(left, instruction_bytes));
    file.write(slot, sizeof slot);
  }
  file.close();
  std::map<std::string, int> names;
  size_t seen = 0;
  for (const std::string& line :
       test::lines_of("objdump -D -z -b binary -m i386:x86-64 --no-show-raw-insn " + scratch.file("code"))) {
    test::Instruction i;
    if (!test::parse_instruction(line, i) || i.address % slot_bytes != 0) continue;
    ++seen;
    EXPECT_EQ(i.text.find("(bad)"), std::string::npos) << i.text;
    if (test::is_floating_point(i.name)) ++names[i.name];
  }
  EXPECT_EQ(seen, used);
  return names;
}

bool has_objdump() { return !test::lines_of("objdump --version").empty(); }

/// Runs a program that has a border at both ends; what it executed between them is in `addresses`.
void trace(const Program& program) {
  ThreadPool pool(1);
  Executor executor(program, pool);
  const std::vector<int32_t> tokens{3, 14};
  KvCache cache = program.cache(16);
  std::memset(addresses, 0, sizeof addresses);
  used = 0;
  steps = 0;
  struct sigaction action {
  }, before{};
  action.sa_sigaction = on_step;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGTRAP, &action, &before);
  if (program.encoder) {
    executor.encode(tokens);
  } else {
    executor.run(tokens, cache, Want::all);
  }
  sigaction(SIGTRAP, &before, nullptr);
  ASSERT_GT(steps, 5000);
  ASSERT_LT(used, most_addresses / 2);
}

/// A program with borders before its first node and before the one that makes floats.
Program bordered(Program program) {
  const auto border = std::find_if(program.nodes.begin(), program.nodes.end(),
                                   [](const Node& n) { return n.op == &to_floats_op; });
  insert_node(program, static_cast<size_t>(border - program.nodes.begin()), end_op);
  insert_node(program, 0, begin_op);
  return program;
}

struct Traced {
  const char* name;
  Arch arch;
  Hparams hparams;
};

Hparams tiny_hparams() {
  Hparams h = test::small_hparams();
  h.hidden = 16;
  h.heads = 2;
  h.kv_heads = 1;
  h.ffn = 20;
  h.layers = 1;
  h.vocab = 20;
  return h;
}

std::vector<Traced> traced_models() {
  // Everything that decoders have beside a LLaMA's operations: layer norms, biases, learned positions, the
  // GELU by its hyperbolic tangent, caps, windows.
  Traced gpt{"gpt_like", test::gpt_like(), tiny_hparams()};
  gpt.hparams.attn_softcap = 20;
  gpt.hparams.logit_softcap = 30;
  gpt.hparams.window = 1;
  Traced experts{"experts", test::llama_like(), tiny_hparams()};
  experts.hparams.experts = 3;
  experts.hparams.experts_used = 2;
  experts.hparams.expert_ffn = 12;
  return {experts,
          {"llama_like", test::llama_like(), tiny_hparams()},
          gpt,
          {"bert_like", test::bert_like(), tiny_hparams()}};
}

Program integer_program(const Traced& model, ThreadPool& pool) {
  const auto source = test::quantized(test::all_weights(model.hparams, model.arch), "int8:channel");
  const ActivationPlan plan{ActivationScheme::parse("integer-only"), {}, {}};
  return build_program(model.arch, model.hparams, source, pool, {.activations = &plan});
}

TEST(NoFloatingPoint, NoneIsExecutedBetweenTokensAndLogits) {
  if (!has_objdump()) GTEST_SKIP() << "needs objdump";
  ThreadPool pool(1);
  for (const Traced& model : traced_models()) {
    const IsaLevel usual = isa_level();
    for (const IsaLevel level : isa_levels()) {
      set_isa_level(level);
      trace(bordered(integer_program(model, pool)));
      EXPECT_EQ(floating_point(), (std::map<std::string, int>{})) << model.name << " " << isa_name(level);
      std::printf("[          ] %-10s %-7s %6ld steps at %5zu addresses\n", model.name,
                  isa_name(level).data(), steps, used);
    }
    set_isa_level(usual);
  }
}

TEST(NoFloatingPoint, OneInstructionIsFound) {
  if (!has_objdump()) GTEST_SKIP() << "needs objdump";
  ThreadPool pool(1);
  Program program = bordered(integer_program(traced_models()[1], pool));
  insert_node(program, program.nodes.size() / 2, halve_op);
  trace(program);
  const auto names = floating_point();
  ASSERT_EQ(names.count("mulss"), 1u);
  EXPECT_EQ(names.at("mulss"), 1);
  EXPECT_LE(names.size(), 2u) << "no more than a product and a conversion were planted";
}

TEST(NoFloatingPoint, TheSameModelInFloatsUsesMany) {
  if (!has_objdump()) GTEST_SKIP() << "needs objdump";
  ThreadPool pool(1);
  const Traced model = traced_models()[1];
  const auto source = test::quantized(test::all_weights(model.hparams, model.arch), "int8:channel");
  Program program = build_program(model.arch, model.hparams, source, pool);
  insert_node(program, program.nodes.size(), end_op);
  insert_node(program, 0, begin_op);
  trace(program);
  EXPECT_GT(floating_point().size(), 5u);
}

// Models of every architecture are too large to be followed step by step. But a floating-point operation
// whose result is rounded leaves a mark in MXCSR, and on real numbers most are.
constexpr unsigned exceptions = 0x3f;
unsigned marks = 0;
const Op clear_marks_op{.name = "clear marks",
                        .shape = one_cell,
                        .forward = [](const Node&, RunContext&, std::span<const Value>,
                                      std::span<const Value>) { _mm_setcsr(_mm_getcsr() & ~exceptions); }};
const Op read_marks_op{.name = "read marks",
                       .shape = one_cell,
                       .forward = [](const Node&, RunContext&, std::span<const Value>,
                                     std::span<const Value>) { marks = _mm_getcsr() & exceptions; }};

TEST(NoFloatingPoint, EveryArchitectureLeavesNoMark) {
  std::vector<int32_t> ids(70);
  std::iota(ids.begin(), ids.end(), 0);
  ThreadPool pool(1);
  const ActivationPlan plan{ActivationScheme::parse("integer-only"), {}, {}};
  int models = 0;
  for (const auto& folder :
       std::filesystem::directory_iterator(test::source_dir() / "tests/data/goldens/arch")) {
    if (!folder.is_directory()) continue;
    const Checkpoint checkpoint = open_checkpoint(folder.path().string());
    const test::QuantizedCheckpoint weights(checkpoint, models % 2 == 0 ? "int8:channel" : "int8:g8:asym");
    ++models;
    const auto marks_of = [&](const ActivationPlan* activations) {
      Program program =
          build_program(checkpoint.arch(), checkpoint.hparams(), weights, pool, {.activations = activations});
      insert_node(program, program.nodes.size() - (activations != nullptr ? 1 : 0), read_marks_op);
      insert_node(program, 0, clear_marks_op);
      Executor executor(program, pool);
      KvCache cache = program.cache(128);
      const auto tokens = std::span(ids).first(
          static_cast<size_t>(std::min<int64_t>(70, program.context > 0 ? program.context : 70)));
      marks = exceptions;
      if (program.encoder) {
        executor.encode(tokens);
      } else {
        executor.run(tokens, cache, Want::all);
      }
      return marks;
    };
    EXPECT_EQ(marks_of(&plan), 0u) << folder.path();
    EXPECT_NE(marks_of(nullptr), 0u) << folder.path() << " in floats";
  }
  EXPECT_GE(models, 15);
}

}  // namespace
}  // namespace nibble

#endif
