#include "nexus/knowledge/audit.hpp"

#include <algorithm>
#include <limits>

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
    "  BEGIN SELECT RAISE(ABORT, 'audit records are never deleted'); END;"};

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

Result<std::unique_ptr<Audit>> Audit::open(StateDb& db, Clock& clock) {
  if (Status made = db.migrate("audit", kMigrations); !made) return propagate(std::move(made));
  return std::unique_ptr<Audit>(new Audit(db, clock));
}

Status Audit::record(AuditRecord record) {
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
