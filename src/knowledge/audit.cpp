#include "nexus/knowledge/audit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "nexus/base/log.hpp"

namespace nexus::knowledge {
namespace {

// Append-only: the database itself refuses to change or forget a record.
constexpr std::string_view kMigrations[] = {
    "CREATE TABLE audit ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  time INTEGER NOT NULL,"
    "  who TEXT NOT NULL,"
    "  source TEXT NOT NULL,"
    "  what TEXT NOT NULL,"
    "  subject TEXT NOT NULL,"
    "  result TEXT NOT NULL,"
    "  details TEXT NOT NULL) STRICT;"
    "CREATE INDEX audit_time ON audit (time);"
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit"
    "  BEGIN SELECT RAISE(ABORT, 'audit records are never changed'); END;"
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit"
    "  BEGIN SELECT RAISE(ABORT, 'audit records are never deleted'); END;",
    // Retention: records below keep_from may go, and it only grows.
    "CREATE TABLE audit_retention (one INTEGER PRIMARY KEY CHECK (one = 1),"
    "  keep_from INTEGER NOT NULL) STRICT;"
    "INSERT INTO audit_retention VALUES (1, 0);"
    "CREATE TRIGGER audit_retention_grows BEFORE UPDATE ON audit_retention"
    "  WHEN NEW.keep_from < OLD.keep_from"
    "  BEGIN SELECT RAISE(ABORT, 'the retention of audit records never goes back'); END;"
    "CREATE TRIGGER audit_retention_stays BEFORE DELETE ON audit_retention"
    "  BEGIN SELECT RAISE(ABORT, 'the retention of audit records stays'); END;"
    "DROP TRIGGER audit_no_delete;"
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit"
    "  WHEN OLD.id >= (SELECT keep_from FROM audit_retention)"
    "  BEGIN SELECT RAISE(ABORT, 'audit records are deleted by retention only'); END;"};

constexpr std::chrono::hours kPruneInterval{24};

AuditRecord to_record(const Row& row) {
  AuditRecord record;
  record.id = row.integer(0);
  record.time = base::from_unix_millis(row.integer(1));
  record.who = row.text(2);
  record.from = row.text(3);
  record.what = row.text(4);
  record.subject = row.text(5);
  record.result = row.text(6);
  record.details = row.text(7);
  return record;
}

}  // namespace

Result<std::unique_ptr<Audit>> Audit::open(StateDb& db, Clock& clock, AuditLimits limits) {
  if (Status made = db.migrate("audit", kMigrations); !made) return propagate(std::move(made));
  std::unique_ptr<Audit> audit(new Audit(db, clock, limits));
  audit->prune_if_due();
  return audit;
}

Status Audit::record(AuditRecord record) {
  Status done = insert(std::move(record));
  if (done) prune_if_due();
  return done;
}

/// A failure is no reason to refuse what is being recorded: it is logged, and tried again next day.
void Audit::prune_if_due() {
  const SteadyTime now = clock_.steady();
  SteadyTime due = next_prune_.load();
  if (now < due || !next_prune_.compare_exchange_strong(due, now + kPruneInterval)) return;
  if (const auto pruned = prune(); !pruned) {
    log::error("knowledge", "audit: retention: {}", pruned.error().message());
  }
}

/// The id of the oldest record that stays.
Result<std::int64_t> Audit::first_kept() {
  const std::int64_t oldest = base::to_unix_millis(clock_.wall()) - limits_.age.count();
  const SqlValue values[] = {static_cast<std::int64_t>(limits_.records),
                             static_cast<std::int64_t>(limits_.always_kept), oldest};
  auto rows = db_.query(
      "SELECT max("
      "  coalesce((SELECT id FROM audit ORDER BY id DESC LIMIT 1 OFFSET ?1 - 1), 0),"
      "  min(coalesce((SELECT id FROM audit ORDER BY id DESC LIMIT 1 OFFSET ?2 - 1), 0),"
      "      coalesce((SELECT id FROM audit WHERE time >= ?3 ORDER BY id LIMIT 1),"
      "               9223372036854775807)))",
      values);
  if (!rows) return propagate(std::move(rows));
  return (*rows)[0].integer(0);
}

Result<std::uint64_t> Audit::prune() {
  std::uint64_t gone = 0;
  Status done = db_.transaction([&]() -> Status {
    auto from = first_kept();
    if (!from) return propagate(std::move(from));
    const SqlValue first{*from};
    auto rows = db_.query("SELECT count(*), min(id), max(id) FROM audit WHERE id < ?", {&first, 1});
    if (!rows) return propagate(std::move(rows));
    gone = static_cast<std::uint64_t>((*rows)[0].integer(0));
    if (gone == 0) return {};
    AuditRecord record;
    record.who = "system";
    record.from = "agent";
    record.what = "audit.retention";
    record.subject = fmt::format("records {} to {}", (*rows)[0].integer(1), (*rows)[0].integer(2));
    record.result = "ok";
    record.details = fmt::format(R"({{"deleted":{},"older_than_days":{},"more_than_records":{}}})",
                                 gone, limits_.age / std::chrono::hours(24), limits_.records);
    if (Status told = insert(std::move(record)); !told) return told;
    if (Status set = db_.execute("UPDATE audit_retention SET keep_from = ?", {&first, 1}); !set)
      return set;
    return db_.execute("DELETE FROM audit WHERE id < ?", {&first, 1});
  });
  if (!done) return propagate(std::move(done), "audit");
  return gone;
}

Status Audit::insert(AuditRecord record) {
  const SqlValue values[] = {base::to_unix_millis(clock_.wall()),
                             std::move(record.who),
                             std::move(record.from),
                             std::move(record.what),
                             std::move(record.subject),
                             std::move(record.result),
                             std::move(record.details)};
  Status done = db_.execute(
      "INSERT INTO audit (time, who, source, what, subject, result, details) "
      "VALUES (?, ?, ?, ?, ?, ?, ?)",
      values);
  if (!done) return propagate(std::move(done), "audit");
  return {};
}

Result<std::vector<AuditRecord>> Audit::list(std::size_t limit, std::int64_t before) {
  constexpr std::size_t kMost = 10'000;
  const SqlValue values[] = {before > 0 ? before : std::numeric_limits<std::int64_t>::max(),
                             static_cast<std::int64_t>(std::min(limit, kMost))};
  auto rows = db_.query(
      "SELECT id, time, who, source, what, subject, result, details FROM audit "
      "WHERE id < ? ORDER BY id DESC LIMIT ?",
      values);
  if (!rows) return propagate(std::move(rows), "audit");
  std::vector<AuditRecord> records;
  records.reserve(rows->size());
  for (const Row& row : *rows) records.push_back(to_record(row));
  return records;
}

}  // namespace nexus::knowledge
