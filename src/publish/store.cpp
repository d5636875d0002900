#include "publish/store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "nexus/base/text.hpp"

namespace nexus::publish {
namespace {

using knowledge::SqlValue;

constexpr std::array<std::string_view, 2> kMigrations = {
    R"(CREATE TABLE notification_log (group_key TEXT NOT NULL, receiver TEXT NOT NULL, firing TEXT NOT NULL,
  resolved TEXT NOT NULL, alerts TEXT NOT NULL, time INTEGER NOT NULL, keep_ms INTEGER NOT NULL,
  PRIMARY KEY (group_key, receiver)) WITHOUT ROWID;
CREATE TABLE notifications (id INTEGER PRIMARY KEY AUTOINCREMENT, receiver TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE silences (id TEXT PRIMARY KEY, matchers TEXT NOT NULL, starts INTEGER NOT NULL, ends INTEGER NOT NULL,
  author TEXT NOT NULL, comment TEXT NOT NULL, updated INTEGER NOT NULL) WITHOUT ROWID)",
    R"(CREATE TABLE receiver_memory (receiver TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  time INTEGER NOT NULL, PRIMARY KEY (receiver, key)) WITHOUT ROWID)"};

/// Tables that an agent before kept in the state database, and how many columns they have.
constexpr std::array<std::pair<std::string_view, std::size_t>, 5> kMoved = {
    {{"notification_log", 7},
     {"notifications", 3},
     {"silences", 7},
     {"approval_key", 2},
     {"approvals_used", 3}}};

/// Again after a crash in the middle: what is there already is passed over.
Status move_table(knowledge::StateDb& from, knowledge::StateDb& to, std::string_view table,
                  std::size_t columns) {
  const auto there = from.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?",
                                std::array<SqlValue, 1>{std::string(table)});
  if (!there) return std::unexpected(there.error());
  if (there->empty()) return {};
  const auto rows = from.query(fmt::format("SELECT * FROM {}", table));
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty()) return {};
  std::string places = "?";
  for (std::size_t i = 1; i < columns; ++i) places += ",?";
  auto moved = to.transaction([&]() -> Status {
    for (const auto& row : *rows) {
      // A column's type is its affinity's: what is bound as text becomes a number again.
      std::vector<SqlValue> values;
      for (std::size_t i = 0; i < columns; ++i) values.emplace_back(row.text(i));
      if (auto done = to.execute(
              fmt::format("INSERT OR REPLACE INTO {} VALUES ({})", table, places), values);
          !done)
        return done;
    }
    return {};
  });
  if (!moved) return moved;
  return from.execute(fmt::format("DELETE FROM {}", table));
}

/// Fingerprints as hexadecimal words: SQLite's integers are signed.
std::string to_text(const std::set<std::uint64_t>& prints) {
  std::string out;
  for (const auto print : prints) {
    if (!out.empty()) out += ' ';
    out += to_hex(print);
  }
  return out;
}

std::set<std::uint64_t> to_prints(std::string_view text) {
  std::set<std::uint64_t> out;
  while (!text.empty()) {
    if (const auto print = base::parse_uint(base::take_word(text), 16)) out.insert(*print);
    text = base::trim(text);
  }
  return out;
}

}  // namespace

Result<PublishStore> PublishStore::open(knowledge::StateDb& db) {
  if (auto migrated = db.migrate("publish", kMigrations); !migrated)
    return propagate(std::move(migrated), "tables of notifications");
  return PublishStore(db);
}

Status move_notifications(knowledge::StateDb& from, knowledge::StateDb& to) {
  for (const auto& [table, columns] : kMoved) {
    if (auto moved = move_table(from, to, table, columns); !moved)
      return propagate(std::move(moved), "move {} to the database of notifications", table);
  }
  return {};
}

Result<PublishStore::Loaded> PublishStore::load(NotificationLog& log, const Now& now) {
  Loaded out;
  auto entries = db_->query(
      "SELECT group_key, receiver, firing, resolved, alerts, time, keep_ms FROM notification_log");
  if (!entries) return propagate(std::move(entries));
  for (const auto& row : *entries) {
    LogEntry entry;
    entry.firing = to_prints(row.text(2));
    entry.resolved = to_prints(row.text(3));
    if (auto alerts = alerts_from_json(row.text(4))) {
      entry.alerts = *std::move(alerts);
    } else {
      ++out.damaged;
    }
    entry.time = base::from_unix_millis(row.integer(5));
    // A wall clock that was set back while nobody ran delays the next repetition by one at most.
    entry.steady = now.steady - std::max(Millis(0), now.wall - entry.time);
    entry.keep = Millis(row.integer(6));
    log.restore({row.text(0), row.text(1)}, std::move(entry));
  }
  auto waiting = db_->query("SELECT id, receiver, body FROM notifications ORDER BY id");
  if (!waiting) return propagate(std::move(waiting));
  for (const auto& row : *waiting) {
    auto read = notification_from_json(row.text(2));
    if (!read) {
      ++out.damaged;
      continue;
    }
    const auto age = std::max(Millis(0), now.wall - read->time);
    out.waiting[row.text(1)].push_back(
        {row.integer(0), std::make_shared<const Notification>(*std::move(read)), now.steady - age});
  }
  auto silences =
      db_->query("SELECT id, matchers, starts, ends, author, comment, updated FROM silences");
  if (!silences) return propagate(std::move(silences));
  for (const auto& row : *silences) {
    auto matchers = parse_matchers(row.text(1));
    if (!matchers) {
      ++out.damaged;
      continue;
    }
    out.silences.push_back({row.text(0), *std::move(matchers),
                            base::from_unix_millis(row.integer(2)),
                            base::from_unix_millis(row.integer(3)), row.text(4), row.text(5),
                            base::from_unix_millis(row.integer(6))});
  }
  return out;
}

Status PublishStore::write(const NotificationLog& log, const std::set<NotificationLog::Key>& keys,
                           std::span<Waiting> fresh) {
  return db_->transaction([&]() -> Status {
    for (const auto& [group, receiver] : keys) {
      const LogEntry* entry = log.find(group, receiver);
      const Status written =
          entry == nullptr
              ? db_->execute("DELETE FROM notification_log WHERE group_key = ? AND receiver = ?",
                             std::array<SqlValue, 2>{group, receiver})
              : db_->execute("INSERT OR REPLACE INTO notification_log VALUES (?,?,?,?,?,?,?)",
                             std::array<SqlValue, 7>{
                                 group, receiver, to_text(entry->firing), to_text(entry->resolved),
                                 alerts_to_json(entry->alerts), base::to_unix_millis(entry->time),
                                 static_cast<std::int64_t>(entry->keep.count())});
      if (!written) return written;
    }
    for (Waiting& one : fresh) {
      const auto row = db_->insert(
          "INSERT INTO notifications (receiver, body) VALUES (?,?)",
          std::array<SqlValue, 2>{one.notification->receiver, to_json(*one.notification)});
      if (!row) return std::unexpected(row.error());
      one.row = *row;
    }
    return {};
  });
}

Status PublishStore::remove(std::span<const std::int64_t> rows) {
  return db_->transaction([&]() -> Status {
    for (const auto row : rows) {
      if (row == 0) continue;
      if (auto done =
              db_->execute("DELETE FROM notifications WHERE id = ?", std::array<SqlValue, 1>{row});
          !done)
        return done;
    }
    return {};
  });
}

Status PublishStore::put(std::span<const Silence> silences) {
  return db_->transaction([&]() -> Status {
    for (const Silence& silence : silences) {
      auto done =
          db_->execute("INSERT OR REPLACE INTO silences VALUES (?,?,?,?,?,?,?)",
                       std::array<SqlValue, 7>{
                           silence.id, to_string(silence.matchers),
                           base::to_unix_millis(silence.starts), base::to_unix_millis(silence.ends),
                           silence.author, silence.comment, base::to_unix_millis(silence.updated)});
      if (!done) return done;
    }
    return {};
  });
}

Status PublishStore::forget_silences(WallTime ended_before) {
  return db_->execute("DELETE FROM silences WHERE ends < ?",
                      std::array<SqlValue, 1>{base::to_unix_millis(ended_before)});
}

}  // namespace nexus::publish
