// Services: from events of watched services to findings, at once, without polling.
//
// A service that enters `failed`, or that is down though nobody asked for it, is a finding
// "service_failed" with labels {service, kind} and severity critical; it is cleared when the
// service is active again. A service that was stopped on purpose (inactive with result success) is
// no finding. "service_unstable" (warning) when it restarts by itself.
//
// Thread safety: on_event() from any thread; it does not block.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nexus/analyze/book.hpp"
#include "nexus/knowledge/event.hpp"

namespace nexus::analyze {

class Services {
 public:
  explicit Services(Book& book);
  ~Services();
  void on_event(const knowledge::ServiceEvent& event);
  /// Forgets services that are not watched any more and clears their findings.
  void set_watched(const std::vector<std::string>& services);
  /// The last event of every service.
  [[nodiscard]] std::vector<knowledge::ServiceEvent> states() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::analyze
