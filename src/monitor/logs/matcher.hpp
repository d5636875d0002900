// LogMatcher: the patterns of one [[log]], and what their matches add up to.
//
// All patterns are looked for at once (one automaton over the line); only those that match and have
// groups are run alone. RE2: the time is linear in the line, whatever it and the pattern are. A
// series is a pattern and the values of its labels; at most max_series, more are dropped and
// counted. Thread safety: one thread.
#pragma once

#include <re2/re2.h>
#include <re2/set.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "monitor/run_sink.hpp"
#include "nexus/config/sources.hpp"
#include "nexus/knowledge/exposition_reader.hpp"

namespace nexus::monitor {

struct LogCounts {
  std::uint64_t lines = 0;
  std::uint64_t matched = 0;  // lines, by any pattern
  std::uint64_t long_lines = 0;
  std::uint64_t dropped = 0;    // matches of series over max_series
  std::uint64_t no_number = 0;  // matches whose value is none
  bool operator==(const LogCounts&) const = default;
};

class LogMatcher {
 public:
  static constexpr std::size_t kLongestLine = 8192;
  static constexpr std::size_t kLongestValue = 128;  // of a label

  [[nodiscard]] static Result<std::unique_ptr<LogMatcher>> compile(const config::LogConfig& config);

  /// A line without its end, at most kLongestLine bytes of it.
  void take(std::string_view line);
  void count_long() noexcept { ++counts_.long_lines; }
  void add_to(Sink& sink, knowledge::SeriesRegistry& registry) const;
  [[nodiscard]] const LogCounts& counts() const noexcept { return counts_; }
  [[nodiscard]] std::size_t series() const noexcept { return series_.size(); }

  /// Everything counted so far as text, and back; what no pattern is for any more is passed over.
  [[nodiscard]] std::string save() const;
  void restore(std::string_view saved);

 private:
  struct Pattern {
    config::LogPattern config;
    std::unique_ptr<re2::RE2> regex;
    std::vector<int> labels;       // numbers of groups
    int value = 0;                 // number of a group; 0: none
    int groups = 0;                // that are needed
    std::size_t plain = SIZE_MAX;  // the series without labels
  };
  struct Series {
    std::size_t pattern = 0;
    std::vector<std::string> labels;
    double value = 0;
    double count = 0;
    std::vector<double> buckets;  // not cumulative
    bool seen = false;            // a gauge has a value only then
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return knowledge::key_of(text).first;
    }
  };

  explicit LogMatcher(const config::LogConfig& config) : config_(config) {}
  [[nodiscard]] Status add_pattern(const config::LogPattern& config);
  void hit(std::size_t index, std::string_view line);
  [[nodiscard]] Series* series_of(std::size_t index, const std::vector<re2::StringPiece>& groups);
  [[nodiscard]] std::size_t make_series(std::size_t index, std::vector<std::string> labels);
  void apply(const Pattern& pattern, Series& series, double value);

  const config::LogConfig config_;
  std::vector<Pattern> patterns_;
  std::unique_ptr<re2::RE2::Set> set_;
  std::vector<Series> series_;
  std::unordered_map<std::string, std::size_t, Hash, std::equal_to<>> by_key_;
  LogCounts counts_;
  std::vector<int> hits_;                 // scratch
  std::vector<re2::StringPiece> groups_;  // scratch
  std::string key_;                       // scratch
};

}  // namespace nexus::monitor
