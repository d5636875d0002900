// Every room for real (the database in memory, no systemd asked), behind all routes, on a clock
// that the test moves.
#pragma once

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <map>

#include "bench.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/load.hpp"
#include "nexus/drivers/unit_privileged.hpp"
#include "nexus/serve/routes.hpp"

namespace nexus::serve::test {

namespace js = boost::json;

inline constexpr std::string_view kConfig = R"(
[operations]
mode = "propose"
[docker]
enabled = false
[services]
watch = ["web.service"]
[[command]]
name = "fix"
argv = ["/bin/true"]
[[remedy]]
name = "fix-web"
on = "service_failed"
action = "run_command"
parameters = { command = "fix" }
[[remedy]]
name = "calm"
on = "memory_usage_percent_anomaly"
action = "run_command"
parameters = { command = "fix" }
[[alert]]
name = "Intruder"
expr = "intruders > 0"
severity = "critical"
labels = { category = "security" }
annotations = { summary = "{{ $value }} of them" }
)";

struct World {
  World() {
    auto loaded = config::load_text(kConfig, "world");
    auto problems = std::move(loaded.problems);
    configuration = std::make_shared<const config::Config>(std::move(loaded.config));
    db = *knowledge::StateDb::open(":memory:");
    audit = *knowledge::Audit::open(*db, clock);
    book = *analyze::Book::open(clock, *db, self);
    rules = std::make_unique<analyze::Rules>(clock, history, registry, ring, *book, self);
    forecaster = std::make_unique<analyze::Forecaster>(clock, history, *book, self);
    anomalies = std::make_unique<analyze::AnomalyDetector>(clock, history, *book, self);
    services = analyze::Services::open(*book, *db).value();
    services->set_watched({"web.service"});
    journal = *execute::Journal::open(clock, *db);
    executor =
        std::make_unique<execute::Executor>(clock, *journal, history, self, &systemd, privileged);
    planner = *plan::Planner::open(clock, *db, self, *book, *executor, "", 1);
    rules->set(analyze::RuleSet::compile(*configuration, problems));
    forecaster->configure(configuration->forecast);
    anomalies->configure(configuration->anomaly);
    planner->configure(configuration, plan::RemedySet::compile(*configuration, problems));
    for (const auto& problem : problems) FAIL(config::to_string(problem));
    privileged.list_commands(execute::listed_commands(*configuration));
    executor->configure(configuration);
    executor->on_finished([this](const plan::Action& action) { planner->on_finished(action); });
    book->subscribe([this](const analyze::Finding& finding) { planner->on_finding(finding); });
    router = std::make_unique<Router>(all_routes(rooms()));
  }
  ~World() { executor->stop(Millis(0)); }

  Rooms rooms() {
    return Rooms{.clock = clock,
                 .info = {"1.2.3", clock.wall(), clock.steady()},
                 .registry = registry,
                 .history = history,
                 .importer = importer,
                 .audit = *audit,
                 .collectors = [this] { return collectors; },
                 .sources = sources,
                 .book = *book,
                 .rules = *rules,
                 .forecaster = *forecaster,
                 .anomalies = *anomalies,
                 .services = *services,
                 .planner = *planner,
                 .executor = *executor,
                 .journal = *journal,
                 .systemd = systemd,
                 .observed = observed,
                 .self = self,
                 .config = [this] { return configuration; },
                 .reload = [this] { return reload_result; },
                 .needs_restart = [this] { return needs_restart; },
                 .ready = [this] { return ready; },
                 .healthy =
                     [this](std::string& why) {
                       why = unhealthy;
                       return unhealthy.empty();
                     },
                 .components = [this] { return components; }};
  }

  void sample(std::string_view name, std::initializer_list<knowledge::LabelView> labels,
              double value, knowledge::MetricType type = knowledge::MetricType::kGauge) {
    const auto family = registry.family(name, type, "What " + std::string(name) + " is.");
    samples[registry.intern(family, labels).value()] = value;
  }
  /// One second later: what sample() was told, then the vitals and alerts over it.
  void tick() {
    clock.advance(1s);
    sample("node_memory_MemTotal_bytes", {}, 100.0 * (1 << 30));
    sample("node_memory_MemAvailable_bytes", {}, (100.0 - memory) * (1 << 30));
    std::vector<knowledge::SeriesId> ids;
    std::vector<double> values;
    for (const auto& [id, value] : samples) {
      ids.push_back(id);
      values.push_back(value);
    }
    history.append({1, base::to_unix_millis(clock.wall()), ids, values});
    rules->tick_vitals();
    ring->drain([this](const knowledge::BatchView& batch) { history.append(batch); });
    rules->tick_alerts();
  }
  /// A finding that the remedy of kConfig is for.
  void fail_service() {
    book->report("test", {.kind = analyze::FindingKind::kService,
                          .name = "service_failed",
                          .subject = "web",
                          .labels = {{"service", "web"}},
                          .evidence = {.text = "web is down"},
                          .received = clock.steady()});
  }

  Response call(Method method, std::string_view path, Request request = {}) {
    const auto match = router->match(method, path);
    REQUIRE(match.route != nullptr);
    request.method = method;
    request.path = path;
    request.captures = match.captures;
    request.caller = {role, "token ci", "127.0.0.1:5", true};
    request.cancelled = [] { return false; };
    return match.route->handler(request);
  }
  using Params = std::vector<std::pair<std::string, std::string>>;
  Response get(std::string_view path, Params query = {}) {
    Request request;
    request.query = std::move(query);
    return call(Method::kGet, path, std::move(request));
  }
  Response post(std::string_view path, std::string body = "",
                std::string type = "application/json") {
    Request request;
    request.body = std::move(body);
    request.content_type = std::move(type);
    return call(Method::kPost, path, std::move(request));
  }

  base::ManualClock clock;
  knowledge::SelfMetrics self;
  knowledge::SeriesRegistry registry{10'000};
  knowledge::History history{registry, {}};
  std::shared_ptr<knowledge::SampleRing> ring = std::make_shared<knowledge::SampleRing>(1 << 14);
  knowledge::Rings rings{1 << 12};
  knowledge::Importer importer{clock, registry, history, rings, self};
  monitor::Sources sources{{clock, registry, history, rings, self}};
  drivers::Systemd systemd{clock};
  drivers::UnitPrivileged privileged{clock};
  monitor::Observed observed;
  std::unique_ptr<knowledge::StateDb> db;
  std::shared_ptr<const config::Config> configuration;
  std::unique_ptr<knowledge::Audit> audit;
  std::unique_ptr<analyze::Book> book;
  std::unique_ptr<analyze::Rules> rules;
  std::unique_ptr<analyze::Forecaster> forecaster;
  std::unique_ptr<analyze::AnomalyDetector> anomalies;
  std::unique_ptr<analyze::Services> services;
  std::unique_ptr<execute::Journal> journal;
  std::unique_ptr<execute::Executor> executor;
  std::unique_ptr<plan::Planner> planner;
  std::unique_ptr<Router> router;
  std::map<knowledge::SeriesId, double> samples;
  double memory = 50;  // percent used
  std::vector<monitor::CollectorStatus> collectors;
  std::vector<Component> components = {{"history", "healthy", ""}};
  Status reload_result;
  bool ready = false;
  std::string unhealthy;  // why
  std::vector<std::string> needs_restart;
  config::Role role = config::Role::kAdministrator;  // of the caller
};

inline js::value body_of(const Response& response) {
  return js::parse(*response.body);
}
/// The body of a response that must have this status.
inline js::value expect(const Response& response, unsigned status = 200) {
  INFO(*response.body);
  REQUIRE(response.status == status);
  CHECK(response.content_type == "application/json");
  return body_of(response);
}
inline std::string message_of(const Response& response, unsigned status) {
  return std::string(expect(response, status).at("error").at("message").as_string());
}

/// Checks that an object has exactly these members; each is "name:types", types of
/// s(tring) n(umber) b(oolean) a(rray) o(bject) t(ime) 0 (null).
inline void check_shape(const js::value& value, std::initializer_list<std::string_view> members) {
  INFO(value);
  REQUIRE(value.is_object());
  CHECK(value.get_object().size() == members.size());
  for (const auto member : members) {
    const auto name = member.substr(0, member.find(':'));
    INFO("member " << name);
    const auto* found = value.get_object().if_contains(name);
    REQUIRE(found != nullptr);
    const bool is_time =
        found->is_string() && base::parse_time(std::string_view(found->get_string())).has_value();
    bool fits = false;
    for (const char type : member.substr(member.find(':') + 1)) {
      fits = fits || (type == 's' && found->is_string()) || (type == 'n' && found->is_number()) ||
             (type == 'b' && found->is_bool()) || (type == 'a' && found->is_array()) ||
             (type == 'o' && found->is_object()) || (type == 't' && is_time) ||
             (type == '0' && found->is_null());
    }
    CHECK(fits);
  }
}

}  // namespace nexus::serve::test
