// Containers of a real engine, for tests of what is done to them. Thread safety: one thread.
#pragma once

#include <boost/json.hpp>
#include <set>

#include "bench.hpp"
#include "nexus/drivers/docker.hpp"
#include "nexus/drivers/http_client.hpp"

namespace nexus::execute::test {

namespace json = boost::json;

/// The machine's clock, with a wall clock that goes ahead: what was made now is old by it.
class AheadClock final : public Clock {
 public:
  explicit AheadClock(Millis ahead) : ahead_(ahead) {}
  [[nodiscard]] WallTime wall() const noexcept override { return system_.wall() + ahead_; }
  [[nodiscard]] SteadyTime steady() const noexcept override { return system_.steady(); }
  bool wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& condition,
                  SteadyTime deadline, const std::function<bool()>& done) override {
    return system_.wait_until(lock, condition, deadline, done);
  }

 private:
  base::SystemClock system_;
  const Millis ahead_;
};

class ContainerBed {
 public:
  ContainerBed(const std::string& socket, std::string its_image)
      : image(std::move(its_image)), engine_(clock_, socket) {}
  ~ContainerBed() {
    for (const auto& id : made_)
      std::ignore = engine_.request("DELETE", "/containers/" + id + "?force=true", {}, soon());
    // What took the place of those, or was made like them.
    if (const auto all = engine_.containers(soon(), 1000)) {
      for (const auto& one : *all) {
        if (one.labels.contains("com.docker.compose.project"))
          std::ignore =
              engine_.request("DELETE", "/containers/" + one.id + "?force=true", {}, soon());
      }
    }
    for (const auto& name : images_)
      std::ignore = engine_.request("DELETE", "/images/" + name + "?force=true", {}, soon());
    // Of which a name was taken.
    std::ignore = engine_.request(
        "POST", "/images/prune?filters=" + drivers::url_encode(R"({"dangling":["true"]})"), {},
        soon());
  }
  ContainerBed(const ContainerBed&) = delete;
  ContainerBed& operator=(const ContainerBed&) = delete;

  [[nodiscard]] SteadyTime soon() const { return clock_.steady() + std::chrono::seconds(60); }
  [[nodiscard]] const drivers::Docker& engine() const { return engine_; }

  json::value ask(const std::string& method, const std::string& path,
                  const std::string& body = {}) {
    const auto done = engine_.request(method, path, body, soon());
    if (!done) throw std::runtime_error(method + " " + path + ": " + done.error().message());
    json::error_code error;
    auto value = json::parse(done->body, error);
    return error ? json::value() : value;
  }
  /// Makes and starts one; `more` are members of the JSON that replace what it has otherwise.
  std::string make(const std::string& name, json::object more = {},
                   const std::string& command = "sleep 1000") {
    json::object spec{{"Image", image},
                      {"Cmd", {"sh", "-c", command}},
                      {"StopSignal", "SIGKILL"},
                      {"HostConfig", {{"NetworkMode", "host"}}}};
    for (auto& [key, value] : more) spec.insert_or_assign(key, std::move(value));
    const auto made =
        ask("POST", "/containers/create?name=" + name, json::serialize(spec)).at("Id").as_string();
    made_.emplace_back(made);
    ask("POST", "/containers/" + name + "/start");
    return std::string(made);
  }
  /// One of a service of Compose, as Compose makes them.
  std::string make_of(const std::string& project, const std::string& service, int number,
                      json::object more = {}, const std::string& command = "sleep 1000") {
    const auto name = fmt::format("{}-{}-{}", project, service, number);
    more["Labels"] = json::object{{"com.docker.compose.project", project},
                                  {"com.docker.compose.service", service},
                                  {"com.docker.compose.container-number", std::to_string(number)},
                                  {"com.docker.compose.oneoff", "False"}};
    return make(name, std::move(more), command);
  }
  /// Another image like ours, by Dockerfile instructions: "ENV VERSION=2"; its id.
  std::string make_image(const std::string& name, const std::string& changes) {
    const auto like = make("for-an-image");
    const auto colon = name.rfind(':');
    auto id =
        ask("POST",
            "/commit?container=" + like + "&repo=" + drivers::url_encode(name.substr(0, colon)) +
                "&tag=" + name.substr(colon + 1) + "&changes=" + drivers::url_encode(changes),
            "{}");
    ask("DELETE", "/containers/" + like + "?force=true");
    images_.push_back(drivers::url_encode(name));
    return std::string(
        ask("GET", "/images/" + drivers::url_encode(name) + "/json").at("Id").as_string());
  }
  json::value inspect(const std::string& name) {
    return ask("GET", "/containers/" + name + "/json");
  }
  std::string text(const std::string& name, const std::string& pointer) {
    const auto value = inspect(name);
    return std::string(value.at_pointer(pointer).as_string());
  }
  bool has(const std::string& name) {
    return engine_.request("GET", "/containers/" + name + "/json", {}, soon()).has_value();
  }
  /// Names of what there is of a project, running or not.
  std::set<std::string> names_of(const std::string& project) {
    std::set<std::string> out;
    const auto all = engine_.containers(soon(), 1000);
    for (const auto& one : all.value()) {
      const auto label = one.labels.find("com.docker.compose.project");
      if (label != one.labels.end() && label->second == project) out.insert(one.name);
    }
    return out;
  }

  const std::string image;

 private:
  base::SystemClock clock_;
  drivers::Docker engine_;
  std::vector<std::string> made_;
  std::vector<std::string> images_;
};

/// An executor that works on the bed's engine.
struct ContainerBench {
  ContainerBench(Clock& clock, const ContainerBed& bed, const std::string& database = ":memory:")
      : bench(clock, database) {
    bench.config.connections.docker.socket = bed.engine().socket();
    bench.configure();
  }
  Action action(const std::string& type, const std::string& target,
                config::Parameters parameters = {}) const {
    auto out = bench.action(target);
    out.type = type;
    out.parameters = std::move(parameters);
    return out;
  }
  Action run(Action action) {
    if (!started) bench.executor->start();
    started = true;
    if (auto valid = bench.executor->validate(action); !valid) FAIL(valid.error().message());
    return bench.run(std::move(action));
  }
  Action run(const std::string& type, const std::string& target,
             config::Parameters parameters = {}) {
    return run(action(type, target, std::move(parameters)));
  }
  std::string would(const std::string& type, const std::string& target,
                    config::Parameters parameters = {}) {
    auto dry = action(type, target, std::move(parameters));
    dry.dry_run = true;
    const auto ended = run(std::move(dry));
    return ended.state == ActionState::kSucceeded ? ended.outcome.would_do : ended.outcome.result;
  }
  std::string refused(const std::string& type, const std::string& target,
                      config::Parameters parameters = {}) const {
    const auto valid = bench.executor->validate(action(type, target, std::move(parameters)));
    return valid ? "" : valid.error().message();
  }

  Bench bench;
  bool started = false;
};

/// A bed and a bench on an engine.
struct ContainerWorld {
  ContainerWorld(const std::string& socket, std::string image) : bed(socket, std::move(image)) {}

  std::string started(const std::string& name) { return bed.text(name, "/State/StartedAt"); }
  std::string id(const std::string& name) { return bed.text(name, "/Id"); }
  std::string image(const std::string& name) { return bed.text(name, "/Config/Image"); }
  std::string state(const std::string& name) { return bed.text(name, "/State/Status"); }
  void stop(const std::string& id) { bed.ask("POST", "/containers/" + id + "/stop"); }

  base::SystemClock clock;
  ContainerBed bed;
  ContainerBench actions{clock, bed};
  nexus::test::TemporaryDirectory directory;
};

}  // namespace nexus::execute::test
