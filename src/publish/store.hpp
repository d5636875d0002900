// PublishStore: the notification log, notifications that wait, and silences, in a database of their
// own: a flood of them delays no action, which is journaled in the state database.
//
// What one turn of the dispatcher decides is one transaction: the log entry and the notifications
// it stands for are both there after a crash, or neither. A row that cannot be read is skipped and
// counted, never fatal. Thread safety: as StateDb.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "nexus/knowledge/state.hpp"
#include "nexus/publish/alert.hpp"
#include "nexus/publish/routing.hpp"
#include "publish/notification_log.hpp"

namespace nexus::publish {

struct Waiting {
  std::int64_t row = 0;  // 0: not saved, for the database was away
  NotificationPtr notification;
  SteadyTime made{};  // when it was; counted back from its wall time after a restart
};

class PublishStore {
 public:
  [[nodiscard]] static Result<PublishStore> open(knowledge::StateDb& db);

  struct Loaded {
    std::map<std::string, std::vector<Waiting>> waiting;  // by receiver, oldest first
    std::vector<Silence> silences;
    std::size_t damaged = 0;
  };
  /// The log's entries go to `log`, their steady times counted back from `now`.
  [[nodiscard]] Result<Loaded> load(NotificationLog& log, const Now& now);

  /// Changes of the log and new notifications, whose rows are filled in.
  [[nodiscard]] Status write(const NotificationLog& log, const std::set<NotificationLog::Key>& keys,
                             std::span<Waiting> fresh);
  [[nodiscard]] Status remove(std::span<const std::int64_t> rows);
  /// All of them or none.
  [[nodiscard]] Status put(std::span<const Silence> silences);
  [[nodiscard]] Status forget_silences(WallTime ended_before);
  [[nodiscard]] knowledge::StateDb& db() const noexcept { return *db_; }

 private:
  explicit PublishStore(knowledge::StateDb& db) : db_(&db) {}
  knowledge::StateDb* db_;
};

/// What an agent before kept in the state database; the tables of `to` are there.
[[nodiscard]] Status move_notifications(knowledge::StateDb& from, knowledge::StateDb& to);

}  // namespace nexus::publish
