#include "plan/shadow_ledger.hpp"

#include <algorithm>
#include <array>

namespace nexus::plan {
namespace {

using knowledge::SqlValue;

constexpr std::string_view kSelect =
    "SELECT id, remedy, action_type, target, finding, fingerprint, time, resolved, lost FROM "
    "planner_shadow ";

std::vector<ShadowEntry> entries_from(const std::vector<knowledge::Row>& rows) {
  std::vector<ShadowEntry> out;
  for (const auto& row : rows) {
    ShadowEntry entry{.id = row.integer(0),
                      .remedy = row.text(1),
                      .action_type = row.text(2),
                      .target = row.text(3),
                      .finding = row.text(4),
                      .fingerprint = row.text(5),
                      .time = base::from_unix_millis(row.integer(6)),
                      .resolved = std::nullopt,
                      .lost = row.integer(8) != 0};
    if (!row.is_null(7)) entry.resolved = base::from_unix_millis(row.integer(7));
    out.push_back(std::move(entry));
  }
  return out;
}

double seconds(Millis duration) {
  return std::chrono::duration<double>(duration).count();
}

double median(std::vector<double>& values) {
  std::ranges::sort(values);
  const auto middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace

Result<std::vector<ShadowEntry>> ShadowLedger::open_entries(knowledge::StateDb& db) {
  auto rows = db.query(std::string(kSelect) + "WHERE resolved IS NULL AND lost = 0 ORDER BY id");
  if (!rows) return propagate(std::move(rows), "read the shadow ledger");
  return entries_from(*rows);
}

Result<std::vector<ShadowEntry>> ShadowLedger::begun_since(knowledge::StateDb& db, WallTime since) {
  const std::array<SqlValue, 1> values{base::to_unix_millis(since)};
  // The newest entries have the largest ids: no more of them are looked at than there may be.
  auto rows = db.query(std::string(kSelect) + "WHERE time > ? ORDER BY id DESC LIMIT 1000", values);
  if (!rows) return propagate(std::move(rows), "read the shadow ledger");
  return entries_from(*rows);
}

bool ShadowLedger::has(const std::string& fingerprint, const std::string& remedy) const {
  const auto known = open_.find(fingerprint);
  return known != open_.end() && known->second.contains(remedy);
}

Status ShadowLedger::write(knowledge::StateDb& db, const Changes& changes) {
  if (changes.empty()) return {};
  auto ok = db.transaction([&]() -> Status {
    for (const auto& entry : changes.begun) {
      const std::array<SqlValue, 6> values{entry.remedy,      entry.action_type,
                                           entry.target,      entry.finding,
                                           entry.fingerprint, base::to_unix_millis(entry.time)};
      auto id = db.insert(
          "INSERT INTO planner_shadow (remedy, action_type, target, finding, fingerprint, time, "
          "lost) VALUES (?, ?, ?, ?, ?, ?, 0)",
          values);
      if (!id) return propagate(std::move(id));
    }
    for (const auto& end : changes.ended) {
      const std::array<SqlValue, 4> values{
          end.lost ? SqlValue{} : SqlValue{base::to_unix_millis(end.time)},
          static_cast<std::int64_t>(end.lost), end.fingerprint, base::to_unix_millis(end.time)};
      auto done = db.execute(
          "UPDATE planner_shadow SET resolved = ?, lost = ? WHERE fingerprint = ? AND time <= ? "
          "AND resolved IS NULL AND lost = 0",
          values);
      if (!done) return done;
    }
    return {};
  });
  if (!ok) return propagate(std::move(ok), "write the shadow ledger");
  return {};
}

Status ShadowLedger::prune(knowledge::StateDb& db) {
  const std::array<SqlValue, 1> keep{kKeep};
  return db.execute(
      "DELETE FROM planner_shadow WHERE id <= (SELECT MAX(id) FROM planner_shadow) - ?", keep);
}

Result<std::vector<ShadowEntry>> ShadowLedger::list(knowledge::StateDb& db, std::string_view remedy,
                                                    std::size_t limit) {
  const std::array<SqlValue, 3> values{std::string(remedy), std::string(remedy),
                                       static_cast<std::int64_t>(limit)};
  auto rows = db.query(std::string(kSelect) + "WHERE ? = '' OR remedy = ? ORDER BY id DESC LIMIT ?",
                       values);
  if (!rows) return propagate(std::move(rows), "read the shadow ledger");
  return entries_from(*rows);
}

void ShadowLedger::restore(const std::vector<ShadowEntry>& open) {
  for (const auto& entry : open) {
    if (opened_ < kMostOpen && open_[entry.fingerprint].insert(entry.remedy).second) ++opened_;
  }
}

bool ShadowLedger::begin(ShadowEntry entry) {
  if (has(entry.fingerprint, entry.remedy)) return false;
  if (opened_ >= kMostOpen) return false;
  open_[entry.fingerprint].insert(entry.remedy);
  ++opened_;
  changes_.begun.push_back(std::move(entry));
  return true;
}

void ShadowLedger::resolve(const std::string& fingerprint, WallTime time) {
  const auto known = open_.find(fingerprint);
  if (known == open_.end()) return;
  opened_ -= known->second.size();
  open_.erase(known);
  changes_.ended.push_back({.fingerprint = fingerprint, .remedy = {}, .time = time, .lost = false});
}

void ShadowLedger::lose(const std::string& fingerprint, WallTime time) {
  const auto known = open_.find(fingerprint);
  if (known == open_.end()) return;
  opened_ -= known->second.size();
  open_.erase(known);
  changes_.ended.push_back({.fingerprint = fingerprint, .remedy = {}, .time = time, .lost = true});
}

void ShadowLedger::lose_all_but(const std::set<std::string>& firing, WallTime time) {
  for (auto it = open_.begin(); it != open_.end();) {
    if (firing.contains(it->first)) {
      ++it;
      continue;
    }
    changes_.ended.push_back({.fingerprint = it->first, .remedy = {}, .time = time, .lost = true});
    opened_ -= it->second.size();
    it = open_.erase(it);
  }
}

ShadowLedger::Changes ShadowLedger::take() {
  return std::exchange(changes_, {});
}

std::vector<ShadowSummary> summarize(
    const std::vector<ShadowEntry>& entries, WallTime now,
    const std::map<std::string, std::optional<double>>& usual_seconds) {
  struct Sums {
    ShadowSummary summary;
    std::vector<double> ended;
  };
  std::map<std::string, Sums> by_remedy;
  for (const auto& entry : entries) {
    auto& [summary, ended] = by_remedy[entry.remedy];
    const bool first = summary.would_have_acted++ == 0;
    summary.remedy = entry.remedy;
    if (first) summary.action_type = entry.action_type;
    if (first || entry.time < summary.first) summary.first = entry.time;
    summary.last = std::max(summary.last, entry.time);
    if (entry.lost) {
      ++summary.unknown;
      continue;
    }
    const double lasted = std::max(0.0, seconds(entry.resolved.value_or(now) - entry.time));
    if (entry.resolved) {
      ++summary.resolved_by_itself;
      ended.push_back(lasted);
    } else {
      ++summary.still_there;
    }
    const auto usual = usual_seconds.find(entry.action_type);
    const auto takes = usual == usual_seconds.end() ? std::nullopt : usual->second;
    summary.action_seconds = takes;
    summary.saved_seconds += std::max(0.0, lasted - takes.value_or(0));
  }
  std::vector<ShadowSummary> out;
  for (auto& [remedy, sums] : by_remedy) {
    if (!sums.ended.empty()) {
      sums.summary.median_seconds = median(sums.ended);
      sums.summary.longest_seconds = sums.ended.back();
    }
    out.push_back(std::move(sums.summary));
  }
  return out;
}

}  // namespace nexus::plan
