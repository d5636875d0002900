#include "publish/notification_log.hpp"

namespace nexus::publish {

const LogEntry* NotificationLog::find(const std::string& group, const std::string& receiver) const {
  const auto found = entries_.find({group, receiver});
  return found == entries_.end() ? nullptr : &found->second;
}

void NotificationLog::put(const std::string& group, const std::string& receiver, LogEntry entry) {
  Key key{group, receiver};
  changed_.insert(key);
  entries_.insert_or_assign(std::move(key), std::move(entry));
}

void NotificationLog::keep_for(const std::string& group, const std::string& receiver, Millis keep) {
  const auto found = entries_.find({group, receiver});
  if (found == entries_.end() || found->second.keep >= keep) return;
  found->second.keep = keep;
  changed_.insert(found->first);
}

void NotificationLog::erase(const std::string& group, const std::string& receiver) {
  Key key{group, receiver};
  if (entries_.erase(key) > 0) changed_.insert(std::move(key));
}

void NotificationLog::expire(const Now& now) {
  std::erase_if(entries_, [&](const auto& one) {
    const LogEntry& entry = one.second;
    if (now.steady - entry.steady < entry.keep) return false;
    changed_.insert(one.first);
    return true;
  });
}

}  // namespace nexus::publish
