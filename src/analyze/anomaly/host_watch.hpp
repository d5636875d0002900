// HostWatch: the vitals of the host scored together, a row a minute: all of them, and those of one
// subsystem (the first word of their names: cpu, memory, disk, ...) where there are two or more.
//
// The first series of every vital is a column, at most kMost. Columns are found in the first
// minutes; later ones are taken in once a day, for the models begin anew with them.
//
// Thread safety: one thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nexus/analyze/detect.hpp"
#include "nexus/knowledge/labels.hpp"

namespace nexus::analyze {

class HostWatch {
 public:
  static constexpr std::size_t kMost = 48;
  struct Part {
    std::string metric;
    knowledge::Labels labels;  // without __name__
    double share = 0;
    double usual = 0;
    double present = 0;
  };
  struct Alarm {
    std::string scope;  // "host", or a subsystem
    RowScore score;
    std::size_t columns = 0;
    std::vector<Part> parts;  // most first
  };
  struct Status {
    std::string scope;
    std::uint64_t rows = 0;
    double progress = 0;  // of the warm-up, 0 to 1
    bool ready = false;
  };

  void set_budget(double alarms_a_day);
  /// A vital's minute, and whether that row was unusual by itself.
  void put(const std::string& metric, const knowledge::Labels& labels, std::uint32_t order,
           double value);
  /// All minutes of a turn are there: scores the row. `load` gives a saved state, or nothing.
  using Load = std::function<std::string(const std::string& key)>;
  std::vector<Alarm> close(std::int64_t time, const Load& load);
  /// As HostDetector's.
  double judge(const std::string& scope, bool real, double before);
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> save();
  [[nodiscard]] std::vector<Status> status() const;
  /// Whether the next row may change status().
  [[nodiscard]] bool warming_up() const;
  [[nodiscard]] std::size_t bytes() const;
  /// Saved states that were no good, since the last call.
  [[nodiscard]] std::size_t refused() { return std::exchange(refused_, 0); }

 private:
  struct Column {
    std::string metric;
    knowledge::Labels labels;
    std::uint32_t order = 0;
    double value = 0;
    bool fresh = false;
  };
  struct Scope {
    std::vector<std::string> columns;  // keys
    std::unique_ptr<HostDetector> detector;
    std::vector<double> row;
  };
  void build(const Load& load);
  [[nodiscard]] static std::string key_of(const std::string& scope, const Scope& of);

  double alarms_a_day_ = 1;
  std::map<std::string, Column> columns_;
  std::map<std::string, Scope> scopes_;
  std::size_t built_columns_ = 0;
  std::uint64_t minutes_ = 0;
  std::uint64_t built_at_ = 0;
  std::size_t refused_ = 0;
};

}  // namespace nexus::analyze
