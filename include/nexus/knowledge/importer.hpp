// Importer: OpenMetrics text with timestamps into the history of a running agent.
//
// Where there is a history on disk they go straight there (Backfill), in any order, also of series
// that the agent records: what is held at the same time stays. Where there is none, samples go
// through a ring of their own, in groups of their own (one a series), so that old times are no
// clock steps of a collector; then only series that the history does not hold yet are taken, each
// with ascending times. Both within the history's retention; what is refused is told with its line
// and counted (`nexus_import_samples_total`, `nexus_import_refused_lines_total`), and what was
// taken and is lost is logged and counted (`nexus_import_lost_samples_total`).
//
// Thread safety: all members, any thread; one import() at a time gets through.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/knowledge/backfill.hpp"
#include "nexus/knowledge/history.hpp"
#include "nexus/knowledge/ring.hpp"
#include "nexus/knowledge/self_metrics.hpp"

namespace nexus::knowledge {

struct ImportResult {
  struct Mistake {
    std::uint64_t line = 0;  // from 1
    std::string message;
  };
  std::uint64_t accepted = 0;     // samples written; what still waits a later call counts
  std::uint64_t held = 0;         // of them, those left out because the history had them
  std::uint64_t refused = 0;      // lines, and samples of earlier calls that are lost
  std::uint64_t over_limit = 0;   // of the lines refused, those of series that have no room
  std::vector<Mistake> mistakes;  // the first of what was refused
  /// Lines that were dealt with. Less than the text has: the ring is full; the rest is to be sent
  /// again in a moment.
  std::uint64_t lines = 0;
  std::string obstacle;  // why the disk takes no more; empty: it does
};

class Importer {
 public:
  /// How far ahead of this host's clock a sample may be: clocks elsewhere may be fast.
  static constexpr Millis kMostAhead{60'000};
  static constexpr std::uint32_t kFirstGroup = kFirstImportGroup;
  static constexpr std::size_t kMaxMistakes = 100;

  Importer(Clock& clock, SeriesRegistry& registry, History& history, Rings& rings,
           SelfMetrics& self);

  /// What makes that which was written visible to queries at once: called at the end of an import
  /// to disk. Before the first import().
  void on_written(std::function<void()> show) { show_ = std::move(show); }

  /// kFollows: the rest of the text is to come, so that what is written may wait for it.
  enum class Rest { kNone, kFollows };
  [[nodiscard]] ImportResult import(std::string_view text, Millis retention,
                                    Rest rest = Rest::kNone);
  /// Writes what waits for a rest that never came. Before the history is closed.
  void finish();

 private:
  [[nodiscard]] ImportResult import_to_disk(std::string_view text, Millis retention, Rest rest);
  [[nodiscard]] ImportResult import_to_memory(std::string_view text, Millis retention);
  struct Series {
    SeriesId id = 0;
    std::int64_t last = 0;
  };
  Result<Series*> series(const Labels& labels);
  void tell_lost(std::uint64_t before);

  Clock& clock_;
  SeriesRegistry& registry_;
  History& history_;
  std::shared_ptr<SampleRing> ring_;
  std::function<void()> show_;
  Counter samples_;
  Counter refused_;
  Counter lost_;

  std::mutex mutex_;                                     // guards what follows
  std::unordered_map<SeriesId, std::int64_t> imported_;  // the last time of what came from here
  Series current_;                                       // of the lines being read
  Backfill backfill_;
  SteadyTime keep_alive_at_{};
};

}  // namespace nexus::knowledge
