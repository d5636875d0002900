// ContainerWatcher: what becomes of watched containers, told at the engine's events, as UnitWatcher
// tells it of units. A look takes two requests and one for each container that is named; from one
// to the next there are 50 ms at least, and events of other containers begin none.
//
// A name is a container ("docker:web") or a service of Compose ("docker:shop/web"), which is up
// while one of its containers is. The words are those of units (knowledge/event.hpp):
//
// - active: it runs and, where it has a health check, is healthy.
// - activating: its health check has not answered yet; auto-restart: it is about to start again.
// - failed: it runs and is unhealthy; it has ended badly (exit code, out of memory); it is dead; it
//   could not be started.
// - inactive: it ended well, is paused, was only made, or is not there.
// - deactivating: it is being removed; with `job`, told just before what somebody asked to end.
//
// Whoever asks the engine to stop or kill a container wants it so: what ends badly then is no
// failure (analyze/services.hpp). KILL, TERM, INT, QUIT and the container's own stop signal ask for
// an end, others do not. Of a service of Compose that is down, the container that ended last says
// whether somebody wanted it. A process that is killed behind the engine's back is a failure. What
// was asked while the agent did not run is read from what the engine remembers: Docker its last 256
// events, and none from before its own start.
//
// Thread: one, "containers", and the stream's; the callback runs on the first. Everything is looked
// at again every kLook, when the stream of events ends, and every kAskAgain while the engine is
// away. Nothing is asked where a socket belongs to systemd: that would start the engine. Thread
// safety: down() any thread.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/loop_thread.hpp"
#include "nexus/config/config.hpp"
#include "nexus/drivers/docker.hpp"
#include "nexus/drivers/docker_events.hpp"
#include "nexus/knowledge/event.hpp"

namespace nexus::agent {

/// A container, and what only asking for it by its id tells.
struct WatchedContainer {
  drivers::DockerContainer listed;
  drivers::DockerDetails details;
};

/// Whether a container is what "web" or "shop/web" names.
[[nodiscard]] bool is_named(const drivers::DockerContainer& container, std::string_view name);

/// What is told of a service that these are the containers of. `time` of the change; not when it
/// was received.
[[nodiscard]] knowledge::ServiceEvent container_event(std::string_view service,
                                                      std::span<const WatchedContainer> containers);

/// When a container was asked to end, in nanoseconds since the epoch; 0: never.
struct AskedToEnd {
  std::int64_t end = 0;    // by what ends any program
  std::int64_t other = 0;  // by another signal, which is for some images how they are stopped
  int signal = 0;          // that one
};

/// Whether this run of a container was asked to end, and did.
[[nodiscard]] bool was_asked(const WatchedContainer& container, const AskedToEnd& asked);

class ContainerWatcher {
 public:
  static constexpr Millis kLook{30'000};
  static constexpr Millis kAskAgain{2000};

  using Callback = std::function<void(const knowledge::ServiceEvent&)>;

  /// The names of `config` that are containers: watched services, of which every change is told,
  /// beginning with what is found, and what others depend on, of which down() knows.
  ContainerWatcher(Clock& clock, const config::Config& config, Callback callback);
  ~ContainerWatcher();
  ContainerWatcher(const ContainerWatcher&) = delete;
  ContainerWatcher& operator=(const ContainerWatcher&) = delete;

  /// Whether there is anything to watch in it.
  [[nodiscard]] static bool has_work(const config::Config& config);

  /// Ends its threads: nothing is told from then on. down() goes on with what was known.
  void stop();

  /// Why it cannot serve, in a word; nothing: it can. What cannot be asked about, or was not looked
  /// at yet, cannot serve, as far as is known.
  [[nodiscard]] std::optional<std::string> down(std::string_view service) const;

 private:
  struct Seen {
    std::vector<WatchedContainer> containers;
    knowledge::ServiceEvent event;
  };
  struct Told {
    knowledge::ServiceEvent event;
    bool asked = false;  // somebody wanted it so
  };

  SteadyTime turn();
  [[nodiscard]] Status look(SteadyTime deadline);
  void open_stream(const std::string& socket);
  [[nodiscard]] bool ask_who_wanted(std::span<const Seen> seen, const drivers::Docker& engine,
                                    SteadyTime deadline);
  /// Whether it is a failure that was not told yet.
  [[nodiscard]] bool is_news(const Seen& seen) const;
  [[nodiscard]] bool was_told_wanted(const Seen& seen) const;
  [[nodiscard]] bool is_known_wanted(std::span<const WatchedContainer> found) const;
  [[nodiscard]] bool is_ours(const drivers::DockerEvent& event) const;
  void note_asked(const drivers::DockerEvent& event);
  void note(const drivers::DockerEvent& event);  // on the stream's thread
  void tell(Told told);
  void learn(const std::string& service, std::optional<std::string> why_down);

  Clock& clock_;
  const config::DockerSection section_;
  const std::string rootfs_;
  const Callback callback_;
  const std::map<std::string, bool> names_;        // and whether it is a watched service
  std::map<std::string, Told, std::less<>> last_;  // the thread's
  bool away_ = false;                              // the thread's
  bool blind_ = false;       // what happened was asked for in vain; the thread's
  SteadyTime not_before_{};  // of the next look; the thread's
  SteadyTime reopen_{};      // not before, of the stream; the thread's
  mutable std::mutex mutex_;
  std::map<std::string, AskedToEnd, std::less<>> asked_;  // by id; guarded
  std::set<std::string, std::less<>> ids_;                // that the names had last; guarded
  /// Of what cannot serve; nothing: it can. Guarded.
  std::map<std::string, std::optional<std::string>, std::less<>> down_;
  std::optional<drivers::DockerEvents> stream_;  // the thread's
  base::LoopThread thread_;                      // last: it uses the rest
};

}  // namespace nexus::agent
