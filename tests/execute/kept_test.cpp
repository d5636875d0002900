// What actions have set, compared with what is there: real kernel parameters, in a network of the
// test's own.
#include <sched.h>

#include "bench.hpp"
#include "nexus/host/privileged.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;

namespace {

constexpr auto kName = "net.core.somaxconn";

std::string shown(const Result<std::vector<Kept>>& all) {
  if (!all) return all.error().message();
  std::string out;
  for (const auto& one : *all) {
    for (const auto& value : one.values)
      out += fmt::format("{}: {} {} {} ", value.name, value.wanted, value.found,
                         value.as_set ? "as set" : "changed");
    out += one.unknown;
  }
  return out;
}

/// In a thread that has a network of its own: what it sets is nobody else's.
std::vector<std::string> in_own_network() {
  std::vector<std::string> seen;
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) return;  // needs root, as other tests do
    base::SystemClock clock;
    Bench bench(clock);
    bench.executor->start();
    std::size_t count = 0;
    const auto run = [&](std::string type, config::Parameters parameters, bool dry = false) {
      auto action = bench.action(kName);
      action.type = std::move(type);
      action.parameters = std::move(parameters);
      action.dry_run = dry;
      std::ignore = bench.executor->submit(action);
      return bench.wait(++count).back();
    };
    const auto note = [&] { seen.push_back(shown(bench.executor->kept())); };
    run("network_optimization", {{"value", "1111"}}, true);
    note();
    const auto first = run("network_optimization", {{"value", "1234"}});
    note();
    const auto second = run("network_optimization", {{"value", "2345"}});
    note();
    std::ignore = bench.privileged.set_sysctl(kName, "3456");  // somebody else
    note();
    run("undo_action", {{"action", second.id}});  // in vain: it is not as it was set
    note();
    run("network_optimization", {{"value", "4567"}});
    note();
  }).join();
  return seen;
}

}  // namespace

TEST_CASE("what was set last is compared; what is not wanted any more is not") {
  CHECK(in_own_network() == std::vector<std::string>{"", "net.core.somaxconn: 1234 1234 as set ",
                                                     "net.core.somaxconn: 2345 2345 as set ",
                                                     "net.core.somaxconn: 2345 3456 changed ", "",
                                                     "net.core.somaxconn: 4567 4567 as set "});
}
