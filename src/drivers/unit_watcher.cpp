#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "drivers/bus.hpp"
#include "drivers/watch_session.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/loop_thread.hpp"

namespace nexus::drivers {
namespace {

constexpr Millis kFirstBackoff{100};
constexpr Millis kMaxBackoff{10'000};

std::vector<std::string> normalized(const std::vector<std::string>& names) {
  std::vector<std::string> units;
  for (const std::string& name : names) {
    auto unit = normalize_unit_name(name);
    if (!unit) {
      log::error("systemd", "cannot watch: {}", unit.error().message());
    } else if (std::ranges::find(units, *unit) == units.end()) {
      units.push_back(std::move(*unit));
    }
  }
  return units;
}

int make_event() {
  const int fd = eventfd(0, EFD_CLOEXEC);
  NEXUS_CHECK(fd >= 0);
  return fd;
}

}  // namespace

struct UnitWatcher::Impl {
  Clock& clock;
  const std::vector<std::string> units;
  const Callback callback;
  const std::string address;
  const int stop = make_event();
  std::atomic<bool> stopping{false};
  std::atomic<bool> connected{false};
  std::atomic<std::uint64_t> connections{0};
  std::thread thread{};

  void run() {
    base::name_this_thread("unit-watcher");
    Millis backoff = kFirstBackoff;
    bool said = false;
    while (!stopping) {
      const Error lost = follow(backoff, said);
      if (stopping) return;
      if (!std::exchange(said, true))
        log::warning("systemd", "units are not watched: {}; trying again", lost.message());
      pollfd waiting{stop, POLLIN, 0};
      poll(&waiting, 1, static_cast<int>(backoff.count()));
      backoff = std::min(backoff * 2, kMaxBackoff);
    }
  }

  /// One session until it is lost or the watcher stops.
  Error follow(Millis& backoff, bool& said) {
    auto bus = open_bus(address);
    if (!bus) return bus.error();
    WatchSession session(clock, std::move(*bus), units, callback);
    if (auto begun = session.begin(); !begun) return begun.error();
    while (!stopping) {
      const auto busy = session.process();
      if (!busy) {
        connected = false;
        return busy.error();
      }
      if (!connected && session.complete()) {
        connected = true;
        ++connections;
        backoff = kFirstBackoff;
        if (std::exchange(said, false)) log::info("systemd", "units are watched again");
      }
      if (!*busy) session.wait(stop);
    }
    connected = false;
    return {Errc::kCancelled, "stopped"};
  }
};

UnitWatcher::UnitWatcher(Clock& clock, const std::vector<std::string>& units, Callback callback,
                         std::string address)
    : impl_(std::make_unique<Impl>(clock, normalized(units), std::move(callback),
                                   std::move(address))) {
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

UnitWatcher::~UnitWatcher() {
  impl_->stopping = true;
  const std::uint64_t one = 1;
  NEXUS_CHECK(write(impl_->stop, &one, sizeof one) == sizeof one);
  impl_->thread.join();
  close(impl_->stop);
}

bool UnitWatcher::connected() const noexcept {
  return impl_->connected;
}

std::uint64_t UnitWatcher::reconnects() const noexcept {
  const std::uint64_t connections = impl_->connections;
  return connections == 0 ? 0 : connections - 1;
}

}  // namespace nexus::drivers
