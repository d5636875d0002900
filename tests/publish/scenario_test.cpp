// Scenarios of routes as data: tests/publish/scenarios/*.txt, described in its README.md.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "nexus/base/text.hpp"
#include "nexus/config/load.hpp"
#include "publish/dispatcher.hpp"
#include "publish/store.hpp"

using namespace nexus;
using namespace nexus::publish;
using namespace std::chrono_literals;

namespace {

struct Step {
  int line = 0;
  std::string text;
  std::vector<std::string> expected;
};

struct Scenario {
  std::string config;
  std::vector<Step> steps;
};

Scenario read_scenario(const std::filesystem::path& file) {
  Scenario out;
  std::ifstream in(file);
  std::string line;
  std::string part;
  std::string receivers;
  std::map<std::string, std::string> options;
  for (int number = 1; std::getline(in, line); ++number) {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    if (line == "config" || line == "alertmanager") {
      part = line;
    } else if (line == "end") {
      part.clear();
    } else if (part == "config") {
      out.config += line + "\n";
    } else if (!part.empty() || verb.empty() || verb.starts_with('#')) {
      continue;
    } else if (verb == "receivers") {
      for (std::string name; words >> name;) options[name];
    } else if (verb == "resolved") {
      std::string name;
      words >> name;
      options[name] += "send_resolved = false\n";
    } else if (verb == ">") {
      out.steps.back().expected.push_back(line.substr(2));
    } else {
      out.steps.push_back({number, line, {}});
    }
  }
  for (const auto& [name, more] : options)
    out.config +=
        "[notify." + name + "]\ntype = \"webhook\"\nurl = \"http://127.0.0.1:9/\"\n" + more;
  return out;
}

std::string shown(const StringMap& labels) {
  std::vector<knowledge::Label> list;
  for (const auto& [name, value] : labels) list.push_back({name, value});
  return to_string(knowledge::Labels(std::move(list)));
}

std::string shown(const Notification& notification) {
  std::vector<std::string> alerts;
  for (const auto& alert : notification.alerts)
    alerts.push_back((alert->resolved() ? "-" : "+") + alert->labels.at("id"));
  std::ranges::sort(alerts);
  auto out = notification.receiver + " " + shown(notification.group_labels);
  for (const auto& alert : alerts) out += " " + alert;
  return out;
}

class Runner {
 public:
  explicit Runner(const std::string& toml) {
    auto loaded = config::load_text(toml, "scenario");
    for (const auto& problem : loaded.problems) FAIL(config::to_string(problem));
    std::vector<config::Problem> problems;
    routing_ = Routing::compile(loaded.config, problems);
    for (const auto& problem : problems) FAIL(config::to_string(problem));
    restart();
  }

  void run(const Step& step) {
    told_.clear();
    words_ = std::istringstream(step.text);
    const auto verb = word();
    if (verb == "fire") {
      fire();
    } else if (verb == "resolve") {
      resolve(word());
    } else if (verb == "forget") {
      alerts_.erase(word());
    } else if (verb == "silence") {
      const auto name = word();
      std::string text;
      std::getline(words_, text);
      silences_.insert_or_assign(name, parse_matchers(text).value());
    } else if (verb == "expire") {
      silences_.erase(word());
    } else if (verb == "settle") {
      advance(10s);
    } else if (verb == "advance") {
      advance(base::parse_duration(word()).value());
    } else if (verb == "clock_back") {
      clock_.step_wall(-base::parse_duration(word()).value());
    } else if (verb == "restart") {
      restart();
    } else {
      FAIL("unknown step " << verb);
    }
    auto expected = step.expected;
    std::ranges::sort(expected);
    std::ranges::sort(told_);
    CHECK(told_ == expected);
  }

 private:
  std::string word() {
    std::string out;
    words_ >> out;
    return out;
  }

  void fire() {
    auto alert = std::make_shared<Alert>();
    const auto id = word();
    alert->labels["id"] = id;
    for (auto text = word(); !text.empty(); text = word())
      alert->labels[text.substr(0, text.find('='))] = text.substr(text.find('=') + 1);
    alert->fingerprint = fingerprint_of(alert->labels);
    alert->starts = clock_.wall();
    alerts_[id] = alert;
    dispatcher_->put(alert, now_of(clock_));
  }

  void resolve(const std::string& id) {
    auto ended = std::make_shared<Alert>(*alerts_.at(id));
    ended->ends = clock_.wall();
    alerts_.erase(id);
    dispatcher_->put(ended, now_of(clock_));
  }

  void turn() {
    const auto due = dispatcher_->turn(now_of(clock_), [&](const StringMap& labels) {
      return std::ranges::any_of(silences_,
                                 [&](const auto& one) { return all_match(one.second, labels); });
    });
    std::vector<Waiting> fresh;
    for (const auto& one : due) {
      told_.push_back(shown(one));
      fresh.push_back({0, std::make_shared<const Notification>(one)});
    }
    log_->expire(now_of(clock_));
    const auto changes = log_->take_changes();
    if (!changes.empty()) REQUIRE(store_->write(*log_, changes, fresh));
  }

  void advance(Millis duration) {
    const Millis step = duration > 1min ? Millis(1s) : Millis(100ms);
    for (auto left = duration; left > Millis(0); left -= step) {
      turn();
      clock_.advance(std::min(left, step));
    }
    turn();
  }

  /// As the publisher does it: what the database holds, then everything that fires, then the ends
  /// of what was told and is gone.
  void restart() {
    dispatcher_.reset();
    log_ = std::make_unique<NotificationLog>();
    store_ = PublishStore::open(*db_).value();
    REQUIRE(store_->load(*log_, now_of(clock_)));
    dispatcher_ = std::make_unique<Dispatcher>(routing_, *log_);
    for (const auto& [id, alert] : alerts_) dispatcher_->put(alert, now_of(clock_));
    for (const auto& [key, entry] : std::map(log_->entries())) {
      for (const auto& alert : entry.alerts) {
        if (alerts_.contains(alert->labels.at("id"))) continue;
        auto ended = std::make_shared<Alert>(*alert);
        ended->ends = clock_.wall();
        dispatcher_->put(ended, now_of(clock_));
      }
    }
  }

  base::ManualClock clock_;
  std::unique_ptr<knowledge::StateDb> db_ = *knowledge::StateDb::open(":memory:");
  std::shared_ptr<const Routing> routing_;
  std::unique_ptr<NotificationLog> log_;
  std::optional<PublishStore> store_;
  std::unique_ptr<Dispatcher> dispatcher_;
  std::map<std::string, AlertPtr> alerts_;
  std::map<std::string, Matchers> silences_;
  std::vector<std::string> told_;
  std::istringstream words_;
};

}  // namespace

TEST_CASE("scenarios of routes") {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(NEXUS_TEST_DATA) + "/publish/scenarios")) {
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  REQUIRE(files.size() >= 11);
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
