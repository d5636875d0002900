// Intake: exposition text of one target (or of one group of pushes) into samples of the history.
//
// A head that was seen before costs a hash and a comparison; a new one is parsed, relabelled and
// interned once. Life of a scrape: begin(), feed() as bytes come, finish(), then commit(), or end()
// when the scrape counts as none. Nothing is in the history before commit(). Series of the last
// scrape that are absent in this one end with a stale marker.
//
// Groups of the history: one for each kChunk series, so that a scrape is some batches of bounded
// size. Samples that bring their own time go into a group a series, in ascending order; those have
// no stale markers, as in Prometheus.
//
// Bounded: `budget` series, the bytes of a series' labels and of all of them, and what all sources
// together may hold (Allowance); samples of heads beyond these are counted as dropped. Thread
// safety: one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "monitor/outbox.hpp"
#include "monitor/scrape/relabel.hpp"
#include "nexus/knowledge/exposition_reader.hpp"
#include "nexus/knowledge/history.hpp"

namespace nexus::monitor {

struct IntakeRules {
  LabelList target;  // job, instance, ...: added to every series
  bool honor_labels = false;
  bool honor_timestamps = true;
  /// What is absent ends; otherwise it stays until expire().
  bool replaces = true;
  std::shared_ptr<const Relabeling> relabel = nullptr;
  std::size_t sample_limit = 0;  // this and the others: 0 is none, more fails the scrape
  std::size_t label_limit = 0;
  std::size_t name_length_limit = 0;
  std::size_t value_length_limit = 0;
  std::size_t budget = 20'000;
  Millis retention{24 * 3'600'000};  // older samples are refused
};

/// Of one scrape.
struct IntakeCounts {
  std::uint64_t scraped = 0;   // samples in the text
  std::uint64_t kept = 0;      // after relabelling
  std::uint64_t added = 0;     // series that were not in the last scrape that counted
  std::uint64_t taken = 0;     // samples for the history
  std::uint64_t invalid = 0;   // lines
  std::uint64_t doubled = 0;   // samples of a series that was there already
  std::uint64_t untimely = 0;  // samples in the future, too old, or not newer than the last
  std::uint64_t dropped = 0;   // samples over the budget, or over the registry's limit
  std::string first_mistake = {};
};

class Intake final : private knowledge::ExpositionHandler {
 public:
  static constexpr std::size_t kChunk = 2048;
  static constexpr std::size_t kMostLabelBytes = 8UL << 10;  // of one series

  Intake(knowledge::SeriesRegistry& registry, const knowledge::History& history, Outbox& outbox,
         IntakeRules rules);
  ~Intake() override;
  Intake(const Intake&) = delete;
  Intake& operator=(const Intake&) = delete;

  void begin(knowledge::ExpositionFormat format, std::int64_t now);
  /// False: a limit is exceeded, more need not come. What exceeds sample_limit is counted on.
  bool feed(std::string_view bytes);
  /// An error when the scrape counts as none: a limit, truncated text, or nothing but mistakes.
  [[nodiscard]] Status finish();
  void commit();
  /// All series end at `now`.
  void end(std::int64_t now);
  /// Series that were not seen after `before` end at `now`, and those seen have their last value
  /// once more. For !replaces. Returns how many are still there.
  std::size_t expire(std::int64_t before, std::int64_t now);

  [[nodiscard]] const IntakeCounts& counts() const noexcept { return counts_; }
  [[nodiscard]] std::size_t live() const noexcept { return live_; }

 private:
  enum class Kind : std::uint8_t { kSeries, kAlias, kDropped, kInvalid, kOver };
  struct Entry {
    knowledge::HeadKey key;
    knowledge::SeriesId id = 0;  // of kSeries
    std::uint32_t other = 0;     // of kAlias: the entry of the same series
    std::uint32_t seen = 0;      // round
    Kind kind = Kind::kDropped;
    bool live = false;             // the history has a sample of it that is no stale marker
    bool timed = false;            // this round's sample brought its time
    std::uint8_t label_units = 0;  // of kSeries: its labels' bytes in units of kLabelUnit
  };
  struct TimedSample {
    knowledge::SeriesId id;
    std::int64_t time;
    double value;
  };

  Status on_sample(const knowledge::ExpositionSample& sample) override;
  void on_type(std::string_view family, knowledge::MetricType type) override;
  void on_help(std::string_view family, std::string_view help) override;
  void on_mistake(std::uint64_t line, const std::string& message) override;

  [[nodiscard]] std::uint32_t find(const knowledge::HeadKey& key);
  [[nodiscard]] Status refuse(Error error);
  [[nodiscard]] Result<std::uint32_t> add(std::string_view head, const knowledge::HeadKey& key);
  [[nodiscard]] Result<LabelList> labels_for(std::string_view head);
  [[nodiscard]] Status check_limits(const LabelList& labels) const;
  [[nodiscard]] std::string full_name() const;
  [[nodiscard]] knowledge::FamilyId family_for(std::string_view metric);
  [[nodiscard]] Result<knowledge::SeriesId> intern(const LabelList& labels);
  [[nodiscard]] bool over_budget() const noexcept;
  [[nodiscard]] bool fits(std::size_t units) const noexcept;
  [[nodiscard]] Status count(std::string_view head);
  void push_timed();
  void push_chunks(std::int64_t now, bool repeat);
  void compact();
  void forget_gone();
  void index(std::uint32_t entry);

  knowledge::SeriesRegistry& registry_;
  const knowledge::History& history_;
  Outbox& outbox_;
  const IntakeRules rules_;

  std::vector<Entry> entries_;
  std::vector<double> values_;        // of entries, this round's
  std::vector<std::int64_t> times_;   // of entries, when last seen; only for !replaces
  std::vector<std::uint32_t> slots_;  // open addressing: entry + 1 by key
  std::unordered_map<knowledge::SeriesId, std::uint32_t> owners_;  // entry of a series
  std::unordered_map<knowledge::SeriesId, std::int64_t> timed_;    // last time of its samples
  std::vector<TimedSample> timed_samples_;                         // of this round
  std::vector<std::uint32_t> groups_;                              // of chunks
  std::size_t series_ = 0;                                         // entries that are kSeries
  std::size_t label_units_ = 0;                                    // theirs
  std::size_t seen_ = 0;                                           // of them, in this round
  std::size_t live_ = 0;
  std::uint32_t round_ = 0;
  std::uint32_t committed_ = 0;  // the last round that counted
  std::uint32_t next_ = 0;       // the entry that is expected next
  std::uint64_t forgotten_ = 0;
  std::int64_t now_ = 0;

  std::optional<knowledge::ExpositionReader> reader_;
  knowledge::ExpositionFormat format_ = knowledge::ExpositionFormat::kText;
  IntakeCounts counts_;
  std::string failure_;       // a limit that was exceeded
  bool only_counts_ = false;  // after that limit, which is about the number of samples
  std::string family_;        // of the last # TYPE
  knowledge::MetricType type_ = knowledge::MetricType::kUntyped;
  std::unordered_map<std::string, knowledge::MetricType> types_;  // as last declared, by family
  std::string helped_;                                            // of the last # HELP
  std::string help_;
  std::vector<knowledge::SeriesId> batch_ids_;  // scratch
  std::vector<double> batch_values_;            // scratch
};

}  // namespace nexus::monitor
