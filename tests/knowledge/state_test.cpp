#include "nexus/knowledge/state.hpp"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "nexus/knowledge/audit.hpp"
#include "support/captured_stderr.hpp"
#include "support/temporary_directory.hpp"

namespace nexus::knowledge {
namespace {

namespace fs = std::filesystem;

std::string file_in(const test::TemporaryDirectory& folder) {
  return folder.file("state.db");
}

std::unique_ptr<StateDb> open(const std::string& path = ":memory:") {
  auto db = StateDb::open(path);
  if (!db) FAIL(db.error().message());
  return std::move(*db);
}

constexpr std::string_view kTables[] = {
    "CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT UNIQUE, weight REAL)",
    "CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents(id));"
    "CREATE INDEX children_parent ON children (parent)"};

bool add_parent(StateDb& db, std::string name) {
  const SqlValue value{std::move(name)};
  return db.insert("INSERT INTO parents (name) VALUES (?)", {&value, 1}).has_value();
}

std::int64_t count(StateDb& db, const std::string& table) {
  return db.query("SELECT count(*) FROM " + table).value().at(0).integer(0);
}

TEST_CASE("the file is looked through while somebody holds a transaction, and damage is found") {
  const test::TemporaryDirectory folder;
  const auto db = open(file_in(folder));
  REQUIRE(db->migrate("test", kTables));
  for (int i = 0; i < 500; ++i) REQUIRE(add_parent(*db, std::string(500, 'a') + std::to_string(i)));
  const Status inside = db->transaction([&]() -> Status {
    Status sound;
    std::thread([&] { sound = db->check(); }).join();  // a lock of db's would never come free
    return sound;
  });
  REQUIRE(inside);
  CHECK(open()->check());
  REQUIRE(db->query("PRAGMA wal_checkpoint(TRUNCATE)"));
  std::fstream file(file_in(folder), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(4096 * 20);
  file << std::string(4096 * 4, 'x');
  file.close();
  const Status damaged = db->check();
  REQUIRE_FALSE(damaged);
  CHECK(damaged.error().code() == Errc::kCorrupt);
}

TEST_CASE("values come back as they were bound") {
  const auto db = open();
  REQUIRE(db->migrate("test", kTables));
  const std::string hostile("'; DROP TABLE parents; --\0x", 27);
  const SqlValue values[] = {std::int64_t{7}, hostile, 0.1};
  REQUIRE(db->insert("INSERT INTO parents VALUES (?, ?, ?)", values).value() == 7);
  const SqlValue nothing[] = {std::monostate(), std::monostate()};
  CHECK(db->insert("INSERT INTO parents (name, weight) VALUES (?, ?)", nothing).value() == 8);
  const auto rows = db->query("SELECT id, name, weight FROM parents ORDER BY id").value();
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].integer(0) == 7);
  CHECK(rows[0].text(1) == hostile);
  CHECK(rows[0].real(2) == 0.1);
  CHECK(rows[0].text(0) == "7");
  CHECK(rows[0].integer(2) == 0);
  CHECK(rows[1].is_null(1));
  CHECK(rows[1].text(1).empty());
  CHECK(rows[1].real(2) == 0);
}

TEST_CASE("migrations are applied once, in order, and survive reopening") {
  const test::TemporaryDirectory folder;
  {
    const auto db = open(file_in(folder));
    REQUIRE(db->migrate("test", {kTables, 1}));
    REQUIRE(add_parent(*db, "kept"));
    CHECK_FALSE(db->query("SELECT * FROM children").has_value());
  }
  const auto db = open(file_in(folder));
  REQUIRE(db->migrate("test", kTables));
  REQUIRE(db->migrate("test", kTables));
  CHECK(count(*db, "parents") == 1);
  CHECK(count(*db, "children") == 0);
  const Status older = db->migrate("test", {kTables, 1});
  REQUIRE_FALSE(older);
  CHECK(older.error().code() == Errc::kUnsupported);
}

TEST_CASE("a migration that fails leaves nothing behind and is named") {
  const auto db = open();
  const std::string_view broken[] = {kTables[0], "CREATE TABLE oops (,)"};
  const Status done = db->migrate("test", broken);
  REQUIRE_FALSE(done);
  CHECK_THAT(done.error().message(), Catch::Contains("test") && Catch::Contains("migration 2"));
  CHECK_FALSE(db->query("SELECT * FROM parents").has_value());
  CHECK(db->migrate("test", kTables));
}

TEST_CASE("errors have a code and the SQL's first words") {
  const auto db = open();
  REQUIRE(db->migrate("test", kTables));
  REQUIRE(add_parent(*db, "one"));
  const SqlValue one{"one"};
  const auto doubled = db->insert("INSERT INTO parents (name) VALUES (?)", {&one, 1});
  REQUIRE_FALSE(doubled.has_value());
  CHECK(doubled.error().code() == Errc::kAlreadyExists);
  CHECK_THAT(doubled.error().message(), Catch::Contains("INSERT INTO parents"));
  CHECK(db->execute("INSERT INTO children (parent) VALUES (99)").error().code() ==
        Errc::kConflict);  // foreign keys are on
  CHECK(db->execute("SELEKT 1").error().code() == Errc::kInvalidArgument);
  CHECK(db->execute("SELECT ?").error().code() == Errc::kInvalidArgument);
  CHECK(db->execute("SELECT 1; SELECT 2").error().code() == Errc::kInvalidArgument);
  CHECK(db->execute("").error().code() == Errc::kInvalidArgument);
}

TEST_CASE("a transaction is all or nothing") {
  const auto db = open();
  REQUIRE(db->migrate("test", kTables));
  REQUIRE(db->transaction([&]() -> Status {
    CHECK(add_parent(*db, "a"));
    CHECK(add_parent(*db, "b"));
    return {};
  }));
  CHECK(count(*db, "parents") == 2);
  const Status failed = db->transaction([&]() -> Status {
    CHECK(add_parent(*db, "c"));
    return fail(Errc::kCancelled, "no");
  });
  CHECK(failed.error().code() == Errc::kCancelled);
  CHECK(count(*db, "parents") == 2);
  const Status nested = db->transaction([&] { return db->transaction([] { return Status(); }); });
  CHECK(nested.error().code() == Errc::kConflict);
  CHECK(db->transaction([] { return Status(); }));
}

TEST_CASE("a full disk ends a transaction, which is no second error, and the next one is as ever") {
  const test::TemporaryDirectory folder;
  const auto db = open(file_in(folder));
  REQUIRE(db->migrate("test", kTables));
  const auto pages = db->query("PRAGMA page_count").value().at(0).integer(0);
  REQUIRE(db->query("PRAGMA max_page_count = " + std::to_string(pages)));
  std::string said;
  {
    const test::CapturedStderr log;
    const Status failed = db->transaction([&]() -> Status {
      if (!add_parent(*db, std::string(1 << 20, 'a'))) return fail(Errc::kIo, "full");
      return {};
    });
    CHECK(failed.error().message() == "full");
    said = log.text();
  }
  CHECK(said.empty());
  REQUIRE(db->query("PRAGMA max_page_count = 100000"));
  CHECK(db->transaction([&]() -> Status {
    CHECK(add_parent(*db, "b"));
    return {};
  }));
  CHECK(count(*db, "parents") == 1);
}

TEST_CASE("several threads write at once") {
  const test::TemporaryDirectory folder;
  const auto db = open(file_in(folder));
  REQUIRE(db->migrate("test", kTables));
  std::atomic<int> failed{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 10; ++i) {
          const Status done = db->transaction([&]() -> Status {
            if (!add_parent(*db, std::to_string(t * 100 + i))) return fail(Errc::kInternal, "add");
            return {};
          });
          if (!done) ++failed;
        }
      });
    }
  }
  CHECK(failed == 0);
  CHECK(count(*db, "parents") == 40);
}

TEST_CASE("the file is for its owner only, in WAL mode, with full synchronisation") {
  const test::TemporaryDirectory folder;
  {
    std::ofstream(file_in(folder)) << "";
  }
  fs::permissions(file_in(folder), fs::perms::all);
  const auto db = open(file_in(folder));
  struct stat info{};
  REQUIRE(::stat(file_in(folder).c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  REQUIRE(::stat((file_in(folder) + "-wal").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  CHECK(db->query("PRAGMA journal_mode").value().at(0).text(0) == "wal");
  CHECK(db->query("PRAGMA synchronous").value().at(0).integer(0) == 2);
  CHECK(db->query("PRAGMA foreign_keys").value().at(0).integer(0) == 1);
}

TEST_CASE("a damaged file is moved aside and a new one made") {
  const test::TemporaryDirectory folder;
  {
    std::ofstream(file_in(folder)) << std::string(8192, 'x');
  }
  const auto db = open(file_in(folder));
  REQUIRE(db->quarantined().has_value());
  CHECK_THAT(*db->quarantined(), Catch::StartsWith(file_in(folder) + ".damaged-"));
  CHECK(fs::file_size(*db->quarantined()) == 8192);
  CHECK(db->migrate("test", kTables));
}

TEST_CASE("damage inside a database is found") {
  const test::TemporaryDirectory folder;
  {
    const auto db = open(file_in(folder));
    REQUIRE(db->migrate("test", kTables));
    for (int i = 0; i < 500; ++i)
      REQUIRE(add_parent(*db, std::string(100, 'a') + std::to_string(i)));
  }
  {
    std::fstream file(file_in(folder), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096 * 6);
    file << std::string(4096 * 2, '\xee');
  }
  const auto db = open(file_in(folder));
  CHECK(db->quarantined().has_value());
  CHECK_FALSE(open(file_in(folder))->quarantined().has_value());
}

TEST_CASE("a place where no file can be is an error that names it") {
  const auto db = StateDb::open("/nonexistent/folder/state.db");
  REQUIRE_FALSE(db.has_value());
  CHECK(db.error().code() == Errc::kNotFound);
  CHECK_THAT(db.error().message(), Catch::Contains("/nonexistent/folder/state.db"));
}

TEST_CASE("audit records are kept in order, newest first, page by page") {
  base::ManualClock clock;
  const auto db = open();
  const auto audit = Audit::open(*db, clock).value();
  for (int i = 1; i <= 5; ++i) {
    AuditRecord record;
    record.who = "root (uid 0)";
    record.from = "unix:pid 812";
    record.what = "operations.stop";
    record.subject = std::to_string(i);
    record.result = "ok";
    record.details = R"({"n":1})";
    REQUIRE(audit->record(std::move(record)));
    clock.advance(Millis(10));
  }
  const auto newest = audit->list(2).value();
  REQUIRE(newest.size() == 2);
  CHECK(newest[0].subject == "5");
  CHECK(newest[0].who == "root (uid 0)");
  CHECK(newest[0].from == "unix:pid 812");
  CHECK(newest[0].details == R"({"n":1})");
  CHECK(newest[0].time - newest[1].time == Millis(10));
  const auto rest = audit->list(100, newest[1].id).value();
  REQUIRE(rest.size() == 3);
  CHECK(rest.back().subject == "1");
}

TEST_CASE("old audit records go as a whole prefix, which is on record itself") {
  const auto db = StateDb::open(":memory:").value();
  base::ManualClock clock;
  const AuditLimits limits{.age = Millis(100LL * 24 * 3'600'000), .records = 50, .always_kept = 10};
  auto audit = Audit::open(*db, clock, limits).value();
  for (int day = 0; day < 120; day += 10) {
    AuditRecord record;
    record.what = std::to_string(day);
    REQUIRE(audit->record(record));
    clock.advance(std::chrono::hours(240));
  }
  auto left = audit->list(100).value();
  CHECK(left.back().what == "10");  // recording that of day 110 has dropped that of day 0
  CHECK(left.size() == 12);
  CHECK(audit->prune().value() == 1);  // on day 120
  CHECK(audit->prune().value() == 0);
  left = audit->list(100).value();
  CHECK(left.back().what == "20");
  CHECK(std::ranges::count(left, "audit.retention", &AuditRecord::what) == 2);
  const auto told = std::ranges::find(left, "audit.retention", &AuditRecord::what);
  CHECK(told->who == "system");
  CHECK_THAT(told->details, Catch::Contains(R"("deleted":1)"));
  for (std::size_t i = 1; i < left.size(); ++i) CHECK(left[i].id == left[i - 1].id - 1);
  CHECK_FALSE(db->execute("DELETE FROM audit"));
  CHECK_FALSE(db->execute("UPDATE audit_retention SET keep_from = 0"));
  CHECK_FALSE(db->execute("DELETE FROM audit_retention"));

  for (int i = 0; i < 100; ++i) REQUIRE(audit->record({}));
  CHECK(audit->prune().value() > 50);
  CHECK(audit->list(1000).value().size() == 51);     // and the record of it
  clock.advance(std::chrono::hours(24 * 365 * 20));  // a clock that is wrong
  REQUIRE(audit->record({}));
  CHECK(audit->list(1000).value().size() == 11);
}

TEST_CASE("audit records cannot be changed or deleted") {
  base::ManualClock clock;
  const auto db = open();
  const auto audit = Audit::open(*db, clock).value();
  REQUIRE(audit->record({}));
  CHECK_FALSE(db->execute("UPDATE audit SET who = 'nobody'"));
  CHECK_FALSE(db->execute("DELETE FROM audit"));
  CHECK(audit->list(10).value().size() == 1);
}

}  // namespace
}  // namespace nexus::knowledge
