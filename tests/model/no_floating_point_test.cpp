// The proof that inference in whole numbers uses no floating point: a process runs a model, its parent
// follows it instruction by instruction from the look-up of the tokens to the logits, through nibble, the C++
// library and the C library alike, and lets objdump name every instruction that was executed.
#include <gtest/gtest.h>

#include "../support/floating_point.h"
#include "../support/scratch.h"
#include "model/executor.h"
#include "model/rewrites/activations.h"
#include "ops/integer/to_floats.h"
#include "quantized_model.h"

#if defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)

#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <fstream>
#include <unordered_map>

namespace nibble {
namespace {

constexpr int64_t slot_bytes = 32;  // two instructions of the greatest length
constexpr uint8_t breakpoint = 0xcc;

/// What was executed, by address: the bytes that stood there.
struct Trace {
  int64_t steps = 0;
  std::unordered_map<uint64_t, std::array<uint8_t, 16>> instructions;
  std::string failure;
};

std::vector<Extent> one_cell(const Node&, std::span<const Extent>) { return {{RowSet::all, 1}}; }
void stop_here(const Node&, RunContext&, std::span<const Value>, std::span<const Value>) {
  asm volatile("int3");
}
const Op border_op{.name = "border", .shape = one_cell, .forward = stop_here};

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

/// Follows a process between two breakpoints. `body` runs in the process.
template <class Body>
Trace follow(const Body& body) {
  Trace trace;
  const pid_t child = fork();
  if (child == 0) {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(9);
    try {
      body();
    } catch (...) {
      _exit(8);
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  const auto stopped = [&] { return WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP; };
  if (!stopped()) {
    trace.failure = WIFEXITED(status) && WEXITSTATUS(status) == 9
                        ? "tracing is not allowed here"
                        : "the process did not come to the first border";
  }
  while (trace.failure.empty()) {
    errno = 0;
    const auto rip =
        static_cast<uint64_t>(ptrace(PTRACE_PEEKUSER, child, offsetof(user_regs_struct, rip), nullptr));
    const auto [it, fresh] = trace.instructions.try_emplace(rip);
    if (fresh) {
      for (size_t i = 0; i < 16; i += sizeof(long)) {
        const long word = ptrace(PTRACE_PEEKTEXT, child, rip + i, nullptr);
        std::memcpy(it->second.data() + i, &word, sizeof word);
      }
    }
    if (it->second[0] == breakpoint) break;
    ++trace.steps;
    if (ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) != 0 || waitpid(child, &status, 0) != child ||
        !stopped())
      trace.failure = "the process did not come to the second border";
  }
  if (WIFSTOPPED(status)) {
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
  }
  return trace;
}

/// The names of the floating-point instructions in it.
std::map<std::string, int> floating_point(const Trace& trace) {
  test::Scratch scratch;
  std::ofstream file(scratch.file("code"), std::ios::binary);
  // Each instruction begins a slot of its own; what follows ends within the slot, whatever it is.
  for (const auto& [address, bytes] : trace.instructions) {
    std::array<char, slot_bytes> slot;
    slot.fill('\x90');
    std::memcpy(slot.data(), bytes.data(), bytes.size());
    file.write(slot.data(), slot_bytes);
  }
  file.close();
  std::map<std::string, int> names;
  size_t seen = 0;
  for (const std::string& line :
       test::lines_of("objdump -D -z -b binary -m i386:x86-64 --no-show-raw-insn " + scratch.file("code"))) {
    test::Instruction i;
    if (!test::parse_instruction(line, i) || i.address % slot_bytes != 0) continue;
    ++seen;
    EXPECT_EQ(i.name.find("(bad)"), std::string::npos) << i.text;
    if (test::is_floating_point(i.name)) ++names[i.name];
  }
  EXPECT_EQ(seen, trace.instructions.size());
  return names;
}

bool can_trace() {
  const Trace t = follow([] {
    asm volatile("int3");
    asm volatile("int3");
  });
  return t.failure.empty() && !test::lines_of("objdump --version").empty();
}

/// A program with borders before its first node and before the one that makes floats.
Program bordered(Program program) {
  const auto border = std::find_if(program.nodes.begin(), program.nodes.end(),
                                   [](const Node& n) { return n.op == &to_floats_op; });
  insert_node(program, static_cast<size_t>(border - program.nodes.begin()), border_op);
  insert_node(program, 0, border_op);
  return program;
}

Trace trace_of(const Program& program) {
  ThreadPool pool(1);
  Executor executor(program, pool);
  const std::vector<int32_t> tokens{3, 14, 15};
  KvCache cache = program.cache(16);
  return follow([&] {
    if (program.encoder) {
      executor.encode(tokens);
    } else {
      executor.run(tokens, cache, Want::all);
    }
  });
}

struct Traced {
  const char* name;
  Arch arch;
  Hparams hparams;
};

std::vector<Traced> traced_models() {
  Hparams h = test::small_hparams();
  std::vector<Traced> all{{"llama-like", test::llama_like(), h}};
  // Everything that other decoders have: layer norms and biases, learned positions, GELU by its hyperbolic
  // tangent, caps, windows.
  Traced gpt{"gpt-like", test::gpt_like(), h};
  gpt.hparams.attn_softcap = 20;
  gpt.hparams.logit_softcap = 30;
  gpt.hparams.window = 2;
  all.push_back(gpt);
  all.push_back({"bert-like", test::bert_like(), h});
  return all;
}

TEST(NoFloatingPoint, BetweenTokensAndLogitsNoneIsExecuted) {
  if (!can_trace()) GTEST_SKIP() << "needs ptrace and objdump";
  const IsaLevel usual = isa_level();
  for (const Traced& model : traced_models()) {
    const test::MapSource source =
        test::quantized(test::all_weights(model.hparams, model.arch), "int8:channel");
    ThreadPool pool(1);
    const ActivationPlan plan{ActivationScheme::parse("integer-only"), {}, {}};
    for (const IsaLevel level : isa_levels()) {
      set_isa_level(level);
      const Program program =
          bordered(build_program(model.arch, model.hparams, source, pool, {.activations = &plan}));
      const Trace trace = trace_of(program);
      ASSERT_EQ(trace.failure, "") << model.name;
      EXPECT_GT(trace.steps, 20000) << model.name;
      EXPECT_EQ(floating_point(trace), (std::map<std::string, int>{}))
          << model.name << " " << isa_name(level);
      RecordProperty(fmt::format("{}_{}_steps", model.name, isa_name(level)), std::to_string(trace.steps));
    }
  }
  set_isa_level(usual);
}

TEST(NoFloatingPoint, OneInstructionIsFound) {
  if (!can_trace()) GTEST_SKIP() << "needs ptrace and objdump";
  const Hparams h = test::small_hparams();
  const test::MapSource source = test::quantized(test::all_weights(h, test::llama_like()), "int8:channel");
  ThreadPool pool(1);
  const ActivationPlan plan{ActivationScheme::parse("integer-only"), {}, {}};
  Program program = bordered(build_program(test::llama_like(), h, source, pool, {.activations = &plan}));
  insert_node(program, program.nodes.size() / 2, halve_op);
  const Trace trace = trace_of(program);
  ASSERT_EQ(trace.failure, "");
  const auto names = floating_point(trace);
  EXPECT_EQ(names.count("mulss"), 1u);
  EXPECT_LE(names.size(), 2u) << "a conversion and a product were planted";
}

TEST(NoFloatingPoint, TheSameModelInFloatsUsesMany) {
  if (!can_trace()) GTEST_SKIP() << "needs ptrace and objdump";
  const Hparams h = test::small_hparams();
  const test::MapSource source = test::quantized(test::all_weights(h, test::llama_like()), "int8:channel");
  ThreadPool pool(1);
  Program program = build_program(test::llama_like(), h, source, pool);
  insert_node(program, program.nodes.size(), border_op);
  insert_node(program, 0, border_op);
  const Trace trace = trace_of(program);
  ASSERT_EQ(trace.failure, "");
  EXPECT_GT(floating_point(trace).size(), 5u);
}

}  // namespace
}  // namespace nibble

#endif
