// The publisher between a real book and a real state database; couriers have no thread here, so
// that what they are given stays in their queues and in the database.
#pragma once

#include <catch2/catch.hpp>

#include "nexus/config/load.hpp"
#include "nexus/publish/publisher.hpp"
#include "publish/store.hpp"
#include "support/self_metrics.hpp"

namespace nexus::publish::test {

using namespace std::chrono_literals;

inline constexpr std::string_view kConfig = R"(
[routing]
group_wait = "0s"
group_interval = "10s"
hold_ends = "0s"
receivers = ["hook"]
[notify.hook]
type = "webhook"
url = "http://127.0.0.1:9/"
)";

struct World {
  World() {
    book = *analyze::Book::open(clock, *db, self, 20'000);
    restart();
    book->subscribe([this](const analyze::Finding& finding) { publisher->on_finding(finding); });
  }

  void restart() {
    publisher.reset();
    publisher = *Publisher::open(clock, *db, self, *book, {"web1"});
    configure(written);
  }

  void configure(std::string_view toml) {
    written = std::string(toml);
    auto loaded = config::load_text(written, "test");
    for (const auto& problem : loaded.problems) FAIL(config::to_string(problem));
    std::vector<config::Problem> problems;
    auto routing = Routing::compile(loaded.config, problems);
    for (const auto& problem : problems) FAIL(config::to_string(problem));
    publisher->configure(std::make_shared<const config::Config>(std::move(loaded.config)),
                         std::move(routing));
  }

  void see(const std::vector<std::pair<std::string, config::Severity>>& findings) {
    std::vector<analyze::Observation> seen;
    for (const auto& [name, severity] : findings)
      seen.push_back({.kind = analyze::FindingKind::kVital,
                      .name = name,
                      .severity = severity,
                      .subject = "/var"});
    book->observe("rule", seen);
  }

  void run(Millis time) {
    for (Millis left = time; left > Millis(0); left -= 500ms) {
      publisher->turn();
      clock.advance(500ms);
    }
    publisher->turn();
  }

  /// What was decided since the last question, as the state database has it.
  std::vector<std::string> told(const std::string& receiver = "hook") {
    auto store = *PublishStore::open(*db);
    NotificationLog log;
    std::vector<std::string> out;
    auto loaded = store.load(log, now_of(clock)).value();
    for (const auto& one : loaded.waiting[receiver]) {
      if (one.row <= last[receiver]) continue;
      last[receiver] = one.row;
      std::string text;
      for (const auto& alert : one.notification->alerts) {
        text += (text.empty() ? "" : " ") + std::string(alert->resolved() ? "-" : "+") +
                alert->labels.at("alertname") + "/" + alert->labels.at("severity");
      }
      out.push_back(text);
    }
    return out;
  }

  base::ManualClock clock;
  knowledge::SelfMetrics self;
  std::unique_ptr<knowledge::StateDb> db = *knowledge::StateDb::open(":memory:");
  std::unique_ptr<analyze::Book> book;
  std::unique_ptr<Publisher> publisher;
  std::map<std::string, std::int64_t> last;
  std::string written{kConfig};
};

using Told = std::vector<std::string>;
inline constexpr auto kWarning = config::Severity::kWarning;
inline constexpr auto kCritical = config::Severity::kCritical;

inline double metric_of(World& world, std::string_view name) {
  return nexus::test::metric(world.self, name);
}

inline Matchers matchers(std::string_view text) {
  return parse_matchers(text).value();
}

}  // namespace nexus::publish::test
