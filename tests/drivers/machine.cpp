#include "drivers/machine.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>

#include "nexus/host/subprocess.hpp"

namespace nexus::drivers::testing {
namespace {

void require_testbed() {
  INFO("this test changes systemd: run it in a machine of tests/testbed");
  REQUIRE(std::getenv("NEXUS_TESTBED") != nullptr);
}

std::string unit_file(const std::string& name) {
  return "/run/systemd/system/" + name;
}

Result<host::Exit> run_systemctl(std::vector<std::string> arguments) {
  base::SystemClock clock;
  arguments.insert(arguments.begin(), "/usr/bin/systemctl");
  return host::run({.argv = std::move(arguments)}, clock, clock.steady() + kLong);
}

}  // namespace

void systemctl(std::vector<std::string> arguments) {
  require_testbed();
  const Status done = try_systemctl(std::move(arguments));
  if (!done) FAIL(done.error().message());
}

Status try_systemctl(std::vector<std::string> arguments) {
  auto exit = run_systemctl(std::move(arguments));
  if (!exit) return propagate(std::move(exit));
  if (exit->status != 0) return fail(Errc::kInternal, "systemctl: {}", exit->output);
  return {};
}

TestUnit::TestUnit(std::string name, const std::string& text) : name_(std::move(name)) {
  rewrite(text);
}

TestUnit::~TestUnit() {
  // Whatever the test left it in: none of these may fail the next one.
  static_cast<void>(run_systemctl({"kill", "--signal=KILL", name_}));
  static_cast<void>(run_systemctl({"stop", name_}));
  unlink(unit_file(name_).c_str());
  static_cast<void>(run_systemctl({"reset-failed", name_}));
  static_cast<void>(run_systemctl({"daemon-reload"}));
}

void TestUnit::rewrite(const std::string& text) const {
  require_testbed();
  {
    std::ofstream out(unit_file(name_));
    out << text;
    REQUIRE(out.flush());
  }
  systemctl({"daemon-reload"});
}

UnitWatcher::Callback EventLog::callback() {
  return [this](const UnitEvent& event) {
    const std::lock_guard guard(mutex_);
    events_.push_back(event);
    changed_.notify_all();
  };
}

UnitEvent EventLog::wait(std::size_t& from, const std::function<bool(const UnitStatus&)>& fits) {
  std::unique_lock lock(mutex_);
  const bool found = clock_.wait_until(lock, changed_, clock_.steady() + kLong, [&] {
    while (from < events_.size()) {
      if (fits(events_[from++].status)) return true;
    }
    return false;
  });
  if (found) return events_[from - 1];
  std::string seen;
  for (const UnitEvent& event : events_) seen += fmt::format(" {}", event.status.sub_state);
  FAIL("the awaited event did not come; seen were:" << seen);
  return {};
}

std::size_t EventLog::size() const {
  const std::lock_guard guard(mutex_);
  return events_.size();
}

std::vector<std::string> EventLog::states(std::size_t from) const {
  const std::lock_guard guard(mutex_);
  std::vector<std::string> out;
  for (; from < events_.size(); ++from) {
    out.push_back(events_[from].status.active_state + "/" + events_[from].status.sub_state);
  }
  return out;
}

}  // namespace nexus::drivers::testing
