// One row an action: what is searched for in columns, the rest in `details` (JSON). `seq` gives the
// order of arrival, which ids of the same millisecond do not.
#include "nexus/execute/journal.hpp"

#include <algorithm>
#include <array>

#include "execute/journal_json.hpp"
#include "nexus/base/log.hpp"

namespace nexus::execute {
namespace {

using knowledge::SqlValue;
using plan::Action;

constexpr std::array<std::string_view, 3> kMigrations{
    R"sql(
CREATE TABLE action (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, target TEXT NOT NULL,
  state TEXT NOT NULL, final INTEGER NOT NULL, priority INTEGER NOT NULL, idempotency_key TEXT,
  created INTEGER NOT NULL, started INTEGER, finished INTEGER, details TEXT NOT NULL);
CREATE UNIQUE INDEX action_key ON action (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX action_open ON action (seq) WHERE final = 0;
CREATE INDEX action_finished ON action (finished);
CREATE INDEX action_target ON action (target, seq);
CREATE INDEX action_type ON action (type, seq);
CREATE INDEX action_state ON action (state, seq);
)sql",
    // What actions are looked for by, besides: their cause, and the ladder that they are a rung of.
    R"sql(
ALTER TABLE action ADD COLUMN parent TEXT;
ALTER TABLE action ADD COLUMN finding TEXT;
ALTER TABLE action ADD COLUMN fingerprint TEXT;
ALTER TABLE action ADD COLUMN requested_by TEXT;
ALTER TABLE action ADD COLUMN verified INTEGER;
CREATE INDEX action_parent ON action (parent, seq) WHERE parent IS NOT NULL;
CREATE INDEX action_finding ON action (finding, seq) WHERE finding IS NOT NULL;
CREATE INDEX action_fingerprint ON action (fingerprint, seq) WHERE fingerprint IS NOT NULL;
CREATE INDEX action_requested_by ON action (requested_by, seq) WHERE requested_by IS NOT NULL;
CREATE INDEX action_created ON action (created);
)sql",
    // How long an action takes that has helped: of a type that never did there are none to look at.
    "CREATE INDEX action_helped ON action (type, seq) WHERE verified = 1"};

SqlValue text_or_null(const std::string& text) {
  if (text.empty()) return std::monostate{};
  return text;
}

constexpr std::string_view kSelect =
    "SELECT id, type, target, state, priority, idempotency_key, created, started, finished, "
    "details FROM action ";

SqlValue millis(const std::optional<WallTime>& time) {
  if (!time) return std::monostate{};
  return base::to_unix_millis(*time);
}

std::optional<WallTime> wall(const knowledge::Row& row, std::size_t column) {
  if (row.is_null(column)) return std::nullopt;
  return base::from_unix_millis(row.integer(column));
}

Result<Action> action_from(const knowledge::Row& row) {
  Action action;
  action.id = row.text(0);
  action.type = row.text(1);
  action.target = row.text(2);
  const auto state = plan::parse_action_state(row.text(3));
  if (!state)
    return fail(Errc::kCorrupt, "action {}: unknown state \"{}\"", action.id, row.text(3));
  action.state = *state;
  action.priority = static_cast<int>(row.integer(4));
  action.idempotency_key = row.text(5);
  action.created = base::from_unix_millis(row.integer(6));
  action.started = wall(row, 7);
  action.finished = wall(row, 8);
  if (auto ok = read_details(row.text(9), action); !ok) return propagate(std::move(ok));
  return action;
}

/// All rows that can be read; one damaged row does not hide the others, unless it is all there is.
Result<std::vector<Action>> actions_from(const std::vector<knowledge::Row>& rows) {
  std::vector<Action> out;
  std::optional<Error> damaged;
  for (const auto& row : rows) {
    auto action = action_from(row);
    if (action) {
      out.push_back(*std::move(action));
    } else {
      damaged = std::move(action).error();
    }
  }
  if (out.empty() && damaged) return std::unexpected(*std::move(damaged));
  return out;
}

}  // namespace

struct Journal::Impl {
  Clock& clock;
  knowledge::StateDb& db;

  [[nodiscard]] Result<std::vector<Action>> select(const std::string& where,
                                                   std::span<const SqlValue> values) {
    auto rows = db.query(std::string(kSelect) + where, values);
    if (!rows) return propagate(std::move(rows), "read the journal");
    return actions_from(*rows);
  }
};

Journal::Journal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Journal::~Journal() = default;

Result<std::unique_ptr<Journal>> Journal::open(Clock& clock, knowledge::StateDb& db) {
  if (auto ok = db.migrate("execute", kMigrations); !ok)
    return propagate(std::move(ok), "journal's tables");
  return std::unique_ptr<Journal>(new Journal(std::make_unique<Impl>(clock, db)));
}

Status Journal::write(const Action& action) {
  const SqlValue key =
      action.idempotency_key.empty() ? SqlValue{} : SqlValue{action.idempotency_key};
  const SqlValue verified = action.outcome.verified
                                ? SqlValue{static_cast<std::int64_t>(*action.outcome.verified)}
                                : SqlValue{};
  const std::array<SqlValue, 16> values{action.id,
                                        action.type,
                                        action.target,
                                        std::string(plan::to_string(action.state)),
                                        static_cast<std::int64_t>(plan::is_final(action.state)),
                                        static_cast<std::int64_t>(action.priority),
                                        key,
                                        base::to_unix_millis(action.created),
                                        millis(action.started),
                                        millis(action.finished),
                                        details_of(action),
                                        text_or_null(action.parent),
                                        text_or_null(action.cause.finding),
                                        text_or_null(action.cause.fingerprint),
                                        text_or_null(action.cause.requested_by),
                                        verified};
  auto ok = impl_->db.execute(
      "INSERT INTO action (id, type, target, state, final, priority, idempotency_key, created, "
      "started, finished, "
      "details, parent, finding, fingerprint, requested_by, verified) VALUES (?, ?, ?, ?, ?, ?, ?, "
      "?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state, "
      "final = excluded.final, started = excluded.started, finished = excluded.finished, details = "
      "excluded.details, verified = excluded.verified",
      values);
  if (!ok)
    return propagate(std::move(ok), "journal action {} ({})", action.id,
                     plan::to_string(action.state));
  return {};
}

Result<Action> Journal::get(std::string_view id) {
  const std::array<SqlValue, 1> values{std::string(id)};
  auto found = impl_->select("WHERE id = ?", values);
  if (!found) return propagate(std::move(found));
  if (found->empty()) return fail(Errc::kNotFound, "no action {}", id);
  return std::move(found->front());
}

Result<std::optional<Action>> Journal::find_by_key(std::string_view idempotency_key) {
  if (idempotency_key.empty()) return std::nullopt;
  const std::array<SqlValue, 1> values{std::string(idempotency_key)};
  auto found = impl_->select("WHERE idempotency_key = ?", values);
  if (!found) return propagate(std::move(found));
  if (found->empty()) return std::nullopt;
  return std::move(found->front());
}

Result<std::vector<Action>> Journal::list(const ActionFilter& filter) {
  std::string where = "WHERE 1 = 1";
  std::vector<SqlValue> values;
  const auto add = [&](std::string_view condition, std::string value) {
    where += condition;
    values.emplace_back(std::move(value));
  };
  if (filter.state) add(" AND state = ?", std::string(plan::to_string(*filter.state)));
  if (!filter.type.empty()) add(" AND type = ?", filter.type);
  if (!filter.target.empty()) add(" AND target = ?", filter.target);
  if (!filter.parent.empty()) add(" AND parent = ?", filter.parent);
  if (!filter.cause.empty()) {
    where += " AND (finding = ? OR fingerprint = ? OR requested_by = ?)";
    for (int i = 0; i < 3; ++i) values.emplace_back(filter.cause);
  }
  if (filter.since) {
    where += " AND created >= ?";
    values.emplace_back(base::to_unix_millis(*filter.since));
  }
  if (filter.until) {
    where += " AND created < ?";
    values.emplace_back(base::to_unix_millis(*filter.until));
  }
  if (filter.ended_since) {
    where += " AND finished >= ?";
    values.emplace_back(base::to_unix_millis(*filter.ended_since));
  }
  if (filter.ended) where += " AND final = 1";
  if (!filter.before.empty())
    add(" AND seq < (SELECT seq FROM action WHERE id = ?)", filter.before);
  where += " ORDER BY seq DESC LIMIT ?";
  values.emplace_back(static_cast<std::int64_t>(std::min<std::size_t>(filter.limit, 1000)));
  return impl_->select(where, values);
}

Result<std::vector<Action>> Journal::unfinished() {
  auto rows = impl_->db.query(std::string(kSelect) + "WHERE final = 0 ORDER BY seq");
  if (!rows) return propagate(std::move(rows), "read the journal");
  std::vector<Action> out;
  for (const auto& row : *rows) {
    if (auto action = action_from(row)) {
      out.push_back(*std::move(action));
      continue;
    }
    // What it was cannot be told: it is over, and does not stay open for ever without a word.
    log::error("executor", "action {} ({} {}, {}) cannot be read; it ends as interrupted",
               row.text(0), row.text(1), row.text(2), row.text(3));
    const std::array<SqlValue, 2> values{base::to_unix_millis(impl_->clock.wall()), row.text(0)};
    auto ended = impl_->db.execute(
        "UPDATE action SET state = 'interrupted', final = 1, finished = ? WHERE id = ?", values);
    if (!ended) return propagate(std::move(ended), "end a damaged action");
  }
  return out;
}

Result<std::uint64_t> Journal::finished_since(WallTime since) {
  const std::array<SqlValue, 1> values{base::to_unix_millis(since)};
  auto rows = impl_->db.query("SELECT COUNT(*) FROM action WHERE finished >= ?", values);
  if (!rows) return propagate(std::move(rows), "count finished actions");
  return rows->empty() ? 0 : static_cast<std::uint64_t>(rows->front().integer(0));
}

Result<std::vector<Action>> Journal::rungs_of(std::string_view parent) {
  const std::array<SqlValue, 1> values{std::string(parent)};
  return impl_->select("WHERE parent = ? ORDER BY seq", values);
}

Result<std::optional<double>> Journal::usual_seconds(std::string_view type) {
  const std::array<SqlValue, 1> values{std::string(type)};
  auto rows = impl_->db.query(
      "SELECT finished - started FROM action WHERE type = ? AND verified = 1 AND started IS NOT "
      "NULL AND finished IS NOT NULL ORDER BY seq DESC LIMIT 100",
      values);
  if (!rows) return propagate(std::move(rows), "look how long {} takes", type);
  std::vector<double> seconds;
  for (const auto& row : *rows)
    seconds.push_back(std::max(0.0, static_cast<double>(row.integer(0)) / 1000.0));
  if (seconds.empty()) return std::nullopt;
  const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
  std::ranges::nth_element(seconds, middle);
  return std::optional(*middle);
}

Status Journal::prune(WallTime older_than, std::uint64_t most) {
  // By order of arrival, which no clock changes: what is dropped is a prefix, in bounded pieces.
  const std::array<SqlValue, 4> values{static_cast<std::int64_t>(kAlwaysKept),
                                       base::to_unix_millis(older_than),
                                       static_cast<std::int64_t>(std::max(most, kAlwaysKept)),
                                       static_cast<std::int64_t>(kPruneAtOnce)};
  auto ok = impl_->db.execute(
      "DELETE FROM action WHERE seq IN (SELECT seq FROM action WHERE final = 1 AND seq <= "
      "IFNULL((SELECT seq FROM action ORDER BY seq DESC LIMIT 1 OFFSET ?), 0) AND (finished < ? OR "
      "seq <= IFNULL((SELECT seq FROM action ORDER BY seq DESC LIMIT 1 OFFSET ?), 0)) ORDER BY seq "
      "LIMIT ?)",
      values);
  if (!ok) return propagate(std::move(ok), "prune the journal");
  return {};
}

}  // namespace nexus::execute
