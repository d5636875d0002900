// Without a bus, and with one that is not a bus. Needs no systemd.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "nexus/drivers/systemd.hpp"
#include "nexus/drivers/unit_privileged.hpp"

using namespace nexus;
using namespace std::chrono_literals;

namespace {

const std::string kNowhere = "unix:path=/nonexistent/nexus/bus";

// A socket that accepts nobody; its backlog lets connections in.
class SilentSocket {
 public:
  SilentSocket() {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, path_.c_str(), path_.size());
    unlink(path_.c_str());
    REQUIRE(bind(fd_, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
    REQUIRE(listen(fd_, 16) == 0);
  }
  ~SilentSocket() {
    close(fd_);
    unlink(path_.c_str());
  }
  [[nodiscard]] std::string address() const { return "unix:path=" + path_; }

 private:
  const std::string path_ = "/tmp/nexus-silent-bus-" + std::to_string(getpid());
  const int fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
};

}  // namespace

TEST_CASE("without a bus every call is refused as unavailable and names what was asked") {
  base::ManualClock clock;
  drivers::Systemd systemd(clock, kNowhere);
  CHECK(systemd.status("web").error().code() == Errc::kUnavailable);
  CHECK(systemd.list_units().error().code() == Errc::kUnavailable);
  drivers::UnitPrivileged privileged(clock, kNowhere);
  CHECK(privileged.reset_unit("web").error().code() == Errc::kUnavailable);
  CHECK(privileged.set_unit_properties("web", {}).error().code() == Errc::kUnavailable);
  CHECK(privileged.set_unit_enabled("web", true).error().code() == Errc::kUnavailable);
  CHECK(systemd.version().error().code() == Errc::kUnavailable);
  CHECK(systemd.system_state().error().code() == Errc::kUnavailable);
  bool queued = false;
  const auto job =
      privileged.unit_job(host::UnitJob::kRestart, "web",
                          {.deadline = clock.steady() + 10s, .queued = [&] { queued = true; }});
  CHECK(job.error().code() == Errc::kUnavailable);
  CHECK_THAT(job.error().message(),
             Catch::Contains("restart web.service") && Catch::Contains("/nonexistent/nexus/bus"));
  CHECK_FALSE(queued);
}

TEST_CASE("a bad unit name or address is refused before anything is asked") {
  base::ManualClock clock;
  drivers::Systemd systemd(clock, kNowhere);
  CHECK(systemd.status("a b").error().code() == Errc::kInvalidArgument);
  drivers::UnitPrivileged privileged(clock, kNowhere);
  CHECK(privileged.reset_unit("").error().code() == Errc::kInvalidArgument);
  CHECK(privileged.unit_job(host::UnitJob::kStart, "x/y", {.deadline = base::kForever})
            .error()
            .code() == Errc::kInvalidArgument);
  CHECK_FALSE(drivers::Systemd(clock, "no address").version());
}

TEST_CASE("a watcher without a bus says so, and stops at once") {
  base::ManualClock clock;
  int calls = 0;
  {
    const drivers::UnitWatcher watcher(
        clock, {"web", "not a unit"}, [&](const drivers::UnitEvent&) { ++calls; }, kNowhere);
    CHECK_FALSE(watcher.connected());
    CHECK(watcher.reconnects() == 0);
  }
  CHECK(calls == 0);
}

TEST_CASE("a bus that never answers is given up, and does not keep a watcher from stopping") {
  const SilentSocket silent;
  base::SystemClock clock;
  drivers::Systemd systemd(clock, silent.address());
  CHECK(systemd.status("web").error().code() == Errc::kTimeout);
  const drivers::UnitWatcher watcher(
      clock, {"web"}, [](const drivers::UnitEvent&) {}, silent.address());
  CHECK_FALSE(watcher.connected());
}
