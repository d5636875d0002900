#include "nexus/knowledge/state.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <mutex>

#include "knowledge/sqlite.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"

namespace nexus::knowledge {
namespace {

constexpr std::string_view kMemory = ":memory:";
constexpr mode_t kMode = 0600;

/// Makes the file before SQLite does, so that nobody else can ever read it; WAL files take over its
/// mode.
Status prepare_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kMode);
  if (fd < 0) return std::unexpected(Error::from_errno(fmt::format("open {}", path)));
  const int changed = ::fchmod(fd, kMode);
  const int why = errno;
  ::close(fd);
  if (changed != 0) return std::unexpected(Error::from_errno(why, fmt::format("chmod {}", path)));
  return {};
}

bool exists(const std::string& path) {
  struct stat info{};
  return ::lstat(path.c_str(), &info) == 0;
}

/// Named after the last change of the damaged file, with a number when that name is taken.
std::string quarantine_name(const std::string& path) {
  struct stat info{};
  const std::int64_t changed = ::stat(path.c_str(), &info) == 0 ? info.st_mtim.tv_sec * 1000 : 0;
  const std::string name = path + ".damaged-" + base::to_rfc3339(base::from_unix_millis(changed));
  std::string candidate = name;
  for (int i = 2; exists(candidate); ++i) candidate = fmt::format("{}-{}", name, i);
  return candidate;
}

Status move_aside(const std::string& path, const std::string& to) {
  if (std::rename(path.c_str(), to.c_str()) != 0) {
    return std::unexpected(Error::from_errno(fmt::format("rename {} to {}", path, to)));
  }
  for (const std::string_view suffix : {"-wal", "-shm"}) {
    const std::string from = fmt::format("{}{}", path, suffix);
    if (!exists(from)) continue;
    if (std::rename(from.c_str(), fmt::format("{}{}", to, suffix).c_str()) != 0) {
      return std::unexpected(Error::from_errno(fmt::format("rename {}", from)));
    }
  }
  return {};
}

Result<std::unique_ptr<Sqlite>> open_checked(const std::string& path) {
  if (path != kMemory) {
    if (Status made = prepare_file(path); !made) return propagate(std::move(made));
  }
  auto db = Sqlite::open(path);
  if (!db) return propagate(std::move(db), "{}", path);
  if (Status sound = (*db)->check(); !sound) return propagate(std::move(sound), "{}", path);
  return db;
}

constexpr std::string_view kMigrationsTable =
    "CREATE TABLE IF NOT EXISTS migrations (owner TEXT PRIMARY KEY, version INTEGER NOT NULL) "
    "STRICT";

}  // namespace

std::int64_t Row::integer(std::size_t column) const {
  NEXUS_CHECK(column < values_.size());
  if (const auto* real = std::get_if<double>(&values_[column])) {
    return static_cast<std::int64_t>(*real);
  }
  const auto* value = std::get_if<std::int64_t>(&values_[column]);
  return value == nullptr ? 0 : *value;
}

double Row::real(std::size_t column) const {
  NEXUS_CHECK(column < values_.size());
  if (const auto* integer = std::get_if<std::int64_t>(&values_[column])) {
    return static_cast<double>(*integer);
  }
  const auto* value = std::get_if<double>(&values_[column]);
  return value == nullptr ? 0 : *value;
}

std::string Row::text(std::size_t column) const {
  NEXUS_CHECK(column < values_.size());
  const SqlValue& value = values_[column];
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *integer);
  if (const auto* real = std::get_if<double>(&value)) return base::format_double(*real);
  return {};
}

bool Row::is_null(std::size_t column) const {
  NEXUS_CHECK(column < values_.size());
  return std::holds_alternative<std::monostate>(values_[column]);
}

struct StateDb::Impl {
  // Recursive: the body of a transaction calls execute() on the thread that holds it.
  std::recursive_mutex mutex;
  std::unique_ptr<Sqlite> db;
  std::string path;  // constant after open()
  std::optional<std::string> quarantined;
  bool in_transaction = false;

  Status transaction(const std::function<Status()>& body);
};

/// Rolls back unless it was committed, whatever way the body was left.
Status StateDb::Impl::transaction(const std::function<Status()>& body) {
  if (in_transaction) return fail(Errc::kConflict, "a transaction was begun inside another");
  if (Status begun = db->run("BEGIN IMMEDIATE", {}, nullptr); !begun) return begun;
  struct Scope {
    Impl& impl;
    bool open = true;
    ~Scope() {
      impl.in_transaction = false;
      if (!open || !impl.db->in_transaction()) return;
      if (Status undone = impl.db->run("ROLLBACK", {}, nullptr); !undone) {
        log::error("knowledge", "state database: {}", undone.error().message());
      }
    }
  } scope{*this};
  in_transaction = true;
  if (Status done = body(); !done) return done;
  Status committed = db->run("COMMIT", {}, nullptr);
  scope.open = !committed;
  return committed;
}

StateDb::StateDb(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StateDb::~StateDb() = default;

Result<std::unique_ptr<StateDb>> StateDb::open(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  auto db = open_checked(path);
  if (!db && db.error().code() == Errc::kCorrupt && path != kMemory) {
    const std::string aside = quarantine_name(path);
    if (Status moved = move_aside(path, aside); !moved) {
      return propagate(std::move(moved), "{} is damaged and stays where it is", path);
    }
    log::error("knowledge", "state database damaged, moved to {}: {}", aside, db.error().message());
    impl->quarantined = aside;
    db = open_checked(path);
  }
  if (!db) return propagate(std::move(db), "state database");
  if (Status made = (*db)->script(kMigrationsTable); !made) {
    return propagate(std::move(made), "state database {}", path);
  }
  impl->db = std::move(*db);
  impl->path = path;
  return std::unique_ptr<StateDb>(new StateDb(std::move(impl)));
}

const std::optional<std::string>& StateDb::quarantined() const noexcept {
  return impl_->quarantined;
}

Status StateDb::check() const {
  if (impl_->path == kMemory) {  // has one connection only
    const std::lock_guard guard(impl_->mutex);
    return impl_->db->quick_check();
  }
  auto own = Sqlite::open(impl_->path);
  if (!own) return propagate(std::move(own), "{}", impl_->path);
  return (*own)->quick_check();
}

Status StateDb::migrate(std::string_view owner, std::span<const std::string_view> migrations) {
  const SqlValue name{std::string(owner)};
  return transaction([&]() -> Status {
    auto rows = query("SELECT version FROM migrations WHERE owner = ?", {&name, 1});
    if (!rows) return propagate(std::move(rows));
    const auto version = rows->empty() ? 0 : static_cast<std::size_t>((*rows)[0].integer(0));
    if (version > migrations.size()) {
      return fail(Errc::kUnsupported,
                  "tables of {}: version {} was made by a newer release, this one knows {}", owner,
                  version, migrations.size());
    }
    if (version == migrations.size()) return {};
    for (std::size_t i = version; i < migrations.size(); ++i) {
      if (Status done = impl_->db->script(migrations[i]); !done) {
        return propagate(std::move(done), "tables of {}: migration {}", owner, i + 1);
      }
    }
    const SqlValue values[] = {name, static_cast<std::int64_t>(migrations.size())};
    return execute(
        "INSERT INTO migrations (owner, version) VALUES (?1, ?2) "
        "ON CONFLICT (owner) DO UPDATE SET version = ?2",
        values);
  });
}

Status StateDb::execute(std::string_view sql, std::span<const SqlValue> values) {
  const std::lock_guard guard(impl_->mutex);
  return impl_->db->run(sql, values, nullptr);
}

Result<std::vector<Row>> StateDb::query(std::string_view sql, std::span<const SqlValue> values) {
  std::vector<Row> rows;
  const std::lock_guard guard(impl_->mutex);
  if (Status done = impl_->db->run(sql, values, &rows); !done) return propagate(std::move(done));
  return rows;
}

Result<std::int64_t> StateDb::insert(std::string_view sql, std::span<const SqlValue> values) {
  const std::lock_guard guard(impl_->mutex);
  if (Status done = impl_->db->run(sql, values, nullptr); !done) return propagate(std::move(done));
  return impl_->db->last_insert();
}

Status StateDb::transaction(const std::function<Status()>& body) {
  const std::lock_guard guard(impl_->mutex);
  return impl_->transaction(body);
}

}  // namespace nexus::knowledge
