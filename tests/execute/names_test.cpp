// Names of units: what is known is told at once, what is not is asked about later.
#include "execute/names.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "bench.hpp"
#include "nexus/config/config.hpp"
#include "nexus/drivers/systemd.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;

namespace {

/// A socket that accepts nobody, as a systemd that hangs; its backlog lets connections in.
class HungBus {
 public:
  explicit HungBus(std::string path) : path_(std::move(path)) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, path_.c_str(), path_.size());
    REQUIRE(bind(fd_, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
    REQUIRE(listen(fd_, 16) == 0);
  }
  ~HungBus() { close(fd_); }
  [[nodiscard]] std::string address() const { return "unix:path=" + path_; }
  [[nodiscard]] bool was_asked() const {
    pollfd waiting{fd_, POLLIN, 0};
    return poll(&waiting, 1, 0) == 1;
  }

 private:
  const std::string path_;
  const int fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
};

}  // namespace

TEST_CASE("only a unit that is not there makes a name its own; another error tells nothing") {
  base::ManualClock clock;
  UnitNames names(clock);
  Errc answer = Errc::kPermissionDenied;
  const auto ask = [&](const std::string& unit) -> Result<std::string> {
    return fail(answer, "no answer about {}", unit);
  };
  CHECK(names.resolve("www") == "www.service");
  names.refresh(ask);
  CHECK_FALSE(names.is_known("www"));
  answer = Errc::kNotFound;
  CHECK(names.resolve("www") == "www.service");
  names.refresh(ask);
  CHECK(names.is_known("www"));
}

TEST_CASE("a name that is not known is the name, and is asked about at the next refresh") {
  base::ManualClock clock;
  UnitNames names(clock);
  std::vector<std::string> asked;
  const auto ask = [&](const std::string& unit) -> Result<std::string> {
    asked.push_back(unit);
    return unit == "www.service" ? "web.service" : unit;
  };
  CHECK(names.resolve("www") == "www.service");
  CHECK(names.resolve("not a unit") == "not a unit");
  CHECK_FALSE(names.is_known("www"));
  CHECK(names.is_known("not a unit"));
  CHECK(asked.empty());
  names.refresh(ask);
  CHECK(names.is_known("www"));
  CHECK(asked == std::vector<std::string>{"www.service"});
  CHECK(names.resolve("www") == "web.service");
  CHECK(names.stands_for("www.service", "web.service"));
  names.refresh(ask);
  CHECK(asked.size() == 1);
  // What it was stays good until it is learned anew.
  clock.advance(UnitNames::kAskAgain);
  CHECK(names.resolve("www") == "web.service");
  names.refresh(ask);
  CHECK(asked.size() == 2);
}

TEST_CASE("who does not answer is asked again after a minute from then, not at once") {
  base::ManualClock clock;
  UnitNames names(clock);
  int asked = 0;
  const auto ask = [&](const std::string&) -> Result<std::string> {
    ++asked;
    clock.advance(UnitNames::kAskAgain);  // the question took its time
    return fail(Errc::kTimeout, "no answer");
  };
  CHECK(names.resolve("a") == "a.service");
  CHECK(names.resolve("b") == "b.service");
  names.refresh(ask);
  CHECK(asked == 1);
  names.refresh(ask);
  clock.advance(UnitNames::kAskAgain - 1ms);
  names.refresh(ask);
  CHECK(asked == 1);
  clock.advance(1ms);
  names.refresh(ask);
  CHECK(asked == 2);
}

TEST_CASE("one name that is refused does not hide the others") {
  base::ManualClock clock;
  UnitNames names(clock);
  CHECK(names.resolve("a") == "a.service");
  CHECK(names.resolve("b") == "b.service");
  names.refresh([](const std::string& unit) -> Result<std::string> {
    if (unit == "a.service") return fail(Errc::kPermissionDenied, "no");
    return "c.service";
  });
  CHECK(names.resolve("a") == "a.service");
  CHECK(names.resolve("b") == "c.service");
}

TEST_CASE("what the configuration names is learned before it is needed") {
  base::ManualClock clock;
  UnitNames names(clock);
  config::Config config;
  config.services.resize(2);
  config.services[0].name = "www";
  config.services[0].kind = "systemd";
  config.services[1].name = "elsewhere";
  config.services[1].kind = "docker";
  config.remedies.resize(3);
  config.remedies[0].action = "restart_service";
  config.remedies[0].target = "db";
  config.remedies[1].action = "restart_service";
  config.remedies[1].target = "${service}";
  config.remedies[2].action = "run_command";
  config.remedies[2].target = "fix";
  names.expect(config);
  std::vector<std::string> asked;
  names.refresh([&](const std::string& unit) -> Result<std::string> {
    asked.push_back(unit);
    return unit;
  });
  CHECK(asked == std::vector<std::string>{"db.service", "www.service"});
}

TEST_CASE("deciding asks systemd nothing; what others have heard of it is used") {
  const TemporaryDirectory directory;
  const HungBus bus(directory.file("bus"));
  base::ManualClock clock;
  drivers::Systemd systemd(clock, bus.address());
  Bench bench(clock, ":memory:", &systemd);
  CHECK(bench.executor->resolve("restart_service", "www") == "www.service");
  CHECK(bench.executor->resolve("run_command", "www") == "www");
  auto action = bench.action("www.service");
  action.type = "restart_service";
  REQUIRE(bench.executor->submit(action));
  CHECK_FALSE(bench.executor->in_flight("web.service"));
  bench.executor->learn_names("web.service", {"web.service", "www.service"});
  CHECK(bench.executor->resolve("restart_service", "www") == "web.service");
  CHECK(bench.executor->in_flight("web.service"));
  CHECK_FALSE(bus.was_asked());
}
