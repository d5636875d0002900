// ContainerWatcher: what becomes of watched containers, told within milliseconds by the engine's
// events, as UnitWatcher tells it of units.
//
// A name is a container ("docker:web") or a service of Compose ("docker:shop/web"), which is up
// while one of its containers is. The words are those of units (knowledge/event.hpp):
//
// - active: it runs and, where it has a health check, is healthy.
// - activating: its health check has not answered yet; auto-restart: it is about to start again.
// - failed: it runs and is unhealthy; it has ended badly (exit code, out of memory); it is dead.
// - inactive: it ended well, is paused, was only made, or is not there.
// - deactivating: it is being removed; with `job`, told just before what somebody asked to end.
//
// Whoever asks the engine to stop or kill a container wants it so: what ends badly then is no
// failure (analyze/services.hpp). SIGHUP asks for no end. A process that is killed behind the
// engine's back is a failure. What was asked while the agent did not run is read from what the
// engine remembers (256 events).
//
// Thread: one, "containers", and the stream's; the callback runs on the first. Everything is looked
// at again every kLook, and every kAskAgain while the engine is away. Nothing is asked where a
// socket belongs to systemd: that would start the engine. Thread safety: down() any thread.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
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

/// What is told of a service that these are the containers of. `time` of the change; not when it
/// was received.
[[nodiscard]] knowledge::ServiceEvent container_event(std::string_view service,
                                                      std::span<const WatchedContainer> containers);

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

  /// Why it cannot serve, in a word; nothing: it can, or nobody has looked yet. What cannot be
  /// asked about cannot serve, as far as is known.
  [[nodiscard]] std::optional<std::string> down(std::string_view service) const;

 private:
  using Asked = std::map<std::string, std::int64_t, std::less<>>;
  struct Told {
    knowledge::ServiceEvent event;
    bool asked = false;  // somebody wanted it so
  };

  SteadyTime turn();
  [[nodiscard]] Status look(SteadyTime deadline);
  [[nodiscard]] Status begin_stream(const drivers::Docker& engine, SteadyTime deadline);
  /// Whether what has ended was asked to.
  [[nodiscard]] Result<bool> was_wanted(std::span<const WatchedContainer> found,
                                        const drivers::Docker& engine, SteadyTime deadline);
  [[nodiscard]] bool is_known_wanted(std::span<const WatchedContainer> found) const;
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
  mutable std::mutex mutex_;
  /// Ids that somebody asked to end, and when, in nanoseconds. Guarded.
  Asked asked_;
  /// Of what cannot serve; nothing: it can. Guarded.
  std::map<std::string, std::optional<std::string>, std::less<>> down_;
  std::optional<drivers::DockerEvents> stream_;  // the thread's
  base::LoopThread thread_;                      // last: it uses the rest
};

}  // namespace nexus::agent
