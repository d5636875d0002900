// The forecast of one series at one step: a weighted combination of cheap experts, with intervals
// from its own past errors. Every row costs the same, whatever came before.
//
// Experts, per lead: the last value; levels (exponential means of four speeds, medians of 12 and 48
// rows); a damped trend (Gardner 1985), the theta method's half drift (Assimakopoulos and
// Nikolopoulos 2000), a discounted least squares line; and per season (hour, day, week, as far as
// the step allows) the value one season ago, the same with a running correction, and a slot profile
// plus level; two ridge regressions per lead over all of these, without and with the season.
//
// Weights: per lead, a power of each expert's mean absolute error there in the past, which fades;
// experts much worse than the best count nothing. A season counts only after it has been verified
// for as long as it lasts (at most a day) and lowered the error: it is never assumed.
//
// Intervals (80 and 95 %): quantiles of the combination's own errors per lead in units of their
// present size, in fading histograms pooled over neighbouring leads, somewhat farther out the fewer
// errors are known that say something new (the conformal rank, held back where it is beyond all),
// and levels that follow the misses (Gibbs and Candes, Adaptive conformal inference, 2021). Their
// present size follows the errors of the next row: near leads the last dozen, far ones more.
//
// A new level (many rows on one side, far out) makes what was learnt before it fade at once.
//
// Rows are numbered by slot = time / step. Missing slots are filled with the forecast, and nothing
// is learnt from them; so are single values out of all proportion. Values are kept as 32-bit floats
// around the first one. No answer is ever NaN or infinite.
//
// Thread safety: none of its own; const members may be called from many threads at once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"

namespace nexus::analyze {

/// One lead of a forecast.
struct ForecastPoint {
  double mean = 0;
  double lo80 = 0;
  double hi80 = 0;
  double lo95 = 0;
  double hi95 = 0;
};

/// How the forecasts of the past did at one lead; fading means.
struct LeadRecord {
  std::uint32_t lead = 0;       // rows
  double verified = 0;          // forecasts that came true or not, fading
  double error = 0;             // mean absolute error of the combination
  double last_value_error = 0;  // of the last value
  double seasonal_error = 0;    // of the value a day ago; 0 before it is known
  double coverage80 = 0;        // share inside the interval
  double coverage95 = 0;
  double within_tolerance = 0;  // share that was off by at most the tolerance
};

class Combination {
 public:
  static constexpr std::size_t kMostLeads = 16;
  static constexpr std::uint32_t kFewestRows = 12;  // before it says anything

  struct Shape {
    Millis step{300'000};
    std::vector<std::uint32_t> leads;  // rows ahead that are learnt, ascending, at most kMostLeads
    double tolerance = 0;              // absolute, for within_tolerance; 0: a tenth of the value
    std::optional<double> minimum;     // natural bounds of the values
    std::optional<double> maximum;
  };
  /// Leads up to `farthest`: up to 12 the first four and every second one, else 12 that grow about
  /// geometrically.
  [[nodiscard]] static std::vector<std::uint32_t> leads_up_to(std::uint32_t farthest);

  explicit Combination(const Shape& shape);
  Combination(Combination&&) noexcept;
  Combination& operator=(Combination&&) noexcept;
  ~Combination();

  /// The value of slot `slot`; NaN (or infinite): missing. A slot that is not after the last one is
  /// refused (false).
  bool add(std::int64_t slot, double value);

  /// Whether there are rows enough.
  [[nodiscard]] bool ready() const noexcept;
  [[nodiscard]] std::uint64_t rows() const noexcept;  // with a value
  [[nodiscard]] std::int64_t last_slot() const noexcept;
  [[nodiscard]] std::uint64_t changes() const noexcept;  // of level, found so far
  /// What is kept of the row `ago` rows before the last one, less base(); a missing one was filled
  /// with its forecast, rows before the first are 0. `ago` is below keeps().
  [[nodiscard]] float kept(std::size_t ago) const noexcept;
  [[nodiscard]] double base() const noexcept;
  [[nodiscard]] std::size_t keeps() const noexcept;
  /// Forecast at any lead from 1 to the last learnt one (further ones get that one's weights).
  [[nodiscard]] ForecastPoint at(std::uint32_t lead) const;
  [[nodiscard]] std::vector<LeadRecord> records() const;
  /// The season in use, "day" or "week+hour", "" for none; by weight, for people.
  [[nodiscard]] std::string seasons() const;
  /// The three experts with most weight at `lead`, e.g. "ridge 0.41, median12 0.22, last 0.1".
  [[nodiscard]] std::string experts(std::uint32_t lead) const;

  [[nodiscard]] std::size_t bytes() const noexcept;
  /// Everything learnt, for load() of a combination of the same shape. Host byte order.
  [[nodiscard]] std::string save() const;
  /// kCorrupt when the text is damaged, kConflict when it was saved by another shape or version.
  [[nodiscard]] Status load(std::string_view saved);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nexus::analyze
