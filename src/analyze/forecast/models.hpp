// What is learnt of each vital's series: two combinations and a fill, fed from the history and kept
// in the state database.
//
// Memory: at most kMostModels; what was not seen for a day is dropped. A few new series a tick are
// learnt from the history, so that a start with many series is spread over time.
// Thread safety: one thread; the views it hands out are immutable.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nexus/analyze/combination.hpp"
#include "nexus/analyze/fill.hpp"
#include "nexus/analyze/forecast.hpp"
#include "nexus/config/analyze.hpp"
#include "nexus/knowledge/queryable.hpp"
#include "nexus/knowledge/self_metrics.hpp"
#include "nexus/knowledge/state.hpp"

namespace nexus::analyze {

/// One scale as it stood at its last step.
struct ScaleView {
  Millis step{};
  std::vector<ForecastPoint> points;  // of the next steps
  std::vector<LeadRecord> records;
  std::vector<std::string> experts;  // per record
};

struct ModelView {
  ScaleView near;  // five minutes, up to an hour
  ScaleView far;   // an hour, up to two days
  std::optional<Capacity> capacity;
  double tolerance = 0;  // 0: a tenth of the value
};

class Models {
 public:
  static constexpr std::size_t kMostModels = 2000;
  static constexpr std::size_t kLearntPerTick = 8;

  explicit Models(const knowledge::Queryable& data,
                  std::optional<knowledge::Counter> refused = std::nullopt)
      : data_(data), refused_(refused) {}

  [[nodiscard]] Status keep(knowledge::StateDb& db);
  /// Once a tick, before the series of it.
  void begin(std::int64_t now);
  /// Takes in what came since; nothing while it waits to be learnt.
  [[nodiscard]] std::shared_ptr<const ModelView> feed(const config::VitalConfig& vital,
                                                      const knowledge::Labels& labels,
                                                      knowledge::SeriesId series);
  /// Writes some of those that changed over an hour ago, or all.
  [[nodiscard]] Status save(bool all);
  [[nodiscard]] std::size_t bytes() const;

 private:
  struct Bucket {
    std::int64_t slot = 0;
    double sum = 0;
    double count = 0;
  };
  struct Model {
    explicit Model(const config::VitalConfig& vital);
    Model(const Model&) = delete;  // `fill` looks at `near`
    Combination near;
    Combination far;
    Fill fill;
    Bucket near_bucket;
    Bucket far_bucket;
    std::int64_t fed = 0;   // up to this time
    std::int64_t seen = 0;  // last tick that named it
    std::int64_t saved = 0;
    bool changed = false;
    std::shared_ptr<const ModelView> view;
  };

  Model* find(const config::VitalConfig& vital, const knowledge::Labels& labels);
  void take(Model& model, std::int64_t time, double value);
  void show(Model& model, const config::VitalConfig& vital, const knowledge::Labels& labels);
  [[nodiscard]] Status write(const std::string& key, Model& model);
  void load(const config::VitalConfig& vital, const std::string& key, Model& model);
  void tell_older();

  const knowledge::Queryable& data_;
  std::optional<knowledge::Counter> refused_;  // series that there was no room for, a tick each
  knowledge::StateDb* db_ = nullptr;
  std::map<std::string, Model, std::less<>> models_;
  knowledge::Column column_;
  std::int64_t now_ = 0;
  std::size_t learnt_ = 0;  // this tick
  std::size_t older_ = 0;   // saved by another version, not told yet
};

}  // namespace nexus::analyze
