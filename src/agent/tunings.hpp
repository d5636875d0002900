// Tunings: what tuning has to say, as findings of the kind optimization, all of severity info:
//
//   tuning_proposed  a tuning waits for approval: what would be set, and why
//   tuning_kept      an experiment has shown that a change helped, and it was kept
//   tuning_undone    an experiment has not, and it was taken back (warning where it could not be)
//
// A result stands for kTold, or until somebody rolls the change back; of several experiments of one
// action type on one target the last one stands. All of it is read from the journal at the start.
// Thread safety: note() from any thread, the rest from one.
#pragma once

#include <atomic>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "nexus/analyze/book.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/execute/executor.hpp"
#include "nexus/execute/journal.hpp"

namespace nexus::agent {

class Tunings {
 public:
  static constexpr Millis kEvery{5'000};
  static constexpr Millis kTold{24 * 3'600'000};

  Tunings(Clock& clock, analyze::Book& book, execute::Journal& journal,
          const execute::Executor& executor)
      : clock_(clock), book_(book), journal_(journal), executor_(executor) {}

  /// An action has ended.
  void note(const plan::Action& action);
  /// Looks when an action has ended, and every kEvery.
  void look();

 private:
  [[nodiscard]] Status read_journal();
  [[nodiscard]] std::vector<plan::Action> results();

  Clock& clock_;
  analyze::Book& book_;
  execute::Journal& journal_;
  const execute::Executor& executor_;
  SteadyTime next_{};
  bool read_ = false;
  bool read_failed_ = false;  // as it was logged
  bool told_ = false;         // something, since the start
  std::atomic<bool> due_{false};
  std::mutex mutex_;
  std::vector<plan::Action> ended_;  // experiments, newest last; guarded by mutex_
  std::set<std::string> undone_;     // ids that were rolled back since; guarded by mutex_
};

}  // namespace nexus::agent
