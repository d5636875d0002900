// StatsdTable: what statsd messages add up to, and its series at a moment.
//
// Names as statsd_exporter makes them: counters and gauges under their own name; timers (in
// seconds), histograms and distributions as a summary or a histogram; of sets the number of
// different members since the last moment, as a gauge. A name has one type: messages of another are
// refused. A tag called le or quantile is exported_le, exported_quantile where the series has its
// own. Bounded: max_series and the bytes of their labels, members of sets, what is remembered of
// messages; what was not sent for expire_after is forgotten. Thread safety: one thread.
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "monitor/allowance.hpp"
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
};

class StatsdTable {
 public:
  StatsdTable(const config::StatsdSection& section, StatsdMapper mapper,
              knowledge::SeriesRegistry& registry);

  /// Lines of one datagram. Returns what it cost: 1 a line, kNewCost for one never seen before.
  std::uint64_t take(std::string_view datagram, SteadyTime now);
  /// Adds all series to the sink, and forgets what is too old.
  void add_to(Sink& sink, SteadyTime now);
  [[nodiscard]] const StatsdCounts& counts() const noexcept { return counts_; }
  /// The first one since it was asked; empty: none.
  [[nodiscard]] std::string take_mistake() { return std::exchange(first_mistake_, {}); }
  [[nodiscard]] std::size_t series() const noexcept { return series_.size(); }

 private:
  static constexpr std::size_t kReservoir = 512;
  static constexpr std::size_t kMostMembers = 500'000;     // of all sets together
  static constexpr std::size_t kMostRemembered = 8 << 20;  // bytes of messages
  static constexpr std::uint64_t kNewCost = 10;

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

  /// What becomes of messages that look alike.
  struct Fate {
    Series* series = nullptr;
    std::uint64_t StatsdCounts::* counted = nullptr;  // where there is no series
  };
  std::uint64_t take_line(std::string_view line, SteadyTime now);
  [[nodiscard]] Fate fate_of(const StatsdMessage& message);
  [[nodiscard]] Fate make(const StatsdMessage& message);
  [[nodiscard]] static std::vector<knowledge::Label> labels_of(const StatsdMessage& message,
                                                               const MappedName& mapped,
                                                               Shape shape);
  [[nodiscard]] Shape shape_of(StatsdType type, const MappedName& mapped) const;
  void forget_messages();
  void apply(Series& series, const StatsdMessage& message, std::string_view value);
  void observe(Series& series, double value, double times);
  void add(Sink& sink, Series& series);
  void mistake(std::string_view line, const Error& error);

  const config::StatsdSection section_;
  const StatsdMapper mapper_;
  knowledge::SeriesRegistry& registry_;
  std::map<std::string, std::unique_ptr<Series>> series_;  // by name and labels, in that order
  std::map<std::string, std::pair<Shape, std::size_t>, std::less<>>
      shapes_;                   // of names, and how many series
  ByText<Fate> known_;           // by what a message looks like
  std::size_t remembered_ = 0;   // bytes of its keys
  std::size_t label_bytes_ = 0;  // names and labels of all series
  std::size_t members_ = 0;      // of all sets
  bool was_new_ = false;         // the last message was not in known_
  std::string first_mistake_;
  std::string key_;  // scratch
  std::uint64_t random_ = 0x9e3779b97f4a7c15ULL;
  StatsdCounts counts_;
};

}  // namespace nexus::monitor
