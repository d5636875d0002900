// Approvals: links in messages by which a proposed action is approved or rejected.
//
// A link's token names the action, the receiver it was sent to and when it expires, and is signed
// (HMAC-SHA-256) with a key that never leaves the state database. It is worth one answer: redeem()
// notes that, on disk, before anything is done, whatever comes of it. Whoever has the link may
// answer, so links are made only where [notify.NAME] approval_links says so.
//
// Thread safety: all members, any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/knowledge/state.hpp"

namespace nexus::publish {

struct Ticket {
  std::string action;    // its id
  std::string receiver;  // whom the link was sent to
  WallTime expires{};
};

class Approvals {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Approvals>> open(Clock& clock,
                                                               knowledge::StateDb& db);

  [[nodiscard]] std::string token(const Ticket& ticket) const;
  /// kNotFound: no token of this agent; kTimeout: expired; kConflict: it was used.
  [[nodiscard]] Result<Ticket> look(std::string_view token);
  /// As look(), and from now on it is used.
  [[nodiscard]] Result<Ticket> redeem(std::string_view token);

 private:
  Approvals(Clock& clock, knowledge::StateDb& db, std::string key)
      : clock_(clock), db_(db), key_(std::move(key)) {}
  [[nodiscard]] Result<Ticket> read(std::string_view token) const;

  Clock& clock_;
  knowledge::StateDb& db_;
  const std::string key_;
};

}  // namespace nexus::publish
