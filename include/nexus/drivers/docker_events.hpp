// DockerEvents: what happens in a container engine, read from a stream that stays open.
//
// An engine remembers its last 256 events only, and each health check makes three: who asks now and
// then misses some. When the stream has ended (the engine was stopped, or started again), reopen()
// goes on where it was; what the engine still knows is not given twice, and what it has forgotten
// meanwhile is counted as a gap. It never opens the stream by itself: connecting to a socket may
// start the engine that somebody has stopped.
//
// Thread: one, "docker-events", while the stream is open; it calls the callbacks. Bounded: nothing
// is kept but the hashes of the last events. Thread safety: reopen() and the destructor by one at a
// time, the others any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/drivers/docker.hpp"

namespace nexus::drivers {

struct DockerEvent {
  std::int64_t time = 0;  // nanoseconds since the epoch
  std::string type;       // container, image, network, volume, ...
  std::string action;     // start, die, oom, health_status, ...: without its detail
  std::string id;         // of the thing
  std::string name;
  std::string signal;   // of "kill": "15"; empty where the engine does not tell
  std::string project;  // of Compose, and the service in it: its container's
  std::string service;
};

class DockerEvents {
 public:
  using Callback = std::function<void(const DockerEvent&)>;

  /// Of events from `from` on; nothing runs before reopen(). `ended` is told of each end of the
  /// stream, also of one that did not come about, but not by the destructor; it may not reopen().
  DockerEvents(std::string socket, WallTime from, Callback callback,
               std::function<void()> ended = {});
  ~DockerEvents();
  DockerEvents(const DockerEvents&) = delete;
  DockerEvents& operator=(const DockerEvents&) = delete;

  /// Opens the stream, when it is not open.
  void reopen();
  [[nodiscard]] bool is_open() const noexcept;
  /// How often the stream was opened again and events may be missing in between.
  [[nodiscard]] std::uint64_t gaps() const noexcept;
  /// Lines of the stream that are no event.
  [[nodiscard]] std::uint64_t invalid() const noexcept;
  /// Why the stream last ended; empty while it is open.
  [[nodiscard]] std::string error() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What the engine still knows of events between two times, oldest first; `to` is not to be in the
/// future, for an engine answers when it has come. `filters` as of the engine's API, JSON; an
/// engine that keeps its events in a journal knows more of them than anybody wants to read.
[[nodiscard]] Result<std::vector<DockerEvent>> past_events(const Docker& engine,
                                                           std::string_view filters, WallTime from,
                                                           WallTime to, SteadyTime deadline);

}  // namespace nexus::drivers
