// What actions have set and what is to be there still: for each setting the action that set it
// last, in the order in which they ended (an approval may be older than what was done meanwhile).
//
// Fed by every end of an action; what ended before the agent's start is read from the journal once.
// What was taken back is as if it had not been done. What ended otherwise, and may have set
// something, leaves its settings to nobody: there is nothing to compare with. Thread safety: all
// members, any thread.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "nexus/execute/journal.hpp"

namespace nexus::execute {

class KeptSettings {
 public:
  static constexpr std::size_t kMostOfOne = 20;  // actions on one account

  /// An action has ended, or one that had ended was taken back.
  void heed(const plan::Action& action);
  /// Once: what is in the journal. Fails as the journal does, and is to be called again then.
  [[nodiscard]] Status read(Journal& journal);

  struct Standing {
    plan::Action action;
    std::set<std::string, std::less<>> parameters;  // those that it has set last
  };
  /// Newest first.
  [[nodiscard]] std::vector<Standing> standing() const;

 private:
  enum class Known { kIsNewer, kIsOlder };
  void take(const plan::Action& action, Known known);  // lock held
  void forget_old();                                   // lock held

  mutable std::mutex mutex_;
  bool read_ = false;
  // By account, first ended first.
  std::map<std::string, std::vector<plan::Action>, std::less<>> actions_;
  std::set<std::string, std::less<>> released_;  // ids: somebody has asked to roll them back
};

}  // namespace nexus::execute
