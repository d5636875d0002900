// Exposition text as Prometheus's clients serve it, as it streams in: the text format 0.0.4 and
// OpenMetrics 1.0, both with the quoted UTF-8 names of Prometheus 3.
//
// A sample is given as its head (`name{labels}` as written) and its value, so that who has seen a
// head before need not parse it again: key_of() is what to remember it by. A bad line is told with
// its number and the next one is read. Values: what Go's ParseFloat takes, but for hexadecimal
// ones. Bounded: a line may have kMaxLine bytes.
//
// Thread safety: functions are pure; a reader belongs to one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/line_cutter.hpp"
#include "nexus/base/result.hpp"
#include "nexus/knowledge/labels.hpp"
#include "nexus/knowledge/series.hpp"

namespace nexus::knowledge {

enum class ExpositionFormat { kText, kOpenMetrics };

/// By the Content-Type of an answer; everything that is not OpenMetrics is read as text.
[[nodiscard]] ExpositionFormat exposition_format(std::string_view content_type) noexcept;

struct ExpositionSample {
  std::string_view head;  // name and labels, as written
  double value = 0;
  std::optional<std::int64_t> time;  // milliseconds since the epoch
};

/// A line that is neither empty nor a comment. Whether the head is one, parse_exposition_head()
/// says.
[[nodiscard]] Result<ExpositionSample> parse_exposition_line(std::string_view line,
                                                             ExpositionFormat format);
/// The same of what follows a head that is known; the head of what it gives is empty. nullopt when
/// the head goes on in there.
[[nodiscard]] std::optional<Result<ExpositionSample>> parse_after_head(std::string_view rest,
                                                                       ExpositionFormat format);
struct TimedValue {
  double value = 0;
  std::int64_t time = 0;  // milliseconds since the epoch
};
/// The same of OpenMetrics as it is mostly written, at a fraction of the time: one blank, a number
/// of at most 15 digits, one blank, Unix seconds. nullopt when it is anything else, right or wrong.
[[nodiscard]] std::optional<TimedValue> parse_usual(std::string_view rest) noexcept;
/// The labels of a head in the order of the text, the metric's name first, as __name__. No name
/// twice; valid UTF-8.
[[nodiscard]] Result<std::vector<Label>> parse_exposition_head(std::string_view head);

/// 128 bits of a head, keyed once a process: never to be stored.
struct HeadKey {
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  bool operator==(const HeadKey&) const = default;
};
[[nodiscard]] HeadKey key_of(std::string_view head) noexcept;

class ExpositionHandler {
 public:
  virtual ~ExpositionHandler() = default;
  /// An error is told as the line's mistake.
  virtual Status on_sample(const ExpositionSample& sample) = 0;
  virtual void on_type(std::string_view family, MetricType type) = 0;
  virtual void on_help(std::string_view family, std::string_view help) = 0;
  virtual void on_mistake(std::uint64_t line, const std::string& message) = 0;
};

class ExpositionReader {
 public:
  static constexpr std::size_t kMaxLine = 64UL << 10;

  ExpositionReader(ExpositionFormat format, ExpositionHandler& handler)
      : format_(format), handler_(handler) {}

  void feed(std::string_view bytes);
  /// The last line may lack its end.
  void finish();
  [[nodiscard]] std::uint64_t lines() const noexcept { return lines_; }
  /// Whether `# EOF` was there, which OpenMetrics text has to end with.
  [[nodiscard]] bool ended() const noexcept { return ended_; }

 private:
  void line(std::string_view text);
  void comment(std::string_view text);
  void too_long();

  const ExpositionFormat format_;
  ExpositionHandler& handler_;
  base::LineCutter cutter_{kMaxLine};
  bool ended_ = false;
  std::uint64_t lines_ = 0;
};

}  // namespace nexus::knowledge
