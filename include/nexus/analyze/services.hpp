// Services: from events of watched services (units, containers) to findings, at once, without
// polling.
//
// A service that is failed, or inactive with a result other than success, is a finding
// "service_failed" (critical) with the labels service and kind, and unit for kind systemd; it is
// cleared when the service is active again or was stopped on purpose (inactive or deactivating with
// result success). A service that its manager restarts by itself (activating, sub-state
// auto-restart) is "service_unstable" (warning), until five minutes have passed without it. The
// first event of a service that has failed already is a finding as well.
//
// A service that its manager restarts passes through `failed` on its way to auto-restart: it is
// "service_failed" only when it stays there for two seconds, that is when the manager has given up.
// A service that ends badly while a job to stop it is under way was stopped by somebody: no
// finding.
//
// Who was stopped by somebody is remembered by its invocation, and over a restart of the agent once
// save() has written it down.
//
// Each service is a source of its own in the book: "service:NAME".
//
// Thread safety: on_event() from any thread (events of one service from one at a time); it does not
// block. save() any thread; it waits for another one that saves meanwhile.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nexus/analyze/book.hpp"
#include "nexus/knowledge/event.hpp"
#include "nexus/knowledge/state.hpp"

namespace nexus::analyze {

class Services {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Services>> open(Book& book, knowledge::StateDb& db);
  ~Services();
  void on_event(const knowledge::ServiceEvent& event);
  /// Forgets services that are not watched any more and clears their findings.
  void set_watched(const std::vector<std::string>& services);
  /// Writes down who was stopped by somebody until now; an error: that is not written.
  [[nodiscard]] Status save();
  /// The last event of every service.
  [[nodiscard]] std::vector<knowledge::ServiceEvent> states() const;

 private:
  struct Impl;
  explicit Services(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::analyze
