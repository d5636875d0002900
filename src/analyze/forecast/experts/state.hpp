// What Combination keeps, and the steps of one row; see nexus/analyze/combination.hpp.
#pragma once

#include <array>
#include <vector>

#include "analyze/forecast/experts/histogram.hpp"
#include "analyze/forecast/experts/ridge.hpp"
#include "analyze/forecast/experts/smoothers.hpp"
#include "analyze/forecast/experts/tuning.hpp"
#include "analyze/forecast/experts/value_ring.hpp"
#include "nexus/analyze/combination.hpp"

namespace nexus::analyze {

/// The experts; the seasonal ones follow each other per season.
enum Expert : std::size_t {
  kLast,
  kMeanFast,
  kMeanQuick,
  kMeanSlow,
  kMeanSlowest,
  kMedian12,
  kMedian48,
  kDampedTrendExpert,
  kTheta,
  kLine,
  kRidge,
  kFirstSeasonal,
};
enum SeasonExpert : std::size_t {
  kNaive,
  kNaiveSlow,
  kNaiveFast,
  kProfileSlow,
  kProfileQuick,
  kProfileLast,
  kProfileRatio,
  kSeasonExperts,
};
inline constexpr std::size_t kSeasonRidge = kFirstSeasonal + kSeasonExperts * Seasons::kCount;
inline constexpr std::size_t kExperts = kSeasonRidge + 1;
using Opinions = std::array<float, kExperts>;  // NaN: none

struct Combination::State {
  /// A forecast that waits for its row.
  struct Waiting {
    float mean = 0;
    std::array<ShortFloat, 4> ends{};  // lo80, hi80, lo95, hi95, from the mean
    ShortFloat ridge{};                // from the mean
    ShortFloat season_ridge{};
    ShortFloat size{};
    ShortFloat plain{};  // size without the hour of the day

    [[nodiscard]] float end(std::size_t i) const { return mean + lengthen(ends[i]); }
  };
  /// How large errors are at an hour of the day, against the usual.
  struct Hour {
    float count = 0, size = 1;
  };
  struct Record {
    float count = 0, error = 0, last = 0, seasonal = 0, in80 = 0, in95 = 0, tolerated = 0;
  };

  /// How alike the errors of a lead are from row to row.
  struct Echo {
    float last = 0, square = 0, product = 0;  // in sizes
  };

  explicit State(const Shape& the_shape);

  // One row.
  bool add(std::int64_t slot, double value);
  void take(float z, bool learn);
  void verify(float z);
  void verify_lead(std::size_t j, float z);
  void judge(std::size_t j, const Opinions& opinions, float z);
  void score(std::size_t j, const Waiting& was, float z);
  void learn_burst(float off, float count);
  void learn_unrest(float off);
  void follow_misses(std::size_t j, const std::array<bool, 4>& missed);
  void issue();
  void refresh(std::size_t j);
  void watch_level(float z);
  void store(float z);
  void finish_season(std::size_t season);

  // Answers.
  [[nodiscard]] ForecastPoint point(std::uint32_t lead) const;
  [[nodiscard]] Opinions opinions(const RowState& r, std::uint32_t lead, std::size_t ahead) const;
  [[nodiscard]] float mix(std::size_t j, const Opinions& opinions) const;
  void features(const RowState& r, std::size_t row_back, std::uint32_t lead, std::size_t ahead,
                std::array<float, Ridges::kFeatures>& x, bool& seasonal) const;
  [[nodiscard]] float size(std::size_t j) const;
  [[nodiscard]] float hour_factor(std::size_t ahead) const;
  [[nodiscard]] std::size_t hour_of(std::size_t ahead) const;
  void learn_hour(std::size_t j, const Waiting& was, float off);
  [[nodiscard]] Opinions relative_errors(std::size_t j) const;
  void admit_seasons(std::size_t j, Opinions& relative) const;
  void refresh_weights(std::size_t j);
  void refresh_quantiles(std::size_t j);
  void learn_echo(std::size_t j, float units);
  [[nodiscard]] double independent(std::size_t j) const;
  void forget();
  [[nodiscard]] float bounded(float z) const;

  // Places in rings. `ago` rows before the last one stored; ahead > 0: after it (for seasons only).
  [[nodiscard]] float value_at(std::size_t ago) const { return values.at(ago); }
  [[nodiscard]] const PackedRow& row_at(std::size_t ago) const;
  [[nodiscard]] float naive(std::size_t season, std::uint32_t lead, std::size_t ahead) const;
  [[nodiscard]] float profile(std::size_t season, std::int64_t slot) const;
  [[nodiscard]] float scaled(float usual_then, float usual_now, float now) const;
  [[nodiscard]] std::uint32_t last_lead() const { return shape.leads.back(); }

  template <typename Archive>
  void archive(Archive& a);
  void shape_of(std::vector<std::int64_t>& out) const;

  Shape shape;
  Seasons seasons;
  std::size_t leads;

  std::uint64_t rows = 0;   // taken, filled ones too
  std::uint64_t known = 0;  // with a value
  std::int64_t slot = 0;    // of the last row
  double anchor = 0;        // z = value - anchor
  float lowest = 0;         // z seen
  float highest = 0;
  double scale = 0;            // mean absolute change from row to row
  std::uint32_t outliers = 0;  // in a row
  std::uint64_t change_count = 0;
  float quick_error = 0;  // of the first lead, of late
  float burst = 1;        // that against the usual, as it counts
  std::array<Hour, 24> hours{};
  std::array<float, 2> surprise{};  // of error sizes, without and with the hour of the day
  double spread = 0;                // mean absolute distance from the slowest level
  std::int32_t side = 0;            // rows that stand out on one side, with its sign

  ValueRing values{0};            // z
  RowState present{};             // what is known at the last row
  std::vector<PackedRow> states;  // ring, as far as the last lead
  std::vector<float> profiles;    // of all seasons, one after the other
  std::array<std::uint32_t, Seasons::kCount> profile_at{};
  std::array<std::uint32_t, Seasons::kCount> profile_seasons{};  // learnt so far
  Smoothers smoothers;
  Ridges ridges;
  std::vector<Waiting> waiting;  // rings, one a lead of its length
  std::vector<std::uint32_t> waiting_at;
  std::vector<float> errors;          // leads x experts: mean absolute error
  std::vector<float> references;      // the last value's over the same rows
  std::vector<std::uint16_t> counts;  // rows verified, no more than fit
  std::vector<ShortFloat> weights;
  std::vector<float> sizes;                     // mean absolute error, a lead
  std::vector<std::array<float, 4>> levels;     // adaptive tails: lo80, hi80, lo95, hi95
  std::vector<std::array<float, 4>> quantiles;  // in sizes
  std::vector<Record> record;
  std::vector<Echo> echoes;
  std::vector<float> unrest;  // size of the next row's errors of late, against the usual, a lead
  Histograms histograms;
};

}  // namespace nexus::analyze
