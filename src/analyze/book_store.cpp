#include "analyze/book_store.hpp"

#include <array>
#include <boost/json.hpp>

#include "analyze/record_json.hpp"

namespace nexus::analyze {
namespace {

using knowledge::Row;
using knowledge::SqlValue;

constexpr std::array<std::string_view, 2> kMigrations = {
    R"(CREATE TABLE findings (
  fingerprint TEXT PRIMARY KEY, source TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
  severity TEXT NOT NULL, subject TEXT NOT NULL, labels TEXT NOT NULL, annotations TEXT NOT NULL,
  evidence_source TEXT NOT NULL, evidence_value REAL, evidence_threshold REAL, evidence_text TEXT NOT NULL,
  state TEXT NOT NULL, started INTEGER NOT NULL, fired INTEGER, last_seen INTEGER NOT NULL, resolved INTEGER,
  episodes INTEGER NOT NULL, pending_ms INTEGER NOT NULL, keep_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE findings_alive (id INTEGER PRIMARY KEY CHECK (id = 1), time INTEGER NOT NULL))",
    "ALTER TABLE findings ADD COLUMN record TEXT NOT NULL DEFAULT ''"};

constexpr std::string_view kPut = R"(INSERT OR REPLACE INTO findings VALUES
  (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?))";
constexpr std::string_view kSelect =
    R"(SELECT fingerprint, source, kind, name, severity, subject, labels, annotations,
  evidence_source, evidence_value, evidence_threshold, evidence_text, state, started, fired, last_seen, resolved,
  episodes, pending_ms, keep_ms, record FROM findings)";

std::string to_json(const StringMap& map) {
  boost::json::object object;
  for (const auto& [key, value] : map) object[key] = value;
  return boost::json::serialize(object);
}

std::optional<StringMap> from_json(const std::string& text) {
  boost::system::error_code error;
  const boost::json::value value = boost::json::parse(text, error);
  if (error || !value.is_object()) return std::nullopt;
  StringMap map;
  for (const auto& member : value.get_object()) {
    if (!member.value().is_string()) return std::nullopt;
    map.emplace(std::string(member.key()), std::string(member.value().get_string()));
  }
  return map;
}

template <typename Enum, std::size_t N>
std::optional<Enum> parse(const std::string& text, const std::array<Enum, N>& values) {
  for (const Enum value : values) {
    if (to_string(value) == text) return value;
  }
  return std::nullopt;
}

SqlValue optional_time(const std::optional<WallTime>& time) {
  return time ? SqlValue(base::to_unix_millis(*time)) : SqlValue();
}

std::vector<SqlValue> to_values(const StoredFinding& stored) {
  const Finding& f = stored.finding;
  return {f.fingerprint,
          stored.source,
          std::string(to_string(f.kind)),
          f.name,
          std::string(to_string(f.severity)),
          f.subject,
          to_json(f.labels),
          to_json(f.annotations),
          f.evidence.source,
          f.evidence.value,
          f.evidence.threshold ? SqlValue(*f.evidence.threshold) : SqlValue(),
          f.evidence.text,
          std::string(to_string(f.state)),
          base::to_unix_millis(f.started),
          optional_time(f.fired),
          base::to_unix_millis(f.last_seen),
          optional_time(f.resolved),
          static_cast<std::int64_t>(f.episodes),
          static_cast<std::int64_t>(stored.pending.count()),
          static_cast<std::int64_t>(stored.keep_firing_for.count()),
          record_to_json(f)};
}

std::optional<StoredFinding> from_row(const Row& row) {
  const auto kind = parse(row.text(2), kFindingKinds);
  const auto severity =
      parse(row.text(4), std::array{Severity::kInfo, Severity::kWarning, Severity::kCritical});
  const auto state = parse(row.text(12), std::array{FindingState::kPending, FindingState::kFiring,
                                                    FindingState::kResolved});
  auto labels = from_json(row.text(6));
  auto annotations = from_json(row.text(7));
  if (!kind || !severity || !state || !labels || !annotations) return std::nullopt;
  const auto time = [&](std::size_t column) -> std::optional<WallTime> {
    if (row.is_null(column)) return std::nullopt;
    return base::from_unix_millis(row.integer(column));
  };
  StoredFinding stored;
  Finding& f = stored.finding;
  f.fingerprint = row.text(0);
  stored.source = row.text(1);
  f.kind = *kind;
  f.name = row.text(3);
  f.severity = *severity;
  f.subject = row.text(5);
  f.labels = std::move(*labels);
  f.annotations = std::move(*annotations);
  f.evidence = {row.text(8), row.real(9), std::nullopt, row.text(11)};
  if (!row.is_null(10)) f.evidence.threshold = row.real(10);
  f.state = *state;
  f.started = base::from_unix_millis(row.integer(13));
  f.fired = time(14);
  f.last_seen = base::from_unix_millis(row.integer(15));
  f.resolved = time(16);
  f.episodes = static_cast<std::uint64_t>(row.integer(17));
  stored.pending = Millis(row.integer(18));
  stored.keep_firing_for = Millis(row.integer(19));
  if (!record_from_json(row.text(20), f)) return std::nullopt;
  return stored;
}

}  // namespace

Result<BookStore> BookStore::open(knowledge::StateDb& db) {
  if (auto migrated = db.migrate("findings", kMigrations); !migrated) {
    return propagate(std::move(migrated), "findings");
  }
  return BookStore(db);
}

Result<BookStore::Loaded> BookStore::load() {
  auto rows = db_->query(kSelect);
  if (!rows) return propagate(std::move(rows), "read findings");
  auto alive = db_->query("SELECT time FROM findings_alive");
  if (!alive) return propagate(std::move(alive), "read findings");
  Loaded loaded;
  for (const Row& row : *rows) {
    if (auto stored = from_row(row)) {
      loaded.findings.push_back(std::move(*stored));
    } else {
      ++loaded.damaged;
    }
  }
  if (!alive->empty()) loaded.alive = base::from_unix_millis(alive->front().integer(0));
  return loaded;
}

Status BookStore::write(std::span<const StoredFinding> changed,
                        std::span<const std::string> forgotten, WallTime alive) {
  return db_->transaction([&]() -> Status {
    for (const StoredFinding& stored : changed) {
      if (auto done = db_->execute(kPut, to_values(stored)); !done) return done;
    }
    for (const std::string& fingerprint : forgotten) {
      const std::array<SqlValue, 1> values = {fingerprint};
      auto done = db_->execute("DELETE FROM findings WHERE fingerprint = ?", values);
      if (!done) return done;
    }
    const std::array<SqlValue, 1> values = {base::to_unix_millis(alive)};
    return db_->execute("INSERT OR REPLACE INTO findings_alive VALUES (1, ?)", values);
  });
}

}  // namespace nexus::analyze
