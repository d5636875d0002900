// Samples with timestamps from OpenMetrics text, as it streams in.
//
// Lines may be cut anywhere between two feed(); a bad line is told with its number and the next one
// is read. `# TYPE`, `# HELP`, `# UNIT` and exemplars are passed over, and so is every other
// comment; names may be any UTF-8 in quotes (`{"metric.name","label.name"="x"}`); nothing may
// follow `# EOF`. A sample needs a timestamp (Unix seconds with a fraction). Bounded: a line may
// have kMaxLine bytes.
//
// Labels are parsed once for each head of a line (kMaxHeads of them are kept), whether the lines of
// a series follow each other or those of a scrape do: a line's head is compared with that of the
// line before and with the one that followed it the last time. Thread safety: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "nexus/base/line_cutter.hpp"
#include "nexus/base/result.hpp"
#include "nexus/knowledge/labels.hpp"

namespace nexus::knowledge {

class OpenMetricsReader {
 public:
  static constexpr std::size_t kMaxLine = 64UL << 10;
  static constexpr std::size_t kMaxHeads = 20'000;

  /// What is done with a sample; an error is told as the line's. `series` is a number for those
  /// labels, not 0, which no reader of this process uses for others.
  using OnSample = std::function<Status(const Labels& labels, std::uint64_t series,
                                        std::int64_t time_ms, double value)>;
  using OnMistake = std::function<void(std::uint64_t line, std::string message)>;

  OpenMetricsReader(OnSample on_sample, OnMistake on_mistake)
      : on_sample_(std::move(on_sample)), on_mistake_(std::move(on_mistake)) {}

  void feed(std::string_view bytes);
  /// The last line may lack its end.
  void finish();
  [[nodiscard]] std::uint64_t lines() const noexcept { return lines_; }

 private:
  void line(std::string_view text);
  Status sample(std::string_view text);
  struct Known {
    Labels labels;
    std::uint64_t series = 0;
    std::string_view head;  // the key
    Known* next = nullptr;  // whose line came after this one's
  };
  /// Whether the line begins with that head.
  [[nodiscard]] static bool begins_with(std::string_view text, const Known* known) noexcept;
  Status give(Known* known, std::int64_t time, double value);
  Result<Known*> find(std::string_view head);
  void too_long();

  OnSample on_sample_;
  OnMistake on_mistake_;
  base::LineCutter cutter_{kMaxLine};
  bool ended_ = false;       // # EOF was there
  std::uint64_t lines_ = 0;  // read so far
  struct HashText {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>()(text);
    }
  };
  std::unordered_map<std::string, Known, HashText, std::equal_to<>> heads_;
  Known* last_ = nullptr;  // of the line before, in heads_
};

}  // namespace nexus::knowledge
