// StatsdTable: what statsd messages add up to, and its series at a moment.
//
// Names as statsd_exporter makes them: counters and gauges under their own name; timers (in
// seconds), histograms and distributions as a summary or a histogram; of sets the number of
// different members since the last moment, as a gauge. A name has one type: messages of another are
// refused. Bounded: max_series; what was not sent for expire_after is forgotten. Thread safety: one
// thread.
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "monitor/run_sink.hpp"
#include "monitor/statsd/mapper.hpp"
#include "nexus/knowledge/exposition_reader.hpp"

namespace nexus::monitor {

struct StatsdCounts {
  std::uint64_t messages = 0;
  std::uint64_t invalid = 0;
  std::uint64_t unsupported = 0;
  std::uint64_t conflicts = 0;  // of types
  std::uint64_t dropped = 0;    // over max_series
  std::uint64_t mapped_away = 0;
  std::string first_mistake = {};
};

class StatsdTable {
 public:
  StatsdTable(const config::StatsdSection& section, StatsdMapper mapper,
              knowledge::SeriesRegistry& registry);

  /// Lines of one datagram.
  void take(std::string_view datagram, SteadyTime now);
  /// Adds all series to the sink, and forgets what is too old.
  void add_to(Sink& sink, SteadyTime now);
  [[nodiscard]] const StatsdCounts& counts() const noexcept { return counts_; }
  [[nodiscard]] std::size_t series() const noexcept { return series_.size(); }

 private:
  static constexpr std::size_t kReservoir = 512;
  static constexpr std::size_t kMostMembers = 100'000;  // of a set

  enum class Shape { kCounter, kGauge, kSummary, kHistogram, kSet };
  struct Series {
    std::string name;
    std::vector<knowledge::Label> labels;
    Shape shape = Shape::kCounter;
    double scale = 1;  // of timers: milliseconds to seconds
    SteadyTime seen{};
    double value = 0;  // of counters and gauges; the sum of observations
    double count = 0;
    std::vector<double> buckets;    // upper bounds
    std::vector<double> counts;     // of buckets, not cumulative
    std::vector<double> recent;     // a sample of the observations since the last moment
    std::uint64_t observed = 0;     // since the last moment
    std::vector<double> quantiles;  // of the last moment with observations
    std::unordered_set<std::uint64_t> members;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept;
  };
  template <typename T>
  using ByText = std::unordered_map<std::string, T, Hash, std::equal_to<>>;

  void take_line(std::string_view line, SteadyTime now);
  [[nodiscard]] Series* series_of(const StatsdMessage& message);
  [[nodiscard]] Series* make(const StatsdMessage& message);
  void apply(Series& series, const StatsdMessage& message, std::string_view value);
  void observe(Series& series, double value, double times);
  void add(Sink& sink, Series& series);
  void mistake(std::string_view line, const Error& error);

  const config::StatsdSection section_;
  const StatsdMapper mapper_;
  knowledge::SeriesRegistry& registry_;
  std::map<std::string, std::unique_ptr<Series>> series_;  // by name and labels, in that order
  std::map<std::string, std::pair<Shape, std::size_t>, std::less<>>
      shapes_;             // of names, and how many series
  ByText<Series*> known_;  // by what a message looks like; null: to be dropped
  std::string key_;        // scratch
  std::uint64_t random_ = 0x9e3779b97f4a7c15ULL;
  StatsdCounts counts_;
};

}  // namespace nexus::monitor
