#include "plan/holds.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fnmatch.h>

#include <algorithm>
#include <array>

#include "nexus/base/text.hpp"

namespace nexus::plan {
namespace {

using knowledge::SqlValue;

/// Globs cannot hold a line break (they are refused), so one line each.
constexpr char kBetween = '\n';

bool covers(const std::vector<std::string>& globs, const std::string& target) {
  return std::ranges::any_of(globs, [&](const std::string& glob) {
    return fnmatch(glob.c_str(), target.c_str(), 0) == 0 ||
           fnmatch((glob + ".service").c_str(), target.c_str(), 0) == 0;
  });
}

}  // namespace

Result<std::vector<Hold>> Holds::load(knowledge::StateDb& db) {
  auto rows = db.query("SELECT id, targets, remedy, who, reason, created, until FROM planner_hold");
  if (!rows) return propagate(std::move(rows), "read the holds");
  std::vector<Hold> out;
  for (const auto& row : *rows) {
    Hold hold{.id = row.text(0),
              .targets = {},
              .remedy = row.text(2),
              .who = row.text(3),
              .reason = row.text(4),
              .created = base::from_unix_millis(row.integer(5)),
              .until = base::from_unix_millis(row.integer(6))};
    const std::string globs = row.text(1);
    for (const auto glob : base::split(globs, kBetween)) hold.targets.emplace_back(glob);
    out.push_back(std::move(hold));
  }
  return out;
}

Status Holds::save(knowledge::StateDb& db, const Hold& hold) {
  const std::array<SqlValue, 7> values{hold.id,
                                       fmt::format("{}", fmt::join(hold.targets, "\n")),
                                       hold.remedy,
                                       hold.who,
                                       hold.reason,
                                       base::to_unix_millis(hold.created),
                                       base::to_unix_millis(hold.until)};
  auto ok = db.execute(
      "INSERT INTO planner_hold (id, targets, remedy, who, reason, created, until) "
      "VALUES (?, ?, ?, ?, ?, ?, ?)",
      values);
  if (!ok) return propagate(std::move(ok), "keep a hold");
  return {};
}

Status Holds::erase(knowledge::StateDb& db, const std::string& id) {
  const std::array<SqlValue, 1> values{id};
  auto ok = db.execute("DELETE FROM planner_hold WHERE id = ?", values);
  if (!ok) return propagate(std::move(ok), "end a hold");
  return {};
}

Status Holds::prune(knowledge::StateDb& db, WallTime now) {
  const std::array<SqlValue, 1> values{base::to_unix_millis(now)};
  return db.execute("DELETE FROM planner_hold WHERE until <= ?", values);
}

Status Holds::shift(knowledge::StateDb& db, Millis by) {
  const std::array<SqlValue, 2> values{by.count(), by.count()};
  return db.execute("UPDATE planner_hold SET created = created + ?, until = until + ?", values);
}

std::optional<Hold> Holds::take(std::string_view id) {
  const auto it = std::ranges::find(all_, id, [](const Hold& h) { return std::string_view(h.id); });
  if (it == all_.end()) return std::nullopt;
  auto out = std::move(*it);
  all_.erase(it);
  return out;
}

void Holds::shift(Millis by) {
  for (auto& hold : all_) {
    hold.created += by;
    hold.until += by;
  }
}

void Holds::forget_expired(WallTime now) {
  std::erase_if(all_, [&](const Hold& hold) { return hold.until <= now; });
}

std::vector<Hold> Holds::in_force(WallTime now) const {
  std::vector<Hold> out;
  std::ranges::copy_if(all_, std::back_inserter(out),
                       [&](const Hold& hold) { return hold.until > now; });
  std::ranges::stable_sort(out, {}, &Hold::until);
  return out;
}

std::optional<std::string> Holds::reason(const std::string& remedy, const std::string& target,
                                         WallTime now) const {
  for (const auto& hold : all_) {
    if (hold.until <= now || !covers(hold.targets, target)) continue;
    if (!hold.remedy.empty() && fnmatch(hold.remedy.c_str(), remedy.c_str(), 0) != 0) continue;
    return fmt::format("held by {} until {}Z{}{}", hold.who,
                       base::to_rfc3339(hold.until).substr(0, 19), hold.reason.empty() ? "" : ": ",
                       hold.reason);
  }
  return std::nullopt;
}

}  // namespace nexus::plan
