#include "analyze/change_log.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "nexus/base/text.hpp"

namespace nexus::analyze {
namespace {

constexpr std::array<std::string_view, 1> kMigrations = {
    R"(CREATE TABLE changes (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, kind TEXT NOT NULL,
  subject TEXT NOT NULL, text TEXT NOT NULL))"};

/// What a share belongs to: whatever people call what they tell of, it is one kind.
std::string_view share_of(std::string_view kind) {
  const auto* known = find_change_kind(kind);
  return known != nullptr && !known->may_be_told ? kind : std::string_view("told");
}

/// For SQL: 'agent', 'boot', ...
std::string quoted_seen_here() {
  std::string out;
  for (const ChangeKind& kind : kChangeKinds) {
    if (!kind.may_be_told) out += fmt::format("{}'{}'", out.empty() ? "" : ", ", kind.name);
  }
  return out;
}

/// One too many: the oldest of the share that is beyond its half, or, of all of them, of the one
/// that has the most. What is rare stays.
void make_room(Changes& all) {
  std::map<std::string_view, std::size_t> shares;
  std::size_t most = 0;
  for (const Change& change : all) most = std::max(most, ++shares[share_of(change.kind)]);
  if (most <= ChangeLog::kMostOfKind && all.size() <= ChangeLog::kMost) return;
  for (auto oldest = all.end(); oldest-- != all.begin();) {
    if (shares[share_of(oldest->kind)] != most) continue;
    all.erase(oldest);
    return;
  }
}

/// Where a text may be cut without cutting a character.
void shorten(std::string& text, std::size_t longest) {
  if (text.size() <= longest) return;
  while (longest > 0 && (static_cast<unsigned char>(text[longest]) & 0xC0U) == 0x80U) --longest;
  text.resize(longest);
  text += "...";
}

}  // namespace

Result<ChangeLog> ChangeLog::open(knowledge::StateDb& db) {
  if (auto made = db.migrate("changes", kMigrations); !made)
    return propagate(std::move(made), "changes");
  const std::array<knowledge::SqlValue, 1> most = {static_cast<std::int64_t>(kMost)};
  auto rows = db.query(
      "SELECT time, kind, subject, text FROM changes ORDER BY time DESC, id DESC LIMIT ?", most);
  if (!rows) return propagate(std::move(rows), "read changes");
  Changes all;
  for (const auto& row : *rows)
    all.push_back({base::from_unix_millis(row.integer(0)), row.text(1), row.text(2), row.text(3)});
  ChangeLog log;
  log.all_ = std::make_shared<const Changes>(std::move(all));
  return log;
}

bool ChangeLog::note(Change change) {
  const auto same = [&](const Change& known) {
    return known.kind == change.kind && known.subject == change.subject &&
           known.time <= change.time + kSame && change.time <= known.time + kSame;
  };
  // Others are told once each, and each says something else: packages, what people tell of.
  const auto* kind = find_change_kind(change.kind);
  if (kind != nullptr && kind->is_seen_twice && std::ranges::any_of(*all_, same)) return false;
  shorten(change.subject, kLongest);
  shorten(change.text, kLongest);
  auto all = std::make_shared<Changes>(*all_);
  const auto place =
      std::ranges::find_if(*all, [&](const Change& known) { return known.time <= change.time; });
  all->insert(place, change);
  make_room(*all);
  all_ = std::move(all);
  pending_.push_back(std::move(change));
  if (pending_.size() > kMost) pending_.erase(pending_.begin());
  return true;
}

void ChangeLog::put_back(Changes changes) {
  changes.insert(changes.end(), std::make_move_iterator(pending_.begin()),
                 std::make_move_iterator(pending_.end()));
  if (changes.size() > kMost)
    changes.erase(changes.begin(), changes.end() - static_cast<std::ptrdiff_t>(kMost));
  pending_ = std::move(changes);
}

Status ChangeLog::write(knowledge::StateDb& db, const Changes& changes) {
  return db.transaction([&]() -> Status {
    for (const Change& change : changes) {
      const std::array<knowledge::SqlValue, 4> values = {base::to_unix_millis(change.time),
                                                         change.kind, change.subject, change.text};
      if (auto done = db.execute("INSERT INTO changes (time, kind, subject, text) VALUES (?,?,?,?)",
                                 values);
          !done)
        return done;
    }
    // The first of each share, then the second of each, and so on: what make_room() leaves.
    static const std::string kTooMany = fmt::format(
        "DELETE FROM changes WHERE id NOT IN (SELECT id FROM (SELECT id, time, row_number() OVER "
        "(PARTITION BY CASE WHEN kind IN ({}) THEN kind ELSE '' END ORDER BY time DESC, id DESC) "
        "AS place FROM changes) WHERE place <= ? ORDER BY place, time DESC, id DESC LIMIT ?)",
        quoted_seen_here());
    const std::array<knowledge::SqlValue, 2> limits = {static_cast<std::int64_t>(kMostOfKind),
                                                       static_cast<std::int64_t>(kMost)};
    return db.execute(kTooMany, limits);
  });
}

}  // namespace nexus::analyze
