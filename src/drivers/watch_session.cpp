#include "drivers/watch_session.hpp"

#include <poll.h>
#include <systemd/sd-bus.h>

#include <algorithm>
#include <array>
#include <tuple>

namespace nexus::drivers {
namespace {

// A bus daemon allows 512 match rules a connection by default; beyond this many units one rule for
// all of them is used.
constexpr std::size_t kMaxUnitMatches = 200;
constexpr std::size_t kMaxInFlight = 64;
constexpr const char* kUnitInterface = "org.freedesktop.systemd1.Unit";

bool differs(const UnitStatus& a, const UnitStatus& b) {
  const auto key = [](const UnitStatus& s) {
    return std::tie(s.load_state, s.active_state, s.sub_state, s.result, s.main_pid, s.restarts,
                    s.invocation_id);
  };
  return key(a) != key(b);
}

// Without an install callback sd-bus closes the connection when the bus refuses a rule: process()
// says so then.
Status add_match(sd_bus* bus, const std::string& rule, sd_bus_message_handler_t handler, void* data,
                 std::vector<Slot>& slots) {
  sd_bus_slot* slot = nullptr;
  const int r = sd_bus_add_match_async(bus, &slot, rule.c_str(), handler, nullptr, data);
  if (r < 0) return std::unexpected(bus_error(r, "match " + rule));
  slots.emplace_back(slot);
  return {};
}

Status call_async(sd_bus* bus, sd_bus_message* message, sd_bus_message_handler_t handler,
                  void* data, Slot& slot) {
  sd_bus_slot* raw = nullptr;
  const int r = sd_bus_call_async(bus, &raw, message, handler, data, 0);
  if (r < 0) return std::unexpected(bus_error(r, "call systemd"));
  slot.reset(raw);
  return {};
}

}  // namespace

struct WatchSession::Handlers {
  static int subscribed(sd_bus_message* m, void* data, sd_bus_error* /*error*/) {
    const Status ok = reply_status(m, "subscribe to systemd");
    // Executed anew, systemd may or may not remember who had subscribed.
    if (!ok && ok.error().code() == Errc::kAlreadyExists) return 1;
    static_cast<WatchSession*>(data)->lose_unless(ok);
    return 1;
  }

  static int read(sd_bus_message* m, void* data, sd_bus_error* /*error*/) {
    auto& unit = *static_cast<Unit*>(data);
    unit.session->replied(unit, m, &WatchSession::take_status);
    return 1;
  }

  static int probed(sd_bus_message* m, void* data, sd_bus_error* /*error*/) {
    auto& unit = *static_cast<Unit*>(data);
    unit.session->replied(unit, m, &WatchSession::take_probe);
    return 1;
  }

  static int changed(sd_bus_message* m, void* data, sd_bus_error* /*error*/) {
    auto& session = *static_cast<WatchSession*>(data);
    const auto watchers = session.by_path_.find(sd_bus_message_get_path(m));
    if (watchers == session.by_path_.end()) return 0;
    for (Unit* unit : watchers->second) {
      if (unit->known) session.lose_unless(session.update(*unit, m));
    }
    return 0;
  }

  // UnitNew takes the place of a unit's first PropertiesChanged; UnitRemoved that of its last.
  static int came_or_went(sd_bus_message* m, void* data, sd_bus_error* /*error*/) {
    auto& session = *static_cast<WatchSession*>(data);
    const char* id = nullptr;
    if (session.reloading_ || sd_bus_message_read(m, "s", &id) < 0) return 0;
    for (Unit& unit : session.units_) {
      if (unit.known && unit.id == id) session.ask(unit, Ask::kProbe);
    }
    session.lose_unless(session.pump());
    return 0;
  }

  // During a reload every unit goes and comes again; what it is then is read at the end.
  static int reloading(sd_bus_message* m, void* data, sd_bus_error* /*error*/) {
    auto& session = *static_cast<WatchSession*>(data);
    int active = 0;
    if (sd_bus_message_read(m, "b", &active) < 0) return 0;
    session.reloading_ = active != 0;
    if (active == 0) session.read_all();
    return 0;
  }

  // systemd came (back) to the bus.
  static int owner_changed(sd_bus_message* m, void* data, sd_bus_error* /*error*/) {
    auto& session = *static_cast<WatchSession*>(data);
    const char* owner = nullptr;
    if (sd_bus_message_read(m, "sss", nullptr, nullptr, &owner) < 0 || *owner == '\0') return 0;
    session.reloading_ = false;
    session.lose_unless(session.subscribe());
    session.read_all();
    return 0;
  }
};

WatchSession::WatchSession(Clock& clock, Bus bus, const std::vector<std::string>& units,
                           const UnitWatcher::Callback& callback)
    : clock_(clock), callback_(callback), bus_(std::move(bus)), units_(units.size()) {
  for (std::size_t i = 0; i < units.size(); ++i) {
    units_[i].session = this;
    units_[i].name = units[i];
  }
}

WatchSession::~WatchSession() = default;

Status WatchSession::begin() {
  if (auto ok = match_manager(); !ok) return ok;
  for (Unit& unit : units_) {
    if (auto ok = follow(unit, unit.name); !ok) return ok;
  }
  if (auto ok = subscribe(); !ok) return ok;
  read_all();
  return {};
}

Result<bool> WatchSession::process() {
  const int r = sd_bus_process(bus_.get(), nullptr);
  if (lost_) return std::unexpected(*lost_);
  if (r < 0) return std::unexpected(bus_error(r, "signals of systemd"));
  return r > 0;
}

void WatchSession::wait(int stop) {
  std::array<pollfd, 2> fds = {pollfd{sd_bus_get_fd(bus_.get()), 0, 0}, pollfd{stop, POLLIN, 0}};
  fds[0].events = static_cast<short>(sd_bus_get_events(bus_.get()));
  poll(fds.data(), fds.size(), timeout());
}

bool WatchSession::complete() const {
  return std::ranges::all_of(units_, &Unit::known);
}

// sd-bus says when a call of its own times out, on the kernel's clock: this wait is a real one.
int WatchSession::timeout() const {
  std::uint64_t until = 0;
  if (sd_bus_get_timeout(bus_.get(), &until) <= 0 || until == UINT64_MAX) return -1;
  const SteadyTime due{std::chrono::microseconds(static_cast<std::int64_t>(until))};
  const auto left = std::chrono::ceil<Millis>(due - base::SystemClock().steady());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, kCallLimit.count()));
}

std::string WatchSession::from_systemd() const {
  const char* sender = signal_sender(bus_.get());
  return sender == nullptr ? "type='signal'," : fmt::format("type='signal',sender='{}',", sender);
}

std::string WatchSession::changes() const {
  return fmt::format("{}interface='{}',member='PropertiesChanged',", from_systemd(), kProperties);
}

bool WatchSession::match_all() const {
  return units_.size() > kMaxUnitMatches;
}

Status WatchSession::match_manager() {
  const std::string manager =
      fmt::format("{}path='{}',interface='{}',", from_systemd(), kManagerPath, kManager);
  std::vector<std::pair<std::string, sd_bus_message_handler_t>> rules = {
      {manager + "member='UnitNew'", &Handlers::came_or_went},
      {manager + "member='UnitRemoved'", &Handlers::came_or_went},
      {manager + "member='Reloading'", &Handlers::reloading}};
  if (signal_sender(bus_.get()) != nullptr) {
    rules.emplace_back(
        fmt::format("type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',"
                    "member='NameOwnerChanged',arg0='{}'",
                    kSystemd),
        &Handlers::owner_changed);
  }
  if (match_all()) {
    rules.emplace_back(changes() + fmt::format("path_namespace='{}'", kUnitPaths),
                       &Handlers::changed);
  }
  for (const auto& [rule, handler] : rules) {
    if (auto ok = add_match(bus_.get(), rule, handler, this, matches_); !ok) return ok;
  }
  return {};
}

// Signals come from the path of a unit's first name, whatever alias it is watched by.
Status WatchSession::follow(Unit& unit, const std::string& id) {
  unit.id = id;
  const std::string path = unit_path(id);
  const auto [entry, added] = by_path_.try_emplace(path);
  auto& watchers = entry->second;
  if (std::ranges::find(watchers, &unit) == watchers.end()) watchers.push_back(&unit);
  if (!added || match_all()) return {};
  return add_match(bus_.get(), changes() + fmt::format("path='{}'", path), &Handlers::changed, this,
                   matches_);
}

// systemd sends signals to those who asked. Its private socket does so anyway, and answers all the
// same.
Status WatchSession::subscribe() {
  auto message = request(bus_.get(), kManagerPath, kManager, "Subscribe");
  if (!message) return propagate(std::move(message));
  return call_async(bus_.get(), message->get(), &Handlers::subscribed, this, subscription_);
}

void WatchSession::read_all() {
  for (Unit& unit : units_) {
    unit.known = false;
    ask(unit, Ask::kRead);
  }
  lose_unless(pump());
}

void WatchSession::ask(Unit& unit, Ask what) {
  if (unit.wanted == Ask::kNothing && !unit.in_flight) queue_.push_back(&unit);
  unit.wanted = std::max(unit.wanted, what);
}

Status WatchSession::pump() {
  while (in_flight_ < kMaxInFlight && !queue_.empty()) {
    Unit& unit = *queue_.front();
    queue_.pop_front();
    if (auto sent = send(unit); !sent) return sent;
    unit.wanted = Ask::kNothing;
    unit.in_flight = true;
    ++in_flight_;
  }
  return {};
}

// A unit that came or went is probed first: GetUnit does not load a unit, as reading its properties
// does. A unit that nothing needs would be loaded, announced, read, forgotten, loaded, ... in a
// circle.
Status WatchSession::send(Unit& unit) {
  const bool probe = unit.wanted == Ask::kProbe;
  auto message = probe ? request(bus_.get(), kManagerPath, kManager, "GetUnit")
                       : request(bus_.get(), unit_path(unit.id), kProperties, "GetAll");
  if (!message) return propagate(std::move(message));
  sd_bus_message_append(message->get(), "s",
                        probe ? unit.id.c_str() : "");  // "": of all interfaces
  return call_async(bus_.get(), message->get(), probe ? &Handlers::probed : &Handlers::read, &unit,
                    unit.call);
}

void WatchSession::replied(Unit& unit, sd_bus_message* reply,
                           Status (WatchSession::*take)(Unit&, sd_bus_message*)) {
  unit.in_flight = false;
  --in_flight_;
  if (unit.wanted != Ask::kNothing)
    queue_.push_back(&unit);  // wanted again while it was on its way
  lose_unless((this->*take)(unit, reply));
  lose_unless(pump());
}

Status WatchSession::take_status(Unit& unit, sd_bus_message* reply) {
  const std::string what = "read " + unit.name;
  if (auto ok = reply_status(reply, what); !ok) return ok;
  UnitStatus now;
  if (const int r = read_properties(reply, now); r < 0) return std::unexpected(bus_error(r, what));
  if (now.name != unit.id) {  // watched by an alias: read again once its signals are matched
    if (auto ok = follow(unit, now.name); !ok) return ok;
    ask(unit, Ask::kRead);
    return {};
  }
  unit.status = std::move(now);
  unit.known = true;
  settle(unit);
  return {};
}

Status WatchSession::take_probe(Unit& unit, sd_bus_message* reply) {
  const Status found = reply_status(reply, "find " + unit.name);
  if (found) {
    ask(unit, Ask::kRead);
    return {};
  }
  if (found.error().code() != Errc::kNotFound) return found;
  unit.status.active_state = "inactive";  // systemd forgets nothing else
  unit.status.sub_state = "dead";
  unit.status.main_pid = 0;
  if (unit.known) settle(unit);
  return {};
}

// systemd sends the values of the type's interface (Service) first, those of Unit last: with them
// all are there.
Status WatchSession::update(Unit& unit, sd_bus_message* signal) {
  const char* interface = nullptr;
  int r = sd_bus_message_rewind(signal, 1);
  if (r >= 0) r = sd_bus_message_read(signal, "s", &interface);
  if (r >= 0) r = read_properties(signal, unit.status);
  if (r < 0) return std::unexpected(bus_error(r, "a change of " + unit.name));
  if (unit.status.name.empty()) unit.status.name = unit.id;
  if (std::string_view(interface) == kUnitInterface) settle(unit);
  return {};
}

void WatchSession::settle(Unit& unit) {
  if (unit.reported && !differs(*unit.reported, unit.status)) return;
  unit.reported = unit.status;
  callback_({unit.status, clock_.steady(), unit.name});
}

// The connection is given up; the watcher makes a new one.
void WatchSession::lose_unless(const Status& status) {
  if (!status && !lost_) lost_ = status.error();
}

}  // namespace nexus::drivers
