// [[probe]] against servers on loopback: one calls itself something else every time, one says
// nothing.
#include "monitor/probe/prober.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <thread>

#include "nexus/host/fd.hpp"
#include "support/self_metrics.hpp"
#include "support/server.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace std::chrono_literals;

namespace {

/// Greets everybody with a number of his own.
class Greeter {
 public:
  Greeter() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(socket_.get(), 64) == 0);
    REQUIRE(::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    target = fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
    thread_ = std::thread([this] { greet(); });
  }
  ~Greeter() {
    ending_ = true;
    thread_.join();
  }

  std::string target;

 private:
  void greet() {
    for (int number = 0; !ending_;) {
      pollfd asked{.fd = socket_.get(), .events = POLLIN, .revents = 0};
      if (::poll(&asked, 1, 20) != 1) continue;
      const host::Fd guest(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      const std::string hello = fmt::format("+OK <{}@here>\r\n", number++);
      (void)!::send(guest.get(), hello.data(), hello.size(), MSG_NOSIGNAL);
    }
  }

  host::Fd socket_;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

/// Takes connections, as the kernel does for it, and says nothing.
class Mute {
 public:
  Mute() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(socket_.get(), 64) == 0);
    REQUIRE(::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    target = fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
  }
  std::string target;

 private:
  host::Fd socket_;
};

std::vector<LabelView> label(const std::string& value) {
  return {{"said", value}};
}

}  // namespace

TEST_CASE("probe: what a target chooses is taken twenty times a day, what is known always") {
  ChosenLabels chosen;
  const SteadyTime morning{1h};
  for (int i = 0; i < 20; ++i) CHECK(chosen.take("m", label(std::to_string(i)), morning));
  CHECK_FALSE(chosen.take("m", label("20"), morning));
  CHECK(chosen.take("other", label("20"), morning));  // each metric has its own twenty
  CHECK(chosen.take("m", label("7"), morning + 23h));
  CHECK(chosen.take("m", label("20"), morning + 24h));
  CHECK(chosen.take("m", label("7"), morning + 24h));
}

TEST_CASE("probe: an IPv6 address as the host of a URL; a silent server fails no pattern") {
  base::SystemClock clock;
  knowledge::SelfMetrics self;
  knowledge::SeriesRegistry registry{1000};
  const knowledge::History history{registry, {}};
  knowledge::Rings rings{1 << 12};
  const auto ring = std::make_shared<knowledge::SampleRing>(1 << 16);
  Outbox outbox(clock, ring, self);
  const SourcesContext context{clock, registry, history, rings, self};
  // Bound and without a listener: nobody else can be given this port.
  const host::Fd closed(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  socklen_t size = sizeof address;
  REQUIRE(::bind(closed.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);
  REQUIRE(::getsockname(closed.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  const Mute mute;
  Prober prober(context, outbox);
  config::ProbeConfig site{.name = "site", .kind = "http"};
  site.targets = {fmt::format("[::1]:{}/", ntohs(address.sin6_port))};
  site.interval = 1h;
  site.timeout = 20s;
  config::ProbeConfig mail{.name = "mail", .kind = "tcp", .targets = {mute.target}};
  mail.interval = 1h;
  mail.timeout = 50ms;
  mail.steps.push_back({.expect = "^220 "});
  prober.configure({site, mail});
  std::map<std::string, double> regex_failed;
  CHECK(test::eventually([&] {
    ring->drain([&](const knowledge::BatchView& batch) {
      for (std::size_t i = 0; i < batch.ids.size(); ++i) {
        const auto& labels = registry.labels(batch.ids[i]);
        if (labels.metric() == "probe_failed_due_to_regex")
          regex_failed[std::string(labels.get("job"))] = batch.values[i];
      }
    });
    return regex_failed.size() == 2;
  }));
  CHECK(regex_failed == std::map<std::string, double>{{"mail", 0}, {"site", 0}});
  prober.stop();
  const auto status = prober.status();
  REQUIRE(status.size() == 2);
  CHECK_THAT(status[0].error, Catch::Matchers::Contains("GET http://[::1]:") &&
                                  Catch::Matchers::Contains("connect to"));
  CHECK_THAT(status[1].error, Catch::Matchers::Contains("no answer in time"));
}

TEST_CASE("probe: a banner with a number in it makes a bounded number of series") {
  const Greeter greeter;
  base::SystemClock clock;
  knowledge::SelfMetrics self;
  knowledge::SeriesRegistry registry{1000};
  const knowledge::History history{registry, {}};
  knowledge::Rings rings{1 << 12};
  const auto ring = std::make_shared<knowledge::SampleRing>(1 << 16);
  Outbox outbox(clock, ring, self);
  const SourcesContext context{clock, registry, history, rings, self};
  std::set<std::string> said;
  double success = 0;
  double failure = 0;
  const auto drain = [&] {
    ring->drain([&](const knowledge::BatchView& batch) {
      for (std::size_t i = 0; i < batch.ids.size(); ++i) {
        const auto& labels = registry.labels(batch.ids[i]);
        if (labels.metric() == "probe_expect_info") said.emplace(labels.get("number"));
        if (labels.metric() == "probe_success") ++(batch.values[i] == 1 ? success : failure);
      }
    });
  };
  Prober prober(context, outbox);
  config::ProbeConfig config{.name = "mail", .kind = "tcp", .targets = {greeter.target}};
  config.interval = 10ms;
  config.timeout = 60s;
  config.steps.push_back({.expect = "^\\+OK <(?P<number>[0-9]+)@"});
  prober.configure({config});
  CHECK(test::eventually([&] {
    drain();
    return success >= 40;
  }));
  CHECK(failure == 0);
  CHECK(said.size() == 20);
  CHECK(prober.status().front().dropped > 0);
  CHECK(test::metric(self, "nexus_source_dropped_samples_total") > 0);
  CHECK(outbox.series().taken() == prober.status().front().series);
  CHECK(outbox.series().taken() > 0);
  prober.configure({});
  CHECK(test::eventually([&] { return outbox.series().taken() == 0; }));
}

TEST_CASE("probe: without room for more series the outcome is what stays") {
  const Greeter greeter;
  base::SystemClock clock;
  knowledge::SelfMetrics self;
  knowledge::SeriesRegistry registry{1000};
  const knowledge::History history{registry, {}};
  knowledge::Rings rings{1 << 12};
  const auto ring = std::make_shared<knowledge::SampleRing>(1 << 16);
  Outbox outbox(clock, ring, self);
  outbox.series().limit(2);
  const SourcesContext context{clock, registry, history, rings, self};
  Prober prober(context, outbox);
  config::ProbeConfig config{.name = "mail", .kind = "tcp", .targets = {greeter.target}};
  config.interval = 10ms;
  config.timeout = 60s;
  prober.configure({config});
  std::set<std::string> metrics;
  double success = 0;
  CHECK(test::eventually([&] {
    ring->drain([&](const knowledge::BatchView& batch) {
      for (std::size_t i = 0; i < batch.ids.size(); ++i) {
        const auto metric = registry.labels(batch.ids[i]).metric();
        metrics.emplace(metric);
        if (metric == "probe_success") success = batch.values[i];
      }
    });
    return success == 1;
  }));
  CHECK(metrics == std::set<std::string>{"probe_duration_seconds", "probe_success"});
  prober.stop();
}
