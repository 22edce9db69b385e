// Models larger than the memory they may take. The small case always runs; the large one makes a 7B-shaped
// checkpoint of 13 GB (3 GB where the disk is small) and takes long, so it waits for NIBBLE_LARGE_TESTS=1.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "base/hash.h"
#include "base/mapped_file.h"
#include "cli/program.h"
#include "support/checkpoint_maker.h"
#include "support/scratch.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// A run of the program that is watched, and killed if it takes longer than it may.
struct Watched {
  bool done = false;  ///< ended by itself with success
  double seconds = 0;
  uint64_t peak_private = 0;  ///< bytes of resident memory that is no mapped file
};

uint64_t private_bytes(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::string word;
  while (status >> word) {
    if (word != "RssAnon:") continue;
    uint64_t kib = 0;
    status >> kib;
    return kib * 1024;
  }
  return 0;
}

Watched watch(const std::vector<std::string>& arguments, double kill_after = 1e9) {
  const auto begin = Clock::now();
  const pid_t child = fork();
  if (child == 0) {
    std::vector<char*> argv{const_cast<char*>(NIBBLE_PROGRAM)};
    for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    execv(NIBBLE_PROGRAM, argv.data());
    _exit(127);
  }
  Watched w;
  int status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    w.peak_private = std::max(w.peak_private, private_bytes(child));
    w.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    if (w.seconds >= kill_after) kill(child, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  w.done = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return w;
}

std::string hash_of(const std::string& path) {
  const MappedFile file(path);
  return hash_hex(file.data());
}

TEST(LargeModel, MemoryDoesNotGrowWithTheModel) {
  test::Scratch scratch;
  std::vector<uint64_t> peaks;
  for (const int64_t layers : {4, 24}) {
    test::MadeModel m;
    m.hidden = 512;
    m.ffn = 1536;
    m.layers = layers;
    m.heads = 8;
    m.kv_heads = 8;
    m.vocab = 2048;
    const std::string name = std::to_string(layers);
    test::make_checkpoint(scratch.path() / name, m);
    const Watched w =
        watch({"quantize", scratch.file(name), scratch.file(name + ".gguf"), "q4_0", "--quiet"});
    ASSERT_TRUE(w.done);
    peaks.push_back(w.peak_private);
  }
  // Six times the layers: only their names and journal lines may add to it.
  EXPECT_LT(peaks[1], peaks[0] + (uint64_t{16} << 20)) << peaks[0] << " -> " << peaks[1];
}

TEST(LargeModel, SevenBillionWeightsFitIntoALittleMemoryAndSurviveTenKills) {
  if (std::getenv("NIBBLE_LARGE_TESTS") == nullptr)
    GTEST_SKIP() << "set NIBBLE_LARGE_TESTS=1 to quantize a 13 GB checkpoint and kill the job ten times";
  test::Scratch scratch;
  test::MadeModel m;
  m.hidden = 4096;
  m.ffn = 11008;
  m.heads = 32;
  m.kv_heads = 32;
  m.vocab = 32000;
  m.shard_bytes = uint64_t{4} << 30;
  const bool room = fs::space(scratch.path()).available > uint64_t{26} << 30;
  m.layers = room ? 32 : 6;
  test::make_checkpoint(scratch.path() / "source", m);
  const auto command = [&](const std::string& out) {
    return std::vector<std::string>{"quantize", scratch.file("source"), scratch.file(out), "q4_k_m",
                                    "--quiet"};
  };
  const Watched straight = watch(command("straight.gguf"));
  ASSERT_TRUE(straight.done);
  EXPECT_LT(straight.peak_private, uint64_t{600} << 20);
  std::printf("layers %lld: %.0f s, peak private memory %.1f MB\n", static_cast<long long>(m.layers),
              straight.seconds, static_cast<double>(straight.peak_private) / 1e6);
  const std::string expected = hash_of(scratch.file("straight.gguf"));
  fs::remove(scratch.file("straight.gguf"));

  Rng rng(23);
  int kills = 0;
  double spent = 0;
  while (kills < 10) {
    const double moment = straight.seconds / 8 * static_cast<double>(rng.below(1000)) / 1000;
    const Watched w = watch(command("killed.gguf"), moment);
    EXPECT_LT(w.peak_private, uint64_t{600} << 20);
    spent += w.seconds;
    if (w.done) break;
    ++kills;
    EXPECT_FALSE(fs::exists(scratch.file("killed.gguf")));
    std::printf("killed after %.1f s\n", w.seconds);
  }
  EXPECT_EQ(kills, 10);
  const Watched last = watch(command("killed.gguf"));
  ASSERT_TRUE(last.done);
  std::printf("ten runs of %.0f s in all, then %.0f s to the end\n", spent, last.seconds);
  EXPECT_LT(last.seconds, straight.seconds);  // what was done is not done again
  EXPECT_EQ(hash_of(scratch.file("killed.gguf")), expected);
}

}  // namespace
}  // namespace nibble
