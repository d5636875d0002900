// Findings at work: ten thousand that are evaluated each second, a thousand rules of rule files,
// and from a finding to the first byte that its receiver hears.
#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "nexus/analyze/rules.hpp"
#include "nexus/base/log.hpp"
#include "nexus/config/load.hpp"
#include "nexus/knowledge/history.hpp"
#include "nexus/publish/publisher.hpp"

using namespace nexus;
using namespace std::chrono_literals;

namespace {

constexpr const char* kRouting = R"(
[routing]
group_wait = "0s"
receivers = ["hook"]
[notify.hook]
type = "webhook"
url = "http://127.0.0.1:{}/"
rate_per_minute = 1000000
)";

/// A folder that is gone with its owner.
struct Folder {
  std::string path = std::filesystem::temp_directory_path() / "nexus-bench-XXXXXX";
  Folder() { path = ::mkdtemp(path.data()); }
  ~Folder() { std::filesystem::remove_all(path); }
};

/// Rules, book and publisher, the databases on disk, as the agent joins them.
template <typename TheClock>
struct Room {
  explicit Room(const std::string& toml, std::size_t max_findings = 20'000) {
    log::configure(log::Level::kError, log::Format::kText);
    book = *analyze::Book::open(clock, *db, self, max_findings);
    publisher = *publish::Publisher::open(clock, *notes, self, *book, {"bench"});
    rules = std::make_unique<analyze::Rules>(clock, history, registry, ring, *book, self);
    auto loaded = config::load_text(toml, "bench");
    for (const auto& problem : loaded.problems) fail(config::to_string(problem));
    std::vector<config::Problem> problems;
    rules->set(analyze::RuleSet::compile(loaded.config, problems));
    auto routing = publish::Routing::compile(loaded.config, problems);
    for (const auto& problem : problems) fail(config::to_string(problem));
    publisher->configure(std::make_shared<const config::Config>(std::move(loaded.config)),
                         std::move(routing));
    book->subscribe([this](const analyze::Finding& one) { publisher->on_finding(one); });
  }
  static void fail(const std::string& why) {
    fmt::print(stderr, "{}\n", why);
    std::abort();
  }

  void ingest() {
    ring->drain([this](const knowledge::BatchView& batch) { history.append(batch); });
  }

  Folder folder;
  TheClock clock;
  knowledge::SelfMetrics self;
  std::unique_ptr<knowledge::StateDb> db = *knowledge::StateDb::open(folder.path + "/state.db");
  std::unique_ptr<knowledge::StateDb> notes =
      *knowledge::StateDb::open(folder.path + "/notifications.db");
  knowledge::SeriesRegistry registry{100'000};
  knowledge::History history{registry, {}};
  std::shared_ptr<knowledge::SampleRing> ring = std::make_shared<knowledge::SampleRing>(1 << 16);
  std::unique_ptr<analyze::Book> book;
  std::unique_ptr<publish::Publisher> publisher;
  std::unique_ptr<analyze::Rules> rules;
};

/// Samples of `count` series load{i="N", g="N % groups"} each time.
template <typename Room>
struct Feed {
  Feed(Room& to, int count, int groups) : room(to), values(static_cast<std::size_t>(count)) {
    for (int i = 0; i < count; ++i)
      ids.push_back(room.registry
                        .intern(knowledge::Labels(
                            "load", {{"g", std::to_string(i % groups)}, {"i", std::to_string(i)}}))
                        .value());
  }
  void give() {
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = 90 + static_cast<double>((i + at) % 7);
    ++at;
    room.history.append({1, base::to_unix_millis(room.clock.wall()), ids, values});
  }
  Room& room;
  std::vector<knowledge::SeriesId> ids;
  std::vector<double> values;
  std::size_t at = 0;
};

/// One second of an agent with ten thousand findings that fire: four alerts of 2,500 series each
/// are evaluated, the book hears them again, ALERTS is written, routes look.
void active_findings(benchmark::State& state) {
  std::string toml = fmt::format(fmt::runtime(kRouting), 9);
  for (int g = 0; g < 4; ++g)
    toml += fmt::format("[[alert]]\nname = \"Load{0}\"\nexpr = 'load{{g=\"{0}\"}} > 80'\n", g);
  Room<base::ManualClock> room(toml);
  Feed feed(room, static_cast<int>(state.range(0)), 4);
  const auto second = [&] {
    room.rules->tick_alerts();
    room.ingest();
    room.book->tick();
    room.publisher->turn();
  };
  feed.give();
  second();
  for (auto _ : state) {
    state.PauseTiming();
    room.clock.advance(1s);
    feed.give();
    state.ResumeTiming();
    second();
  }
  const auto findings = room.book->snapshot();
  state.counters["firing"] = static_cast<double>(
      std::ranges::count(*findings, analyze::FindingState::kFiring, &analyze::Finding::state));
}
BENCHMARK(active_findings)->Arg(10'000)->Unit(benchmark::kMillisecond)->MinTime(5);

/// One evaluation of a thousand rules over 1,500 series that came every second for five minutes:
/// 900 recording rules of nine shapes, 100 alerts.
void thousand_rules(benchmark::State& state) {
  constexpr std::array kShapes = {
      "rate({}[5m])",          "increase({}[5m])", "avg_over_time({}[5m])",
      "max_over_time({}[5m])", "sum by (g) ({})",  "{} * 100 / 7",
      "quantile(0.9, {})",     "{} > bool 92",     "delta({}[2m])"};
  Folder folder;
  std::ofstream file(folder.path + "/rules.yml");
  file << "groups:\n- name: g\n  interval: 15s\n  rules:\n";
  for (int i = 0; i < 1000; ++i) {
    // Each rule looks at what rules look at: some series of one group.
    const auto what = fmt::format("load{{g=\"{}\"}}", i % 500);
    if (i % 10 == 9) {
      file << fmt::format("  - alert: a{}\n    expr: {} > 95\n    for: 30s\n", i, what);
    } else {
      file << fmt::format(
          "  - record: r:x{}\n    expr: {}\n", i,
          fmt::format(fmt::runtime(kShapes[static_cast<std::size_t>(i % 9)]), what));
    }
  }
  file.close();
  Room<base::ManualClock> room(fmt::format("rule_files = [\"{}/rules.yml\"]\n", folder.path) +
                               fmt::format(fmt::runtime(kRouting), 9));
  Feed feed(room, 1500, 500);
  for (int i = 0; i < 330; ++i) {
    room.clock.advance(1s);
    feed.give();
  }
  for (auto _ : state) {
    state.PauseTiming();
    for (int i = 0; i < 15; ++i) {
      room.clock.advance(1s);
      feed.give();
    }
    state.ResumeTiming();
    room.rules->tick_alerts();
    room.ingest();
    room.book->tick();
    room.publisher->turn();
  }
}
BENCHMARK(thousand_rules)->Unit(benchmark::kMillisecond)->MinTime(5);

/// Takes requests and answers 200; notes when the first byte of each came.
class Ear {
 public:
  Ear() {
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    ::bind(socket_, reinterpret_cast<sockaddr*>(&address), length);
    ::listen(socket_, 16);
    ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &length);
    port = ntohs(address.sin_port);
    thread_ = std::thread([this] { hear(); });
  }
  ~Ear() {
    ::shutdown(socket_, SHUT_RDWR);
    thread_.join();
    ::close(socket_);
  }
  /// When the first byte of request `number` (from 1) came.
  SteadyTime heard(std::size_t number) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return times_.size() >= number; });
    return times_[number - 1];
  }
  std::uint16_t port = 0;

 private:
  void hear() {
    for (;;) {
      const int peer = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
      if (peer < 0) return;
      char first = 0;
      if (::recv(peer, &first, 1, 0) == 1) {
        const auto now = clock_.steady();
        {
          const std::lock_guard guard(mutex_);
          times_.push_back(now);
        }
        changed_.notify_all();
        std::array<char, 65'536> rest{};  // a request comes in one piece or two; the answer ends it
        (void)::recv(peer, rest.data(), rest.size(), 0);
        constexpr std::string_view kAnswer =
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        (void)::send(peer, kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL);
      }
      ::close(peer);
    }
  }

  base::SystemClock clock_;
  int socket_ = -1;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<SteadyTime> times_;
};

/// A finding that fires until the first byte of its notification comes out at the receiver:
/// routes, a synchronous commit, a courier's thread, a new connection.
void finding_to_first_byte(benchmark::State& state) {
  Ear ear;
  Room<base::SystemClock> room(fmt::format(fmt::runtime(kRouting), ear.port));
  room.publisher->start();
  std::vector<double> millis;
  std::size_t number = 0;
  for (auto _ : state) {
    analyze::Observation seen;
    seen.kind = analyze::FindingKind::kService;
    seen.name = fmt::format("service_failed_{}", ++number);  // a group of its own
    seen.subject = "web.service";
    const auto begin = room.clock.steady();
    room.book->report("services", seen);
    const std::chrono::duration<double, std::milli> took = ear.heard(number) - begin;
    millis.push_back(took.count());
    state.SetIterationTime(took.count() / 1000);
  }
  room.publisher->stop();
  std::ranges::sort(millis);
  state.counters["p50_ms"] = millis[millis.size() / 2];
  state.counters["p99_ms"] = millis[millis.size() * 99 / 100];
  state.counters["max_ms"] = millis.back();
}
BENCHMARK(finding_to_first_byte)->Iterations(500)->UseManualTime()->Unit(benchmark::kMillisecond);

/// 22 crossings of a threshold, 65 minutes apart, through vitals, book and the shipped routes: how
/// many messages come of it.
void day_of_flapping(benchmark::State& state) {
  constexpr const char* kShipped =
      "[routing]\nreceivers = [\"hook\"]\n[notify.hook]\ntype = \"webhook\"\n"
      "url = \"http://127.0.0.1:9/\"\n[[alert]]\nname = \"Load\"\nexpr = 'load > 95'\n";
  double messages = 0;
  for (auto _ : state) {
    Room<base::ManualClock> room(kShipped);
    const auto id = room.registry.intern(knowledge::Labels("load", {})).value();
    for (int minute = 0; minute < 48 * 60; ++minute) {
      const bool over = minute < 22 * 65 && minute / 65 % 2 == 0;
      const double value = over ? 96 : 94;
      room.history.append(
          {1, base::to_unix_millis(room.clock.wall()), std::span(&id, 1), std::span(&value, 1)});
      room.rules->tick_alerts();
      room.ingest();
      room.book->tick();
      room.publisher->turn();
      room.clock.advance(1min);
    }
    messages = 0;
    room.self.visit([&](const knowledge::SelfMetrics::Reading& reading) {
      if (reading.name == "nexus_notifications_total") messages = reading.value;
    });
  }
  state.counters["messages"] = messages;
}
BENCHMARK(day_of_flapping)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
