#include "knowledge/sqlite.hpp"

namespace nexus::knowledge {
namespace {

constexpr std::size_t kMaxStatements = 256;
constexpr int kBusyMillis = 5000;

Errc code_of(int extended) noexcept {
  switch (extended) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
      return Errc::kAlreadyExists;
    default:
      break;
  }
  switch (extended & 0xff) {
    case SQLITE_CONSTRAINT:
      return Errc::kConflict;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Errc::kUnavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Errc::kCorrupt;
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
      return Errc::kIo;
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return Errc::kPermissionDenied;
    case SQLITE_TOOBIG:
      return Errc::kExhausted;
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
      return Errc::kInvalidArgument;
    default:
      return Errc::kInternal;
  }
}

std::string_view first_words(std::string_view sql) {
  constexpr std::size_t kShown = 48;
  return sql.substr(0, kShown);
}

int bind_one(sqlite3_stmt* statement, int place, const SqlValue& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    return sqlite3_bind_int64(statement, place, *integer);
  }
  if (const auto* real = std::get_if<double>(&value)) {
    return sqlite3_bind_double(statement, place, *real);
  }
  if (const auto* text = std::get_if<std::string>(&value)) {
    return sqlite3_bind_text64(statement, place, text->data(), text->size(), SQLITE_TRANSIENT,
                               SQLITE_UTF8);
  }
  return sqlite3_bind_null(statement, place);
}

Row read_row(sqlite3_stmt* statement) {
  std::vector<SqlValue> values;
  const int columns = sqlite3_column_count(statement);
  values.reserve(static_cast<std::size_t>(columns));
  for (int i = 0; i < columns; ++i) {
    switch (sqlite3_column_type(statement, i)) {
      case SQLITE_INTEGER:
        values.emplace_back(std::int64_t{sqlite3_column_int64(statement, i)});
        break;
      case SQLITE_FLOAT:
        values.emplace_back(sqlite3_column_double(statement, i));
        break;
      case SQLITE_NULL:
        values.emplace_back(std::monostate());
        break;
      default: {  // text and blobs
        const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement, i));
        const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, i));
        values.emplace_back(size == 0 ? std::string() : std::string(bytes, size));
        break;
      }
    }
  }
  return Row(std::move(values));
}

}  // namespace

Result<std::unique_ptr<Sqlite>> Sqlite::open(const std::string& path) {
  sqlite3* handle = nullptr;
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int code = sqlite3_open_v2(path.c_str(), &handle, kFlags, nullptr);
  if (handle == nullptr) return fail(Errc::kInternal, "no memory for a database handle");
  std::unique_ptr<Sqlite> db(new Sqlite(handle));
  if (code != SQLITE_OK) return std::unexpected(db->error("open"));
  sqlite3_busy_timeout(handle, kBusyMillis);
  constexpr std::string_view kSetup =
      "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
      "PRAGMA trusted_schema=OFF;";
  if (Status done = db->script(kSetup); !done) return propagate(std::move(done));
  return db;
}

Sqlite::~Sqlite() {
  statements_.clear();
  sqlite3_close(db_);
}

Error Sqlite::error(std::string_view sql) const {
  return Error(code_of(sqlite3_extended_errcode(db_)),
               fmt::format("sql \"{}\": {}", first_words(sql), sqlite3_errmsg(db_)));
}

Result<sqlite3_stmt*> Sqlite::prepare(std::string_view sql) {
  const std::string key(sql);
  if (const auto known = statements_.find(key); known != statements_.end()) {
    return known->second.get();
  }
  sqlite3_stmt* raw = nullptr;
  const char* tail = nullptr;
  const int code = sqlite3_prepare_v3(db_, key.data(), static_cast<int>(key.size()),
                                      SQLITE_PREPARE_PERSISTENT, &raw, &tail);
  Statement statement(raw);
  if (code != SQLITE_OK) return std::unexpected(error(sql));
  const std::string_view rest(tail, static_cast<std::size_t>(key.data() + key.size() - tail));
  if (statement == nullptr || rest.find_first_not_of(" \t\r\n;") != std::string_view::npos) {
    return fail(Errc::kInvalidArgument, "sql \"{}\": exactly one statement was expected",
                first_words(sql));
  }
  if (statements_.size() >= kMaxStatements) statements_.clear();
  return statements_.emplace(key, std::move(statement)).first->second.get();
}

Status Sqlite::bind(sqlite3_stmt* statement, std::string_view sql,
                    std::span<const SqlValue> values) {
  const int wanted = sqlite3_bind_parameter_count(statement);
  if (static_cast<std::size_t>(wanted) != values.size()) {
    return fail(Errc::kInvalidArgument, "sql \"{}\": {} values given, {} expected",
                first_words(sql), values.size(), wanted);
  }
  for (int place = 1; place <= wanted; ++place) {
    const SqlValue& value = values[static_cast<std::size_t>(place) - 1];
    if (bind_one(statement, place, value) != SQLITE_OK) return std::unexpected(error(sql));
  }
  return {};
}

Status Sqlite::step_all(sqlite3_stmt* statement, std::string_view sql, std::vector<Row>* rows) {
  for (;;) {
    const int code = sqlite3_step(statement);
    if (code == SQLITE_DONE) return {};
    if (code != SQLITE_ROW) return std::unexpected(error(sql));
    if (rows != nullptr) rows->push_back(read_row(statement));
  }
}

Status Sqlite::run(std::string_view sql, std::span<const SqlValue> values, std::vector<Row>* rows) {
  Result<sqlite3_stmt*> statement = prepare(sql);
  if (!statement) return propagate(std::move(statement));
  Status done = bind(*statement, sql, values);
  if (done) done = step_all(*statement, sql, rows);
  sqlite3_reset(*statement);
  sqlite3_clear_bindings(*statement);
  return done;
}

Status Sqlite::script(std::string_view sql) {
  if (sqlite3_exec(db_, std::string(sql).c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    return std::unexpected(error(sql));
  }
  return {};
}

bool Sqlite::in_transaction() const {
  return sqlite3_get_autocommit(db_) == 0;
}

std::int64_t Sqlite::last_insert() const {
  return sqlite3_last_insert_rowid(db_);
}

Status Sqlite::check() {
  return check_with("PRAGMA integrity_check(1)");
}

Status Sqlite::quick_check() {
  return check_with("PRAGMA quick_check(1)");
}

Status Sqlite::check_with(std::string_view pragma) {
  std::vector<Row> rows;
  if (Status done = run(pragma, {}, &rows); !done) return done;
  if (rows.size() == 1 && rows[0].text(0) == "ok") return {};
  return fail(Errc::kCorrupt, "integrity check: {}", rows.empty() ? "no answer" : rows[0].text(0));
}

}  // namespace nexus::knowledge
