// Surroundings of the host, for the planner: what systemd and the container engine say of services,
// and what they need by systemd's dependencies and by connections that were seen.
//
// Connections and what is configured make one graph, which the book of findings has too.
//
// look() asks systemd, on the plan loop, every kStates for the states and every kNeeds for the
// needs of what is watched; the answers stand until the next look, and are dropped (nothing is
// known) when systemd could not be asked for kStale. Thread safety: look() one at a time; the
// others any thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "nexus/analyze/book.hpp"
#include "nexus/config/config.hpp"
#include "nexus/drivers/systemd.hpp"
#include "nexus/monitor/observed.hpp"
#include "nexus/plan/surroundings.hpp"

namespace nexus::agent {

class ContainerWatcher;

class HostSurroundings final : public plan::Surroundings {
 public:
  static constexpr Millis kStates{2000};
  static constexpr Millis kNeeds{60'000};
  static constexpr Millis kGraph{10'000};
  static constexpr Millis kStale{30'000};
  static constexpr std::size_t kMostUnits = 200;  // whose needs are asked for

  HostSurroundings(Clock& clock, drivers::Systemd& systemd, const monitor::Observed& observed)
      : clock_(clock), systemd_(systemd), observed_(observed) {}

  /// Who knows of containers; null: nobody, and then none can serve, as far as is known.
  void set_containers(std::shared_ptr<const ContainerWatcher> containers);
  void look(const config::Config& config);
  /// Who needs whom: [services] depends_on, and connections of units of this host, for the book and
  /// for needs(). Whom a unit talked to it needs for an hour, also while it cannot talk. Null: as
  /// at the last call. Asked on the plan loop; looks every kGraph.
  [[nodiscard]] std::shared_ptr<const analyze::Graph> look_for_graph(const config::Config& config);

  [[nodiscard]] std::optional<std::string> down(std::string_view service) const override;
  [[nodiscard]] std::vector<plan::Need> needs(std::string_view service) const override;

 private:
  void look_at_states();
  void look_for_needs(const config::Config& config);
  void remember_talks(SteadyTime now);

  Clock& clock_;
  drivers::Systemd& systemd_;
  const monitor::Observed& observed_;
  SteadyTime next_states_{};  // look()'s
  SteadyTime next_needs_{};   // look()'s
  SteadyTime next_graph_{};   // look_for_graph()'s
  mutable std::mutex mutex_;
  std::shared_ptr<const ContainerWatcher> containers_;                 // guarded by mutex_
  SteadyTime seen_{};                                                  // guarded by mutex_
  std::map<std::string, std::string, std::less<>> states_;             // of what is not up; guarded
  std::set<std::string, std::less<>> loaded_;                          // guarded
  std::map<std::string, std::vector<plan::Need>, std::less<>> needs_;  // guarded
  /// Connections by who needs whom, and when they were last seen. Of the thread that looks.
  std::map<std::pair<std::string, std::string>, SteadyTime> seen_talks_;
  std::shared_ptr<const analyze::Graph> graph_;  // guarded
  /// Whom the processes of each unit talk to, of `graph_`: made once a graph, asked at every
  /// decision. Guarded.
  std::map<std::string, std::vector<plan::Need>, std::less<>> talks_;
};

/// Why a unit in this state cannot serve, in systemd's word; nothing: it can.
[[nodiscard]] std::optional<std::string> cannot_serve(const drivers::UnitSummary& unit);

}  // namespace nexus::agent
