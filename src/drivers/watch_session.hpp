// WatchSession: one connection of a UnitWatcher, from its begin to its loss.
//
// All calls are asynchronous: the thread waits in wait() only. A signal carries the new values, so
// that each transition is reported even when the next follows at once; a unit is read as a whole at
// the start, after a reload of systemd and when it appears. Invariants: (1) at most kMaxInFlight
// calls await a reply, a bus daemon allows 128; (2) a unit that is not `known` has a reading queued
// or on its way, which is newer than every signal that arrives before it. Thread safety: none, it
// belongs to the watcher's thread.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "drivers/bus.hpp"

namespace nexus::drivers {

class WatchSession {
 public:
  WatchSession(Clock& clock, Bus bus, const std::vector<std::string>& units,
               const UnitWatcher::Callback& callback);
  ~WatchSession();
  WatchSession(const WatchSession&) = delete;

  /// Sends off what the session begins with.
  Status begin();
  /// Dispatches one message. False when there was none; an error when the connection is to be given
  /// up.
  Result<bool> process();
  /// Waits for the bus, or for `stop` to be readable.
  void wait(int stop);
  /// Whether every unit has been read.
  [[nodiscard]] bool complete() const;

 private:
  struct Handlers;  // the C callbacks of sd-bus
  friend struct Handlers;

  enum class Ask { kNothing, kProbe, kRead };
  struct Unit {
    WatchSession* session = nullptr;
    std::string name;                    // as it was asked for
    std::string id;                      // its first name: that of its object path
    UnitStatus status;                   // kept by signals once it is known
    std::optional<UnitStatus> reported;  // what the callback saw last in this session
    bool known = false;
    Ask wanted = Ask::kNothing;  // to be asked as soon as there is room
    bool in_flight = false;
    Slot call;
  };

  [[nodiscard]] int timeout() const;
  [[nodiscard]] std::string from_systemd() const;
  [[nodiscard]] std::string changes() const;
  [[nodiscard]] bool match_all() const;
  Status match_manager();
  Status follow(Unit& unit, const std::string& id);
  Status subscribe();
  void read_all();
  void ask(Unit& unit, Ask what);
  Status pump();
  Status send(Unit& unit);
  void replied(Unit& unit, sd_bus_message* reply,
               Status (WatchSession::*take)(Unit&, sd_bus_message*));
  Status take_status(Unit& unit, sd_bus_message* reply);
  Status take_probe(Unit& unit, sd_bus_message* reply);
  Status update(Unit& unit, sd_bus_message* signal);
  void settle(Unit& unit);
  void lose_unless(const Status& status);

  Clock& clock_;
  const UnitWatcher::Callback& callback_;
  Bus bus_;  // outlives all slots below
  std::vector<Unit> units_;
  std::map<std::string, std::vector<Unit*>, std::less<>> by_path_;
  std::deque<Unit*> queue_;  // units with something wanted and nothing in flight
  std::size_t in_flight_ = 0;
  std::vector<Slot> matches_;
  Slot subscription_;
  bool reloading_ = false;
  std::optional<Error> lost_;
};

}  // namespace nexus::drivers
