// Holds: those in force, in memory and in the state database (table planner_hold).
//
// Expired ones are forgotten. Bounded: kMost. Thread safety: one thread at a time (the planner's
// mutex) for what is in memory; the static functions touch the database only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "nexus/knowledge/state.hpp"
#include "nexus/plan/hold.hpp"

namespace nexus::plan {

class Holds {
 public:
  static constexpr std::size_t kMost = 1000;

  [[nodiscard]] static Result<std::vector<Hold>> load(knowledge::StateDb& db);
  [[nodiscard]] static Status save(knowledge::StateDb& db, const Hold& hold);
  [[nodiscard]] static Status erase(knowledge::StateDb& db, const std::string& id);
  /// What has expired by `now`.
  [[nodiscard]] static Status prune(knowledge::StateDb& db, WallTime now);
  [[nodiscard]] static Status shift(knowledge::StateDb& db, Millis by);

  void set(std::vector<Hold> all) { all_ = std::move(all); }
  void add(Hold hold) { all_.push_back(std::move(hold)); }
  [[nodiscard]] std::optional<Hold> take(std::string_view id);
  void shift(Millis by);
  void forget_expired(WallTime now);
  [[nodiscard]] std::vector<Hold> in_force(WallTime now) const;  // the one that ends first first
  /// Who holds this remedy off this target, in words.
  [[nodiscard]] std::optional<std::string> reason(const std::string& remedy,
                                                  const std::string& target, WallTime now) const;

 private:
  std::vector<Hold> all_;
};

}  // namespace nexus::plan
