// Anomalies: an isolation forest (Liu, Ting, Zhou: Isolation Forest, ICDM 2008) per vital's series,
// retrained on a sliding window.
//
// Definitions, as in the paper and scikit-learn: path length h(x) with the correction
// c(n) = 2 H(n-1) - 2 (n-1)/n for leaves that hold n > 1 samples; anomaly score
// s(x) = 2^(-E[h(x)] / c(psi)); score_samples = -s; offset = the `contamination` quantile of
// score_samples over the training rows (-0.5 when contamination is 0, "auto");
// decision_function = score_samples - offset: negative is anomalous.
//
// IsolationForest is exact and deterministic for a seed. As in scikit-learn features are compared
// as 32-bit floats: rows are rounded first (values beyond a float are held at its largest), so
// callers shift large values near zero themselves. Growing: `subsample` rows without replacement
// per tree, depth at most ceil(log2(subsample)), a feature drawn among those that are not constant
// in the node, a threshold uniform between its least and largest value there, left when
// value <= threshold. Offsets differ between models: decision functions of two series do not
// compare.
//
// AnomalyDetector: two looks at every vital.
//
// Every tick the forest: features are the value and its distance from the level of the last minute.
// `anomaly_score` is the decision function, but a negative one alone is not an anomaly (the
// contamination makes a tenth of all points negative): the row must besides be stranger than the
// whole training window (lower than its lowest score by 0.02, or outside its range by a quarter of
// it), far enough to matter (2 % of the vital's natural range, else 5 % of its size), and so three
// times in a row. Constant series never are. A model is learnt anew after `retrain`, or when its
// window has grown by a sixth. Only rows that stand apart are asked of a forest, which is grown
// along their way alone and not kept: a vital's memory is the same in calm and in trouble. Where
// more than 16 ask in a tick they take turns.
//
// Every minute the detectors of rows (detect.hpp): each vital's, and the host's over the vitals
// together, as a whole ("host_anomaly" with scope="host") and by subsystem (scope="cpu", ...).
// Half of `alarms_per_day` belongs to single vitals, a quarter to the host, a quarter to its
// subsystems. What they have learnt is kept in the state database.
//
// Either look's strange vital is one entry of anomalies() and one finding "<vital>_anomaly" (info;
// warning when it lies outside the range by all of it) until five minutes have been quiet. What has
// been strange before at this time of the day, and what people called noise, is no news to either
// (nexus_anomaly_known_total). The forest begins at most ten episodes beyond `alarms_per_day`; more
// are counted (nexus_anomaly_over_budget_total) and not told.
//
// Thread safety: a fitted forest is immutable and may be scored by many threads; the detector's
// tick() from one thread, the rest from any.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nexus/analyze/book.hpp"
#include "nexus/analyze/rules.hpp"

namespace nexus::analyze {

/// Average path length of an unsuccessful search in a binary search tree of n nodes.
[[nodiscard]] double average_path_length(double n) noexcept;

class IsolationForest {
 public:
  struct Options {
    std::uint32_t trees = 100;
    std::uint32_t subsample = 256;
    double contamination = 0.1;  // 0: "auto"
    std::uint64_t seed = 1;
    bool operator==(const Options&) const = default;
  };
  /// A node of a given tree, for known-answer tests: children -1 for a leaf.
  struct Node {
    std::int32_t feature = -1;
    double threshold = 0;  // left: value <= threshold
    std::int32_t left = -1;
    std::int32_t right = -1;
    std::uint32_t samples = 0;  // of the subsample in a leaf
  };

  static constexpr std::size_t kMaxDimensions = 256;
  static constexpr std::uint32_t kMaxSubsample = 32'768;

  /// `rows` holds n x dimensions values, row by row; all finite (else kInvalidArgument), n at
  /// least 2.
  [[nodiscard]] static Result<IsolationForest> fit(std::span<const double> rows,
                                                   std::size_t dimensions, const Options& options);
  /// score_samples of `row`, bit by bit as the forest has it that fit(rows, row.size(), options)
  /// grows: only the way of this row through it is, and nothing is kept.
  [[nodiscard]] static Result<double> score_samples_of(std::span<const double> row,
                                                       std::span<const double> rows,
                                                       const Options& options);
  /// A forest of given trees (test vectors).
  [[nodiscard]] static IsolationForest from_trees(const std::vector<std::vector<Node>>& trees,
                                                  std::size_t dimensions, std::uint32_t subsample,
                                                  double offset);

  [[nodiscard]] double path_length(std::span<const double> row) const;    // E[h(x)]
  [[nodiscard]] double anomaly_score(std::span<const double> row) const;  // s(x), 0 to 1
  [[nodiscard]] double score_samples(std::span<const double> row) const {
    return -anomaly_score(row);
  }
  [[nodiscard]] double decision_function(std::span<const double> row) const {
    return score_samples(row) - offset_;
  }
  [[nodiscard]] double offset() const noexcept { return offset_; }
  /// The least score_samples of the rows it was fitted to; 0 for given trees.
  [[nodiscard]] double lowest_score() const noexcept { return lowest_score_; }
  [[nodiscard]] std::size_t dimensions() const noexcept { return dimensions_; }
  [[nodiscard]] std::size_t bytes() const noexcept;

 private:
  /// 8 bytes. An inner node: `cut` is the threshold, `child` the left child within its tree, the
  /// right one follows it. A leaf: `cut` is a NaN whose low bits index leaf_paths_, `child` the
  /// leaf itself, so that a walk that goes on stays.
  struct FlatNode {
    float cut;
    std::uint16_t child;
    std::uint16_t feature;
  };
  struct Tree {
    std::uint32_t root = 0;
    std::uint32_t depth = 0;  // edges to the deepest leaf
  };
  class Flattener;
  class Grower;

  [[nodiscard]] static Result<Grower> grower(std::span<const double> rows, std::size_t dimensions,
                                             const Options& options);
  [[nodiscard]] double path_length(const float* row) const noexcept;

  std::vector<FlatNode> nodes_;
  std::vector<Tree> trees_;
  std::vector<double> leaf_paths_;  // distinct values of depth + c(samples)
  std::size_t dimensions_ = 1;
  double normalizer_ = 1;  // c(psi)
  double offset_ = -0.5;
  double lowest_score_ = 0;
};

/// A group of processes that changed together with what was strange.
struct ProcessPart {
  std::string group;
  std::string resource;  // cpu, memory, io
  std::string unit;      // processors, bytes, bytes_per_second
  double share = 0;      // of all groups' change of that resource
  double usual = 0;      // over the hour before
  double present = 0;
  std::optional<double> started_seconds_ago;  // its oldest process, when that is news
};

/// A vital that made a row of the host strange.
struct VitalPart {
  std::string metric_name;
  knowledge::Labels labels;  // without __name__
  double share = 0;
  double usual = 0;
  double present = 0;
};

struct Anomaly {
  std::uint64_t id = 0;  // for a verdict
  std::string metric_name;
  knowledge::Labels labels;  // without __name__
  WallTime time{};
  double value = 0;
  double anomaly_score = 0;           // decision function
  std::optional<double> probability;  // of such a minute, by the past; of an alarm by the minute
  Severity severity = Severity::kInfo;
  std::string subject;  // what it is about, as its finding says
  std::string description;
  std::vector<std::string> recommended_actions;
  std::vector<VitalPart> contributors;  // of the host's anomalies; most first
  std::vector<ProcessPart> processes;   // most first
  std::optional<bool> real;             // what people said; noise is not listed
};

struct ModelStatus {
  std::string metric_name;
  knowledge::Labels labels;
  bool ready = false;
  std::string state;    // "ready", "ready: constant so far", "warming up: 12 of 256 samples"
  WallTime trained{};   // of the host's models ("host_anomaly") none: they learn every minute
  double progress = 0;  // of the warm-up of the minutes' detector, 0 to 1
};

class AnomalyDetector {
 public:
  /// With a database the minutes' detectors are kept in it over restarts.
  AnomalyDetector(Clock& clock, const knowledge::Queryable& data, Book& book,
                  knowledge::SelfMetrics& self, knowledge::StateDb* db = nullptr);
  ~AnomalyDetector();
  /// Takes effect with the next tick.
  void configure(const config::AnomalySection& section);
  /// If `interval` has passed since the last time (else nothing): scores the present value of every
  /// series of every vital that wants it, and trains what is due, a few per tick.
  void tick(const VitalsSnapshot& vitals);
  /// What people say of an anomaly of the last hour; kNotFound when there is none. Takes effect
  /// with the next tick: noise ends it, takes it off the list and is not told again, real lowers
  /// what is asked for. The last verdict counts, as if it were the only one.
  [[nodiscard]] Status judge(std::uint64_t id, bool real);
  /// Writes all detectors to the database; for the end. From the ticking thread or after its end.
  [[nodiscard]] Status save();
  /// Anomalies that began or went on in the last hour, newest first, at most 1000. Both lists are
  /// replaced only when they change.
  [[nodiscard]] std::shared_ptr<const std::vector<Anomaly>> anomalies() const;
  [[nodiscard]] std::shared_ptr<const std::vector<ModelStatus>> models() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::analyze
