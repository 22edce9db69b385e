#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace nibble {

/// Shows on standard error how far a long job is: a bar with rate and time left on a terminal, a plain line
/// now and then when piped, nothing when quiet. Safe to call from any thread; draws at most ten times a
/// second.
class Progress {
 public:
  enum class Style : uint8_t { automatic, bar, lines, silent };

  explicit Progress(Style style = Style::automatic);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Begins a job of `total` units. `unit` is printed with the rate; "B" prints as kB, MB, GB.
  void start(std::string title, uint64_t total, std::string unit);
  void advance(uint64_t units, const std::string& detail = {});
  /// Ends the job: the bar goes away or, for lines, a last line tells how long it took.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  void draw(bool last);

  std::mutex mutex_;
  Style style_;
  bool active_ = false;
  std::string title_, unit_, detail_;
  uint64_t total_ = 0, done_ = 0;
  Clock::time_point begin_, drawn_;
};

/// "1.23 GB", "456 kB", "789 B": decimal units, three significant digits.
std::string human_bytes(double bytes);
/// "2 h 05 min", "3 min 20 s", "12 s", "0.4 s".
std::string human_seconds(double seconds);

}  // namespace nibble
