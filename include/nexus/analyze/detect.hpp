// Detectors for rows as they come, the same for live vitals and for `replay`. Nothing is set by
// the series: what is learnt is learnt from its rows.
//
// VitalDetector, one series: half-space trees on the last five values and a memory of sequences of
// quantised values; each score becomes a tail probability against its own past, the surprises
// (-log10) are added, a value beyond the range of the last 16,384 rows adds 3 to 9. A burst counts
// once: a row that does not beat the last 100 rows scores 0. A row is flagged when its probability
// fits the budget of alarms a day (see AlarmBudget) and it is no news (PatternMemory: nightly jobs,
// what people called noise). Memory about 23 KB.
//
// HostDetector, many series together: of each the level, the change over two rows and the
// deviation from a slow mean; standardised, whitened by a slowly learning shrunk covariance that
// learns rows more than twice as strange as usual hardly at all, unless they last a day; the score
// is the mean size of the whitened features, smoothed over five rows. Its probability is that of
// the score's tail against its own past. Columns beyond kBlock are whitened in blocks of kBlock.
//
// Rows with times that are not newer, and values that are not finite, are left out and cost
// nothing (of a HostDetector's row: the value counts as missing, a row of none is left out). Times
// in milliseconds.
//
// Thread safety: one thread a detector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nexus::analyze {

struct RowScore {
  bool ready = false;      // false: warming up; then there is no score
  double progress = 0;     // of the warm-up, 0 to 1
  double score = 0;        // higher is stranger
  double raw = 0;          // a vital's, before bursts count once
  double probability = 1;  // of such a row, by the past
  bool flag = false;       // an alarm
  bool known = false;      // strange enough for an alarm, but no news
};

/// How many false alarms a day are wanted of the whole host; a vital's share is an eighth of it at
/// most, for a host has more than one.
inline constexpr double kVitalShare = 0.125;

class VitalDetector {
 public:
  static constexpr std::uint32_t kMinimum = 100;  // rows before there is a score
  static constexpr std::uint32_t kFull = 350;     // rows until all parts take part

  explicit VitalDetector(double alarms_a_day = 1);
  ~VitalDetector();
  VitalDetector(VitalDetector&&) noexcept;
  VitalDetector& operator=(VitalDetector&&) noexcept;

  /// Scores and learns a row; nothing when it is left out.
  std::optional<RowScore> push(std::int64_t time, double value);

  /// What is usual: the slow mean and the mean distance from it.
  [[nodiscard]] double usual() const noexcept;
  [[nodiscard]] double usual_distance() const noexcept;
  /// Whether a strange value at this time is no news; and to remember one.
  [[nodiscard]] bool knows(double value, std::int64_t time) const noexcept;
  void note(double value, std::int64_t time);
  /// What people said of an alarm at `time`: noise is not told again and raises what is asked for,
  /// real lowers it. Returns by how much; `before` is what an earlier verdict on the same alarm
  /// returned, which this one replaces.
  double judge(std::int64_t time, double value, bool real, double before = 0);
  void set_budget(double alarms_a_day) noexcept;

  [[nodiscard]] double progress() const noexcept;  // of the warm-up, 0 to 1
  [[nodiscard]] std::uint64_t rows() const noexcept;
  [[nodiscard]] std::size_t bytes() const noexcept;
  [[nodiscard]] std::string save();
  /// False, and unchanged, when the bytes are not a detector's of this version.
  [[nodiscard]] bool load(std::string_view bytes);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What a column adds to a host's score.
struct Contribution {
  std::size_t column = 0;
  double share = 0;  // of all, 0 to 1
  double usual = 0;
  double present = 0;
};

class HostDetector {
 public:
  static constexpr std::size_t kBlock = 64;        // columns that are whitened together
  static constexpr std::uint32_t kMinimum = 600;   // rows before there is a score
  static constexpr std::uint32_t kTrusted = 1000;  // and before it raises an alarm

  explicit HostDetector(std::size_t columns, double alarms_a_day = 1);
  ~HostDetector();
  HostDetector(HostDetector&&) noexcept;
  HostDetector& operator=(HostDetector&&) noexcept;

  /// A row of columns() values, NaN where missing.
  std::optional<RowScore> push(std::int64_t time, std::span<const double> row);
  /// What made the last row strange, most first, at most `most`.
  [[nodiscard]] std::vector<Contribution> contributions(std::size_t most) const;
  double judge(bool real, double before = 0) noexcept;  // as VitalDetector's
  void set_budget(double alarms_a_day) noexcept;

  [[nodiscard]] std::size_t columns() const noexcept;
  [[nodiscard]] std::uint64_t rows() const noexcept;
  [[nodiscard]] std::size_t bytes() const noexcept;
  [[nodiscard]] std::string save();
  [[nodiscard]] bool load(std::string_view bytes);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::analyze
