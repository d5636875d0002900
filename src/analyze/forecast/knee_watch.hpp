// KneeWatch: a KneeTrend for every response whose load is a vital too (knee.hpp says which), fed
// from the history, and what the load's forecast says of it.
//
// Nothing is saved: a trend is learnt from a week of history when it is new. At most kMost.
// Thread safety: one thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "analyze/forecast/outlook.hpp"
#include "nexus/analyze/finding.hpp"
#include "nexus/analyze/knee.hpp"
#include "nexus/analyze/rules.hpp"
#include "nexus/knowledge/queryable.hpp"

namespace nexus::analyze {

class KneeWatch {
 public:
  static constexpr std::size_t kMost = 64;
  static constexpr std::string_view kLoad = "_requests_per_second";

  explicit KneeWatch(const knowledge::Queryable& data) : data_(data) {}

  /// Takes in whole minutes that came since; `tracks` are those of this tick.
  void turn(const VitalsSnapshot& vitals, std::span<const Track> tracks);
  [[nodiscard]] const std::vector<Performance>& all() const noexcept { return all_; }
  /// Loads that reach a knee within the horizon.
  [[nodiscard]] std::vector<Observation> observations(Millis horizon) const;

 private:
  struct Trend {
    KneeTrend trend;
    std::int64_t fed = 0;
    std::int64_t fitted = 0;
    std::int64_t seen = 0;
    std::optional<Knee> knee;
  };
  void feed(Trend& trend, knowledge::SeriesId load, knowledge::SeriesId response);

  const knowledge::Queryable& data_;
  std::map<std::string, Trend> trends_;  // by the response's name and labels
  std::vector<Performance> all_;
  knowledge::Column load_;
  knowledge::Column response_;
  std::int64_t now_ = 0;
};

}  // namespace nexus::analyze
