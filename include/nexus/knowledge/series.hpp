// SeriesRegistry: every series, interned once to a 32-bit id, and the families (name, type, help)
// they belong to.
//
// Series come and go (devices, mounts): forget() frees the room of those that ended, and its caller
// decides which (the history does, see there). An id that was forgotten is never an id of another
// series as long as anybody could still have it: its place is reused under another generation.
//
// Invariants: (1) an id never changes its meaning: it names its series, or after forget() none; (2)
// references returned by labels() stay valid while a pin() from before is held, without one to the
// end of the forget() after the one that forgot the series, i.e. at least a minute in the agent;
// those by family() as long as the registry lives; (3) interning a known series allocates nothing,
// and a series just interned is spared by the next two forget(); (4) never more than the stated
// number of series: what is over is refused and counted. Thread safety: all members, any thread;
// forget() by one.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/result.hpp"
#include "nexus/knowledge/labels.hpp"

namespace nexus::knowledge {

using SeriesId = std::uint32_t;
using FamilyId = std::uint32_t;

enum class MetricType { kUntyped, kCounter, kGauge, kHistogram, kSummary };
[[nodiscard]] std::string_view to_string(MetricType type) noexcept;  // as in `# TYPE`

struct Family {
  std::string name;
  MetricType type = MetricType::kUntyped;
  std::string help;
};

class SeriesRegistry {
 public:
  explicit SeriesRegistry(std::size_t max_series);
  ~SeriesRegistry();
  SeriesRegistry(const SeriesRegistry&) = delete;
  SeriesRegistry& operator=(const SeriesRegistry&) = delete;

  /// The family of that name, made when it is new. A later type that is not kUntyped counts from
  /// then on, 15 times at most; references from before keep the old one. There are never more than
  /// `max_series` families: interning into one that is over the limit fails with kExhausted.
  FamilyId family(std::string_view name, MetricType type, std::string_view help);
  [[nodiscard]] const Family& family(FamilyId id) const;
  [[nodiscard]] std::size_t families() const;

  /// The series of `family` with these labels (without __name__). `metric` overrides the sample's
  /// name for the _bucket, _sum and _count series of a histogram or summary. kExhausted when the
  /// limit is reached.
  [[nodiscard]] Result<SeriesId> intern(FamilyId family, std::span<const LabelView> labels,
                                        std::string_view metric = {});
  /// The series with exactly these labels, of an untyped family made on demand.
  [[nodiscard]] Result<SeriesId> intern(const Labels& labels);

  /// No labels, and a family without a name, for an id that was forgotten.
  [[nodiscard]] const Labels& labels(SeriesId id) const;
  [[nodiscard]] FamilyId family_of(SeriesId id) const;
  /// The labels for as long as the caller wants them; nullptr for an id that was forgotten.
  [[nodiscard]] std::shared_ptr<const Labels> share(SeriesId id) const;

  /// Whether the id names a series (still). Takes no lock.
  [[nodiscard]] bool known(SeriesId id) const noexcept;
  /// For arrays with something for each series: below limit(). One id at a time has a place.
  [[nodiscard]] std::size_t place(SeriesId id) const noexcept;

  /// Ids of all series that satisfy every matcher, ascending.
  [[nodiscard]] std::vector<SeriesId> select(std::span<const Matcher> matchers) const;

  /// While it is held the labels of no series are freed.
  [[nodiscard]] std::shared_ptr<const void> pin() const;
  /// Forgets those of `ids` that were not interned since the forget() before the last, and leaves
  /// only them in `ids`.
  void forget(std::vector<SeriesId>& ids);
  /// How many so far; unchanged: every id is still what it was. Takes no lock.
  [[nodiscard]] std::uint64_t forgotten() const noexcept;

  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::size_t limit() const noexcept;
  [[nodiscard]] std::uint64_t refused() const;  // interns refused by the limit so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nexus::knowledge
