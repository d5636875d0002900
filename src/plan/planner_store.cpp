#include "plan/planner_store.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "plan/holds.hpp"
#include "plan/shadow_ledger.hpp"

namespace nexus::plan {
namespace {

using knowledge::SqlValue;

constexpr std::array<std::string_view, 6> kMigrations{
    R"sql(
CREATE TABLE planner_pair (
  remedy TEXT NOT NULL, target TEXT NOT NULL, attempts INTEGER NOT NULL, last_end INTEGER NOT NULL,
  cooldown_until INTEGER NOT NULL, open INTEGER NOT NULL, opened INTEGER NOT NULL, why TEXT NOT NULL,
  version INTEGER NOT NULL, PRIMARY KEY (remedy, target)) WITHOUT ROWID;
CREATE TABLE planner_recent (time INTEGER NOT NULL, target TEXT NOT NULL);
CREATE INDEX planner_recent_time ON planner_recent (time);
CREATE TABLE planner_switch (
  id INTEGER PRIMARY KEY CHECK (id = 1), running INTEGER NOT NULL, who TEXT NOT NULL, time INTEGER NOT NULL);
CREATE TABLE decision (
  id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, remedy TEXT NOT NULL, finding TEXT NOT NULL,
  fingerprint TEXT NOT NULL, action_type TEXT NOT NULL, target TEXT NOT NULL, verdict TEXT NOT NULL,
  reason_code TEXT NOT NULL, reason TEXT NOT NULL, action_id TEXT NOT NULL);
)sql",
    "ALTER TABLE planner_pair ADD COLUMN unanswered INTEGER NOT NULL DEFAULT 0",
    // 1 from the decision until its action is in the journal: what an agent that ends may lose.
    "ALTER TABLE decision ADD COLUMN open INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX decision_open ON decision (id) WHERE open = 1",
    "ALTER TABLE planner_pair ADD COLUMN openings INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE planner_recent ADD COLUMN proposal INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE planner_clock (id INTEGER PRIMARY KEY CHECK (id = 1), boot TEXT NOT NULL, "
    "ahead INTEGER NOT NULL)",
    R"sql(
CREATE TABLE planner_hold (
  id TEXT PRIMARY KEY, targets TEXT NOT NULL, remedy TEXT NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL,
  created INTEGER NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE planner_shadow (
  id INTEGER PRIMARY KEY AUTOINCREMENT, remedy TEXT NOT NULL, action_type TEXT NOT NULL, target TEXT NOT NULL,
  finding TEXT NOT NULL, fingerprint TEXT NOT NULL, time INTEGER NOT NULL, resolved INTEGER, lost INTEGER NOT NULL);
CREATE INDEX planner_shadow_open ON planner_shadow (fingerprint) WHERE resolved IS NULL AND lost = 0;
)sql",
    // What messages say was done about a finding.
    "CREATE INDEX decision_fingerprint ON decision (fingerprint, id)"};

constexpr std::string_view kSelectDecisions =
    "SELECT id, time, remedy, finding, fingerprint, action_type, target, verdict, reason_code, "
    "reason, action_id FROM decision ";

SqlValue millis(WallTime time) {
  return base::to_unix_millis(time);
}

WallTime wall(const knowledge::Row& row, std::size_t column) {
  return base::from_unix_millis(row.integer(column));
}

std::vector<Decision> decisions_from(const std::vector<knowledge::Row>& rows) {
  std::vector<Decision> out;
  for (const auto& row : rows) {
    out.push_back({.id = row.integer(0),
                   .time = wall(row, 1),
                   .remedy = row.text(2),
                   .finding = row.text(3),
                   .fingerprint = row.text(4),
                   .action_type = row.text(5),
                   .target = row.text(6),
                   .verdict = row.text(7),
                   .reason_code = row.text(8),
                   .reason = row.text(9),
                   .action_id = row.text(10)});
  }
  return out;
}

Status save_pair(knowledge::StateDb& db, const StoredPair& pair) {
  const auto& s = pair.state;
  const std::array<SqlValue, 11> values{pair.key.remedy,
                                        pair.key.target,
                                        static_cast<std::int64_t>(s.attempts),
                                        millis(s.last_end),
                                        millis(s.cooldown_until),
                                        static_cast<std::int64_t>(s.open),
                                        millis(s.opened),
                                        s.why,
                                        static_cast<std::int64_t>(s.version),
                                        static_cast<std::int64_t>(s.unanswered),
                                        static_cast<std::int64_t>(s.openings)};
  return db.execute(
      "INSERT INTO planner_pair (remedy, target, attempts, last_end, cooldown_until, open, opened, "
      "why, version, unanswered, openings) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (remedy, target) DO UPDATE SET "
      "attempts = excluded.attempts, last_end = excluded.last_end, cooldown_until = "
      "excluded.cooldown_until, "
      "open = excluded.open, opened = excluded.opened, why = excluded.why, version = "
      "excluded.version, unanswered = excluded.unanswered, openings = excluded.openings "
      "WHERE excluded.version > planner_pair.version",
      values);
}

}  // namespace

Result<std::unique_ptr<PlannerStore>> PlannerStore::open(knowledge::StateDb& db) {
  if (auto ok = db.migrate("plan", kMigrations); !ok)
    return propagate(std::move(ok), "planner's tables");
  return std::unique_ptr<PlannerStore>(new PlannerStore(db));
}

Result<std::vector<StoredPair>> PlannerStore::pairs() {
  auto rows = db_.query(
      "SELECT remedy, target, attempts, last_end, cooldown_until, open, opened, why, version, "
      "unanswered, openings FROM planner_pair");
  if (!rows) return propagate(std::move(rows), "read the planner's counters");
  std::vector<StoredPair> out;
  for (const auto& row : *rows) {
    PairState state;
    state.attempts =
        static_cast<std::uint32_t>(std::clamp<std::int64_t>(row.integer(2), 0, 1'000'000));
    state.last_end = wall(row, 3);
    state.cooldown_until = wall(row, 4);
    state.open = row.integer(5) != 0;
    state.opened = wall(row, 6);
    state.why = row.text(7);
    state.version = static_cast<std::uint64_t>(row.integer(8));
    state.unanswered =
        static_cast<std::uint32_t>(std::clamp<std::int64_t>(row.integer(9), 0, 1'000'000));
    state.openings =
        static_cast<std::uint32_t>(std::clamp<std::int64_t>(row.integer(10), 0, 1'000'000));
    out.push_back({{row.text(0), row.text(1)}, std::move(state)});
  }
  return out;
}

Result<std::vector<RecentAction>> PlannerStore::recent(WallTime since) {
  const std::array<SqlValue, 1> values{millis(since)};
  auto rows = db_.query(
      "SELECT time, target, proposal FROM planner_recent WHERE time > ? ORDER BY time", values);
  if (!rows) return propagate(std::move(rows), "read the actions of the last hour");
  std::vector<RecentAction> out;
  for (const auto& row : *rows)
    out.push_back({wall(row, 0), row.text(1),
                   row.integer(2) == 1   ? Counts::kProposal
                   : row.integer(2) == 2 ? Counts::kRequest
                                         : Counts::kAction});
  return out;
}

Result<StoredSwitch> PlannerStore::load_switch() {
  auto rows = db_.query("SELECT running, who, time FROM planner_switch WHERE id = 1");
  if (!rows) return propagate(std::move(rows), "read the kill switch");
  if (rows->empty()) return StoredSwitch{};
  const auto& row = rows->front();
  return StoredSwitch{row.integer(0) != 0, row.text(1), wall(row, 2)};
}

Status PlannerStore::save(const StoredSwitch& state) {
  const std::array<SqlValue, 3> values{static_cast<std::int64_t>(state.running), state.who,
                                       millis(state.time)};
  auto ok = db_.execute(
      "INSERT OR REPLACE INTO planner_switch (id, running, who, time) VALUES (1, ?, ?, ?)", values);
  if (!ok) return propagate(std::move(ok), "keep the kill switch");
  return {};
}

Status PlannerStore::save(const StoredPair& pair) {
  auto ok = save_pair(db_, pair);
  if (!ok)
    return propagate(std::move(ok), "keep the counters of {} on {}", pair.key.remedy,
                     pair.key.target);
  return {};
}

Status PlannerStore::move(const StoredPair& emptied, const StoredPair& filled) {
  auto ok = db_.transaction([&]() -> Status {
    if (auto saved = save_pair(db_, filled); !saved) return saved;
    return save_pair(db_, emptied);
  });
  if (!ok)
    return propagate(std::move(ok), "keep the counters of {} on {} as those of {}",
                     filled.key.remedy, emptied.key.target, filled.key.target);
  return {};
}

Result<std::int64_t> PlannerStore::insert(const Decision& d, bool open) {
  const std::array<SqlValue, 11> values{millis(d.time),
                                        d.remedy,
                                        d.finding,
                                        d.fingerprint,
                                        d.action_type,
                                        d.target,
                                        d.verdict,
                                        d.reason_code,
                                        d.reason,
                                        d.action_id,
                                        static_cast<std::int64_t>(open)};
  return db_.insert(
      "INSERT INTO decision (time, remedy, finding, fingerprint, action_type, target, verdict, "
      "reason_code, reason, "
      "action_id, open) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      values);
}

Result<std::optional<StoredClock>> PlannerStore::load_clock() {
  auto rows = db_.query("SELECT boot, ahead FROM planner_clock WHERE id = 1");
  if (!rows) return propagate(std::move(rows), "read how the clock was set");
  if (rows->empty()) return std::nullopt;
  return StoredClock{rows->front().text(0), Millis(rows->front().integer(1))};
}

Status PlannerStore::save(const StoredClock& clock) {
  const std::array<SqlValue, 2> values{clock.boot, clock.ahead.count()};
  auto ok = db_.execute("INSERT OR REPLACE INTO planner_clock (id, boot, ahead) VALUES (1, ?, ?)",
                        values);
  if (!ok) return propagate(std::move(ok), "keep how the clock is set");
  return {};
}

Status PlannerStore::shift(Millis by, const StoredClock& clock) {
  auto ok = db_.transaction([&]() -> Status {
    const std::array<SqlValue, 3> times{by.count(), by.count(), by.count()};
    auto done = db_.execute(
        "UPDATE planner_pair SET last_end = last_end + ?, cooldown_until = cooldown_until + ?, "
        "opened = opened + ?",
        times);
    if (!done) return done;
    const std::array<SqlValue, 1> one{by.count()};
    done = db_.execute("UPDATE planner_recent SET time = time + ?", one);
    if (!done) return done;
    if (done = Holds::shift(db_, by); !done) return done;
    done = db_.execute("UPDATE planner_shadow SET time = time + ? WHERE resolved IS NULL", one);
    if (!done) return done;
    return save(clock);
  });
  if (!ok) return propagate(std::move(ok), "move the planner's times with the clock");
  return {};
}

Status PlannerStore::intend(const StoredPair* pair, Counts counts, const std::string& account,
                            Decision& decision, const std::vector<Decision>& refused) {
  auto ok = db_.transaction([&]() -> Status {
    if (pair != nullptr) {
      if (auto saved = save_pair(db_, *pair); !saved) return saved;
    }
    const std::array<SqlValue, 3> values{millis(decision.time), account,
                                         static_cast<std::int64_t>(counts)};
    auto counted =
        db_.execute("INSERT INTO planner_recent (time, target, proposal) VALUES (?, ?, ?)", values);
    if (!counted) return counted;
    for (const auto& earlier : refused) {
      if (auto kept = insert(earlier, false); !kept) return propagate(std::move(kept));
    }
    auto id = insert(decision, true);
    if (!id) return propagate(std::move(id));
    decision.id = *id;
    return {};
  });
  if (!ok)
    return propagate(std::move(ok), "write down the intention to {} {}", decision.action_type,
                     decision.target);
  return {};
}

Status PlannerStore::record(const std::vector<Decision>& decisions) {
  if (decisions.empty()) return {};
  auto ok = db_.transaction([&]() -> Status {
    for (const auto& decision : decisions) {
      if (auto id = insert(decision, false); !id) return propagate(std::move(id));
    }
    return {};
  });
  if (!ok) return propagate(std::move(ok), "record {} decisions", decisions.size());
  return {};
}

Status PlannerStore::forget(const PairKey& key) {
  const std::array<SqlValue, 2> values{key.remedy, key.target};
  auto ok = db_.execute("DELETE FROM planner_pair WHERE remedy = ? AND target = ?", values);
  if (!ok) return propagate(std::move(ok), "forget {} on {}", key.remedy, key.target);
  return {};
}

Status PlannerStore::correct(const Decision& d, const std::string& account) {
  auto ok = db_.transaction([&]() -> Status {
    const std::array<SqlValue, 2> counted{millis(d.time), account};
    auto taken_back = db_.execute(
        "DELETE FROM planner_recent WHERE rowid = "
        "(SELECT rowid FROM planner_recent WHERE time = ? AND target = ? ORDER BY rowid DESC LIMIT "
        "1)",
        counted);
    if (!taken_back) return taken_back;
    const std::array<SqlValue, 4> values{d.verdict, d.reason_code, d.reason, d.id};
    return db_.execute(
        "UPDATE decision SET verdict = ?, reason_code = ?, reason = ?, action_id = '', open = 0 "
        "WHERE id = ?",
        values);
  });
  if (!ok) return propagate(std::move(ok), "correct a decision");
  return {};
}

Status PlannerStore::uncount(WallTime made, const std::string& account) {
  const std::array<SqlValue, 3> values{millis(made), account,
                                       static_cast<std::int64_t>(Counts::kProposal)};
  auto ok = db_.execute(
      "DELETE FROM planner_recent WHERE rowid = (SELECT rowid FROM planner_recent WHERE time = ? "
      "AND target = ? AND proposal != ? ORDER BY rowid DESC LIMIT 1)",
      values);
  if (!ok) return propagate(std::move(ok), "take back what {} counted against the rates", account);
  return {};
}

Result<std::vector<Decision>> PlannerStore::decisions(std::size_t limit, std::int64_t before) {
  const std::array<SqlValue, 2> values{
      before > 0 ? before : std::numeric_limits<std::int64_t>::max(),
      static_cast<std::int64_t>(std::min<std::size_t>(limit, 1000))};
  auto rows =
      db_.query(std::string(kSelectDecisions) + "WHERE id < ? ORDER BY id DESC LIMIT ?", values);
  if (!rows) return propagate(std::move(rows), "read decisions");
  return decisions_from(*rows);
}

Result<std::vector<Decision>> PlannerStore::decisions_about(const std::string& fingerprint,
                                                            std::size_t limit) {
  const std::array<SqlValue, 2> values{fingerprint, static_cast<std::int64_t>(limit)};
  auto rows = db_.query(
      std::string(kSelectDecisions) + "WHERE fingerprint = ? ORDER BY id DESC LIMIT ?", values);
  if (!rows) return propagate(std::move(rows), "read decisions");
  return decisions_from(*rows);
}

Result<std::vector<Decision>> PlannerStore::open_decisions() {
  auto rows = db_.query(std::string(kSelectDecisions) + "WHERE open = 1 ORDER BY id");
  if (!rows) return propagate(std::move(rows), "read open decisions");
  return decisions_from(*rows);
}

Status PlannerStore::close(std::int64_t decision) {
  const std::array<SqlValue, 1> values{decision};
  auto ok = db_.execute("UPDATE decision SET open = 0 WHERE id = ?", values);
  if (!ok) return propagate(std::move(ok), "close decision {}", decision);
  return {};
}
Status PlannerStore::prune(WallTime since, WallTime now) {
  auto ok = db_.transaction([&]() -> Status {
    const std::array<SqlValue, 1> oldest{millis(since)};
    if (auto done = db_.execute("DELETE FROM planner_recent WHERE time <= ?", oldest); !done)
      return done;
    const std::array<SqlValue, 1> cooled{millis(now)};
    if (auto done = db_.execute("DELETE FROM planner_pair WHERE attempts = 0 AND unanswered = 0 "
                                "AND open = 0 AND cooldown_until <= ?",
                                cooled);
        !done)
      return done;
    if (auto done = Holds::prune(db_, now); !done) return done;
    if (auto done = ShadowLedger::prune(db_); !done) return done;
    const std::array<SqlValue, 1> keep{kKeepDecisions};
    return db_.execute("DELETE FROM decision WHERE id <= (SELECT MAX(id) FROM decision) - ?", keep);
  });
  if (!ok) return propagate(std::move(ok), "prune the planner's tables");
  return {};
}

}  // namespace nexus::plan
