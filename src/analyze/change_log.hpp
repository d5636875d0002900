// ChangeLog: the last changes of the host, and their table in the state database.
//
// At most kMost, and at most kMostOfKind of one kind, whatever people tell of being one: the oldest
// of the kind that has the most makes room, so that neither units which are started all day nor a
// pipeline push out what was installed in the morning. The same thing told twice
// within kSame (a unit by systemd's signal and by its start time) is one change. Texts are cut at
// kLongest bytes.
//
// Thread safety: none; the book's lock guards it. take_pending() and write() keep the disk outside
// of that lock.
#pragma once

#include <memory>

#include "nexus/analyze/change.hpp"
#include "nexus/knowledge/state.hpp"

namespace nexus::analyze {

class ChangeLog {
 public:
  static constexpr std::size_t kMost = 500;
  static constexpr std::size_t kMostOfKind = kMost / 2;
  static constexpr std::size_t kLongest = 500;
  static constexpr Millis kSame{90'000};

  /// Reads what is kept.
  [[nodiscard]] static Result<ChangeLog> open(knowledge::StateDb& db);
  /// False: it is known already.
  bool note(Change change);
  /// Newest first.
  [[nodiscard]] std::shared_ptr<const Changes> snapshot() const { return all_; }

  /// What is to be written.
  [[nodiscard]] Changes take_pending() { return std::exchange(pending_, {}); }
  /// They could not be written: for the next time.
  void put_back(Changes changes);
  /// One transaction; the oldest rows beyond what is kept are deleted.
  [[nodiscard]] static Status write(knowledge::StateDb& db, const Changes& changes);

 private:
  std::shared_ptr<const Changes> all_ = std::make_shared<const Changes>();
  Changes pending_;
};

}  // namespace nexus::analyze
