// NotificationLog: what each receiver was last told of each group, so that nothing is told twice
// and nothing is forgotten, over restarts too.
//
// Changes are collected and written with the notifications they belong to, in one transaction
// (publish_store). An entry that was not renewed for twice its repeat interval is forgotten. Thread
// safety: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "nexus/publish/alert.hpp"

namespace nexus::publish {

struct LogEntry {
  std::set<std::uint64_t> firing;  // fingerprints
  std::set<std::uint64_t> resolved;
  std::vector<AlertPtr> alerts;  // those that were firing, for whoever has to say that they ended
  WallTime time{};
  SteadyTime steady{};  // the same moment; a wall clock that steps repeats and delays nothing
  Millis keep{};
};

class NotificationLog {
 public:
  using Key = std::pair<std::string, std::string>;  // group, receiver

  [[nodiscard]] const LogEntry* find(const std::string& group, const std::string& receiver) const;
  void put(const std::string& group, const std::string& receiver, LogEntry entry);
  /// An entry that is meant to last is not forgotten before.
  void keep_for(const std::string& group, const std::string& receiver, Millis keep);
  /// As if nobody had been told.
  void erase(const std::string& group, const std::string& receiver);
  /// Forgets what is too old.
  void expire(const Now& now);
  /// As loaded: nothing to be written.
  void restore(Key key, LogEntry entry) {
    entries_.insert_or_assign(std::move(key), std::move(entry));
  }

  [[nodiscard]] const std::map<Key, LogEntry>& entries() const noexcept { return entries_; }
  /// Keys that have changed since; what is no entry any more is to be deleted.
  [[nodiscard]] std::set<Key> take_changes() { return std::exchange(changed_, {}); }
  void put_back(std::set<Key> changes) { changed_.merge(changes); }

 private:
  std::map<Key, LogEntry> entries_;
  std::set<Key> changed_;
};

}  // namespace nexus::publish
