// ShadowLedger: what remedies that only observe would have done (nexus/plan/shadow.hpp), in the
// state database (table planner_shadow).
//
// Bounded: the newest kKeep entries, and at most kMostOpen of them without an end. Writes are
// collected and made by flush(), in one transaction: the ledger is a record for people, which a
// crash may cost its last second. Thread safety: one thread at a time (the planner's mutex) for
// begin, resolve and take; the static functions touch the database only.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "nexus/knowledge/state.hpp"
#include "nexus/plan/shadow.hpp"

namespace nexus::plan {

class ShadowLedger {
 public:
  static constexpr std::int64_t kKeep = 20'000;
  static constexpr std::size_t kMostOpen = 10'000;

  struct Ended {
    std::string fingerprint;
    std::string remedy;  // empty: all
    WallTime time{};
    bool lost = false;
  };
  struct Changes {
    std::vector<ShadowEntry> begun;
    std::vector<Ended> ended;
    [[nodiscard]] bool empty() const noexcept { return begun.empty() && ended.empty(); }
  };

  /// What had no end when the agent stopped.
  [[nodiscard]] static Result<std::vector<ShadowEntry>> open_entries(knowledge::StateDb& db);
  [[nodiscard]] static Status write(knowledge::StateDb& db, const Changes& changes);
  [[nodiscard]] static Status prune(knowledge::StateDb& db);
  [[nodiscard]] static Result<std::vector<ShadowEntry>> list(knowledge::StateDb& db,
                                                             std::string_view remedy,
                                                             std::size_t limit);

  /// Those that began since.
  [[nodiscard]] static Result<std::vector<ShadowEntry>> begun_since(knowledge::StateDb& db,
                                                                    WallTime since);

  void restore(const std::vector<ShadowEntry>& open);
  /// Whether the trouble is in the ledger, without an end.
  [[nodiscard]] bool has(const std::string& fingerprint, const std::string& remedy) const;
  /// False when the trouble is in the ledger already, or the ledger is full of open ones.
  bool begin(ShadowEntry entry);
  void resolve(const std::string& fingerprint, WallTime time);
  /// It was acted upon after all: what would have become of it nobody knows.
  void lose(const std::string& fingerprint, WallTime time);
  /// Open entries whose finding is not among the firing ones: nobody saw how it ended.
  void lose_all_but(const std::set<std::string>& firing, WallTime time);
  [[nodiscard]] Changes take();

 private:
  std::map<std::string, std::set<std::string>> open_;  // fingerprint -> remedies
  std::size_t opened_ = 0;
  Changes changes_;
};

/// One summary a remedy. `usual_seconds` tells how long actions of a type take.
[[nodiscard]] std::vector<ShadowSummary> summarize(
    const std::vector<ShadowEntry>& entries, WallTime now,
    const std::map<std::string, std::optional<double>>& usual_seconds);

}  // namespace nexus::plan
