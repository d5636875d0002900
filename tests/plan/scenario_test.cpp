// Guardrail scenarios as data: tests/plan/scenarios/*.txt, described in
// tests/plan/scenarios/README.md.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "nexus/base/text.hpp"
#include "nexus/config/load.hpp"
#include "recording_sink.hpp"

using namespace nexus;
using namespace nexus::plan;

namespace {

struct Step {
  int line = 0;
  std::string text;
  std::vector<std::string> decisions;  // expected, in order
  std::vector<std::string> reasons;    // that must stand in the newest decision
};

struct Scenario {
  std::string config;
  std::vector<Step> steps;
};

Scenario read_scenario(const std::filesystem::path& file) {
  Scenario out;
  std::ifstream in(file);
  std::string line;
  bool in_config = false;
  for (int number = 1; std::getline(in, line); ++number) {
    const auto text = base::trim(line);
    if (line == "config") {
      in_config = true;
    } else if (line == "end") {
      in_config = false;
    } else if (in_config) {
      out.config += line + "\n";
    } else if (text.empty() || text.starts_with('#')) {
      continue;
    } else if (text.starts_with("> ")) {
      out.steps.at(out.steps.size() - 1).decisions.emplace_back(text.substr(2));
    } else if (text.starts_with("~ ")) {
      out.steps.at(out.steps.size() - 1).reasons.emplace_back(text.substr(2));
    } else {
      out.steps.push_back({number, std::string(text), {}, {}});
    }
  }
  return out;
}

class KnownSurroundings final : public Surroundings {
 public:
  std::optional<std::string> down(std::string_view service) const override {
    const auto known = states.find(service);
    if (known == states.end() || known->second == "up") return std::nullopt;
    return known->second;
  }
  std::vector<Need> needs(std::string_view service) const override {
    const auto known = all_needs.find(service);
    return known == all_needs.end() ? std::vector<Need>{} : known->second;
  }
  std::map<std::string, std::string, std::less<>> states;
  std::map<std::string, std::vector<Need>, std::less<>> all_needs;
};

class Runner {
 public:
  explicit Runner(std::string config, std::uint64_t seed = 7)
      : base_(std::move(config)), seed_(seed) {
    auto loaded = config::load_text(base_, "scenario");
    for (const auto& problem : loaded.problems) FAIL(config::to_string(problem));
    db_ = *knowledge::StateDb::open(":memory:");
    open_book();
    sink_.finished = [this](const Action& action) { planner_->on_finished(action); };
    stop_file_ =
        std::filesystem::temp_directory_path() / ("nexus-scenario-" + std::to_string(::getpid()));
    std::filesystem::remove(stop_file_);
    configure(std::move(loaded.config));
  }
  ~Runner() { std::filesystem::remove(stop_file_); }

  void run(const Step& step) {
    words_ = std::istringstream(step.text);
    const auto verb = word();
    const auto known = kVerbs.find(verb);
    if (known == kVerbs.end()) FAIL("line " << step.line << ": unknown step " << verb);
    (this->*known->second)();
    CHECK(new_decisions() == step.decisions);
    for (const auto& reason : step.reasons) CHECK_THAT(newest_reason_, Catch::Contains(reason));
  }

 private:
  std::string word() {
    std::string out;
    words_ >> out;
    return out;
  }
  std::string rest() {
    std::string out;
    std::getline(words_ >> std::ws, out);
    return out;
  }
  Millis duration() { return base::parse_duration(word()).value(); }

  void open_book() {
    book_.reset();
    book_ = *analyze::Book::open(clock_, *db_, self_);
    book_->subscribe([this](const analyze::Finding& f) { planner_->on_finding(f); });
  }
  void configure(config::Config config) {
    config_ = std::make_shared<const config::Config>(std::move(config));
    std::vector<config::Problem> problems;
    remedies_ = RemedySet::compile(*config_, problems);
    for (const auto& problem : problems) FAIL(config::to_string(problem));
    restart();
  }
  void restart() {
    planner_.reset();
    planner_ = *Planner::open(clock_, *db_, self_, *book_, sink_, stop_file_, seed_, "boot");
    planner_->set_surroundings(surroundings_);
    planner_->configure(config_, remedies_);
  }

  analyze::Observation observation() {
    // An event, which stays true until the next one; `kind=` says otherwise.
    analyze::Observation seen{
        .kind = analyze::FindingKind::kService, .name = word(), .subject = word()};
    for (auto label = word(); !label.empty(); label = word()) {
      const auto equals = label.find('=');
      if (label.starts_with("kind=")) {
        using enum analyze::FindingKind;
        for (const auto kind : {kAlert, kVital, kForecast, kAnomaly, kService, kAgent}) {
          if (analyze::to_string(kind) == label.substr(equals + 1)) seen.kind = kind;
        }
        continue;
      }
      if (label.starts_with("keep=")) {
        seen.keep_firing_for = base::parse_duration(label.substr(equals + 1)).value();
        continue;
      }
      seen.labels[label.substr(0, equals)] = label.substr(equals + 1);
    }
    if (seen.labels.empty()) seen.labels["subject_id"] = seen.subject;
    return seen;
  }

  void fire() { book_->report("scenario", observation()); }
  void resolve() {
    const auto seen = observation();
    book_->clear("scenario", analyze::fingerprint(seen.kind, seen.name, seen.labels));
  }
  void doubt() { book_->doubt("scenario"); }
  /// What a rule evaluates: seen now, or not any more.
  void see() { book_->observe("rule", {observation()}); }
  void unsee() { book_->observe("rule", {}); }
  void restart_all() {
    planner_.reset();
    open_book();
    restart();
  }
  void advance() {
    for (auto left = duration(); left > Millis(0); left -= Millis(1000)) {
      clock_.advance(std::min(left, Millis(1000)));
      planner_->tick();
    }
  }
  void clock_back() { clock_.step_wall(-duration()); }
  void clock_forward() { clock_.step_wall(duration()); }
  void hold() {
    HoldRequest request{.who = "alice"};
    request.targets = {word()};
    request.lasts = duration();
    for (auto more = word(); !more.empty(); more = word()) {
      if (more.starts_with("remedy=")) request.remedy = more.substr(7);
      if (more.starts_with("reason=")) request.reason = more.substr(7);
    }
    CHECK(planner_->hold(request));
  }
  void release() {
    const auto holds = planner_->holds();
    REQUIRE_FALSE(holds.empty());
    CHECK(planner_->release(holds.front().id));
  }
  void holds() { CHECK(planner_->holds().size() == base::parse_uint(word()).value()); }
  void state() {
    const auto unit = word();
    surroundings_->states[unit] = word();
  }
  void needs() {
    const auto unit = word();
    const auto needed = word();
    surroundings_->all_needs[unit].push_back({needed, word()});
  }
  void account() {
    const auto target = word();
    sink_.accounts[target] = word();
  }
  void usual() { sink_.usual = base::parse_double(word()).value(); }
  /// REMEDY WOULD BY_ITSELF STILL UNKNOWN SAVED_SECONDS
  void shadow() {
    const auto remedy = word();
    std::string found = "none";
    const auto report = planner_->report();
    REQUIRE(report);
    for (const auto& s : *report) {
      if (s.remedy != remedy) continue;
      found = fmt::format("{} {} {} {} {}", s.would_have_acted, s.resolved_by_itself, s.still_there,
                          s.unknown, s.saved_seconds);
    }
    CHECK(found == rest());
  }
  void refusal() {
    auto* action = sink_.on(word());
    REQUIRE(action != nullptr);
    const auto refused = planner_->refusal(*action);
    CHECK((refused ? std::string(refused->code) : "none") == rest());
  }
  void start_action() {
    auto* action = sink_.on(word());
    REQUIRE(action != nullptr);
    action->started = clock_.wall();
  }
  void finish() {
    auto* action = sink_.on(word());
    REQUIRE(action != nullptr);
    const auto how = parse_action_state(word());
    REQUIRE(how);
    const bool ended_early = *how == ActionState::kCancelled || *how == ActionState::kExpired;
    const auto more = word();
    if (!ended_early && more != "unstarted") action->started = clock_.wall();
    sink_.end(action->id, *how, more.starts_with("code=") ? more.substr(5) : "");
  }
  void approve() {
    auto* action = sink_.on(word());
    REQUIRE(action != nullptr);
    CHECK(action->state == ActionState::kProposed);
    const auto expected = word();
    const auto approved = planner_->approve(std::string(action->id), "alice", rest());
    INFO((approved ? std::string("ok") : approved.error().message()));
    CHECK(approved.has_value() == (expected != "conflict"));
  }
  void alias() {
    const auto name = word();
    sink_.aliases[name] = word();
    sink_.unknown.erase(name);
  }
  void unname() {
    const auto name = word();
    sink_.aliases.erase(name);
    sink_.unknown.insert(name);
  }
  void reconfigure() {
    auto loaded = config::load_text(base_ + rest() + "\n", "scenario");
    for (const auto& problem : loaded.problems) FAIL(config::to_string(problem));
    configure(std::move(loaded.config));
  }
  void stop() { REQUIRE(planner_->set_running(false, rest())); }
  void start() { REQUIRE(planner_->set_running(true, rest())); }
  void stop_file() {
    if (word() == "made") {
      std::ofstream{stop_file_};
    } else {
      std::filesystem::remove(stop_file_);
    }
  }
  void sink_full() { sink_.full = word() == "yes"; }
  void request() {
    ActionRequest request{.type = word(), .target = word(), .requested_by = "alice"};
    std::string expected;
    for (auto more = word(); !more.empty(); more = word()) {
      if (more == "dry") request.dry_run = true;
      if (more.starts_with("key=")) request.idempotency_key = more.substr(4);
      if (more == "ok" || more == "conflict" || more == "invalid") expected = more;
    }
    const auto made = planner_->request(request);
    INFO((made ? std::string("ok") : made.error().message()));
    if (expected == "ok") CHECK(made.has_value());
    if (expected == "conflict") CHECK((!made && made.error().code() == Errc::kConflict));
    if (expected == "invalid") CHECK((!made && made.error().code() == Errc::kInvalidArgument));
  }
  void reset() {
    const auto remedy = word();
    CHECK(planner_->reset(remedy, word()));
  }
  void breaker() {
    const auto target = word();
    const auto expected = rest();
    std::string found = "none";
    for (const auto& b : planner_->breakers()) {
      if (b.target == target) found = b.state + " " + std::to_string(b.attempts);
    }
    CHECK(found == expected);
  }
  void finding() {
    const auto name = word();
    const auto subject = word();
    const auto expected = word();
    std::string found = "none";
    for (const auto& f : *book_->snapshot()) {
      if (f.name == name && f.subject == subject) found = std::string(analyze::to_string(f.state));
    }
    CHECK(found == expected);
  }
  void action() {
    REQUIRE_FALSE(sink_.submitted.empty());
    const auto& last = sink_.submitted.back();
    const auto field = word();
    const std::map<std::string, std::string> fields{
        {"state", std::string(to_string(last.state))},
        {"type", last.type},
        {"target", last.target},
        {"attempt", std::to_string(last.attempt)},
        {"priority", std::to_string(last.priority)},
        {"by", last.cause.requested_by},
        {"verify", last.verify ? last.verify->expr.text : "none"},
        {"timeout", base::format_duration(last.timeout)},
        {"rungs", std::to_string(last.rungs.size())},
        {"rung", last.rungs.empty() ? "none" : last.rungs.back().type},
        {"account", account_of(last)},
        {"why", last.approval_reason},
    };
    CHECK(fields.at(field) == rest());
  }
  void actions() { CHECK(sink_.submitted.size() == base::parse_uint(word()).value()); }
  /// Each host asks for a place when its action is to begin, as the executor does.
  void fleet() {
    const auto count = base::parse_uint(word()).value();
    const auto budget = base::parse_uint(word()).value();
    const auto lasts = duration();
    const auto within = duration();
    const auto trouble = observation();
    std::vector<std::unique_ptr<Runner>> hosts;
    for (std::uint64_t seed = 0; seed < count; ++seed) {
      hosts.push_back(std::make_unique<Runner>(base_, seed));
      hosts.back()->book_->report("scenario", trouble);
    }
    std::uint64_t inside = 0;
    std::uint64_t most = 0;
    std::uint64_t refused = 0;
    std::map<const Runner*, int> turns;
    for (Millis passed{0}; passed < within; passed += Millis(1000)) {
      for (const auto& host : hosts) {
        host->clock_.advance(Millis(1000));
        host->planner_->tick();
        auto* action = host->sink_.on(trouble.subject);
        if (action == nullptr) continue;
        if (action->started) {
          if (host->clock_.wall() - *action->started < lasts) continue;
          --inside;
          host->sink_.end(action->id, ActionState::kSucceeded);
          host->book_->clear("scenario",
                             analyze::fingerprint(trouble.kind, trouble.name, trouble.labels));
        } else if (inside < budget) {
          most = std::max(most, ++inside);
          ++turns[host.get()];
          action->started = host->clock_.wall();
        } else {
          ++refused;
          host->sink_.end(action->id, ActionState::kCancelled, "fleet_lock");
        }
      }
    }
    CHECK(most == budget);
    CHECK(refused > 0);
    CHECK(inside == 0);
    CHECK(turns.size() == count);
    for (const auto& [host, times] : turns) {
      CHECK(times == 1);
      CHECK(host->planner_->breakers().empty());  // who waited has not failed
    }
  }
  void open_actions() { CHECK(sink_.open.size() == base::parse_uint(word()).value()); }

  std::vector<std::string> new_decisions() {
    auto all = planner_->decisions(1000).value();
    std::vector<std::string> out;
    if (!all.empty()) newest_reason_ = all.front().reason;
    for (auto it = all.rbegin(); it != all.rend(); ++it) {
      if (it->id <= seen_) continue;
      seen_ = it->id;
      out.push_back(it->verdict + " " + it->reason_code + " " +
                    (it->remedy.empty() ? "-" : it->remedy) + " " +
                    (it->target.empty() ? "-" : it->target));
    }
    return out;
  }

  using Verb = void (Runner::*)();
  static const std::map<std::string, Verb> kVerbs;

  const std::string base_;  // the scenario's configuration
  const std::uint64_t seed_;
  base::ManualClock clock_;
  knowledge::SelfMetrics self_;
  std::unique_ptr<knowledge::StateDb> db_;
  std::unique_ptr<analyze::Book> book_;
  test::RecordingSink sink_;
  const std::shared_ptr<KnownSurroundings> surroundings_ = std::make_shared<KnownSurroundings>();
  std::string stop_file_;
  std::shared_ptr<const config::Config> config_;
  std::shared_ptr<const RemedySet> remedies_;
  std::unique_ptr<Planner> planner_;
  std::istringstream words_;
  std::int64_t seen_ = 0;
  std::string newest_reason_;
};

const std::map<std::string, Runner::Verb> Runner::kVerbs{
    {"fire", &Runner::fire},
    {"resolve", &Runner::resolve},
    {"doubt", &Runner::doubt},
    {"see", &Runner::see},
    {"unsee", &Runner::unsee},
    {"restart_all", &Runner::restart_all},
    {"advance", &Runner::advance},
    {"clock_back", &Runner::clock_back},
    {"clock_forward", &Runner::clock_forward},
    {"hold", &Runner::hold},
    {"release", &Runner::release},
    {"holds", &Runner::holds},
    {"state", &Runner::state},
    {"needs", &Runner::needs},
    {"account", &Runner::account},
    {"usual", &Runner::usual},
    {"shadow", &Runner::shadow},
    {"refusal", &Runner::refusal},
    {"begin", &Runner::start_action},
    {"finish", &Runner::finish},
    {"approve", &Runner::approve},
    {"alias", &Runner::alias},
    {"unname", &Runner::unname},
    {"reconfigure", &Runner::reconfigure},
    {"stop", &Runner::stop},
    {"start", &Runner::start},
    {"stop_file", &Runner::stop_file},
    {"sink_full", &Runner::sink_full},
    {"request", &Runner::request},
    {"reset", &Runner::reset},
    {"breaker", &Runner::breaker},
    {"finding", &Runner::finding},
    {"action", &Runner::action},
    {"actions", &Runner::actions},
    {"open_actions", &Runner::open_actions},
    {"fleet", &Runner::fleet},
    {"restart", &Runner::restart},
};

std::vector<std::filesystem::path> scenario_files() {
  std::vector<std::filesystem::path> out;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(NEXUS_TEST_DATA) + "/plan/scenarios")) {
    if (entry.path().extension() == ".txt") out.push_back(entry.path());
  }
  std::ranges::sort(out);
  return out;
}

}  // namespace

TEST_CASE("scenarios of remedies and guardrails") {
  const auto files = scenario_files();
  REQUIRE(files.size() >= 100);
  for (const auto& file : files) {
    DYNAMIC_SECTION(file.stem().string()) {
      const auto scenario = read_scenario(file);
      REQUIRE_FALSE(scenario.steps.empty());
      Runner runner(scenario.config);
      for (const auto& step : scenario.steps) {
        INFO(file.filename().string() << ":" << step.line << ": " << step.text);
        runner.run(step);
      }
    }
  }
}
