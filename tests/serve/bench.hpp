// A real server on a free port of 127.0.0.1 and on a unix socket, over routes that do what a test
// needs.
#pragma once

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <stdexcept>

#include "client.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/serve/server.hpp"
#include "support/self_metrics.hpp"
#include "support/temporary_directory.hpp"

namespace nexus::serve::test {

using namespace std::chrono_literals;

using nexus::test::metric;

using nexus::test::TemporaryDirectory;

/// Pieces that are numbered; notes when it is made and when it is gone.
class NumberedPieces final : public BodySource {
 public:
  struct Count {
    std::atomic<int> made{0};
    std::atomic<int> alive{0};
  };
  NumberedPieces(int pieces, int bad, std::shared_ptr<Count> count)
      : pieces_(pieces), bad_(bad), count_(std::move(count)) {
    ++count_->alive;
    ++count_->made;
  }
  ~NumberedPieces() override { --count_->alive; }
  NumberedPieces(const NumberedPieces&) = delete;
  NumberedPieces& operator=(const NumberedPieces&) = delete;
  bool append(std::string& out) override {
    if (next_ == bad_) throw std::runtime_error("secret");
    out += text(next_++);
    return next_ < pieces_;
  }
  /// Number `piece`; some are empty.
  static std::string text(int piece) {
    return piece % 5 == 3 ? "" : std::string(50'000, static_cast<char>('a' + piece % 26));
  }

 private:
  const int pieces_;
  const int bad_;
  const std::shared_ptr<Count> count_;
  int next_ = 0;
};

struct Bench {
  Bench() {
    http.listen = {"127.0.0.1:0", "unix:" + directory.file("s")};
    auth.tokens = {{"eve", config::Role::kViewer, config::Secret("viewer-token-0123456789")},
                   {"ops", config::Role::kOperator, config::Secret("operator-token-0123456789")}};
  }

  void start() {
    auto made = Server::make(clock, http, std::make_shared<const Authenticator>(auth),
                             std::make_shared<const Router>(routes()), self);
    if (!made) FAIL(made.error().message());
    server = std::move(*made);
    server->start();
    tcp = server->addresses().at(0);
    local = server->addresses().at(1);
  }

  std::vector<Route> routes() {
    using config::Role;
    std::vector<Route> out;
    const auto add = [&](Method method, std::string path, Role role, Runs runs, Handler handler) {
      out.push_back({method, std::move(path), role, runs, std::move(handler), ""});
    };
    add(Method::kGet, "/hello", Role::kNone, Runs::kSnapshot,
        [](const Request&) { return json("{\"hello\":\"world\"}"); });
    const auto long_answer = [this](int pieces, int bad) {
      Response response = json("begin ");
      response.rest = std::make_shared<NumberedPieces>(pieces, bad, long_answers);
      return response;
    };
    add(Method::kGet, "/long", Role::kNone, Runs::kBlocking,
        [long_answer](const Request&) { return long_answer(40, -1); });
    add(Method::kGet, "/endless", Role::kNone, Runs::kBlocking,
        [long_answer](const Request&) { return long_answer(1 << 30, -1); });
    add(Method::kGet, "/breaks-off", Role::kNone, Runs::kBlocking,
        [long_answer](const Request&) { return long_answer(40, 20); });
    add(Method::kGet, "/big", Role::kNone, Runs::kSnapshot,
        [](const Request&) { return json(std::string(4 << 20, 'x')); });
    add(Method::kPost, "/echo", Role::kViewer, Runs::kBlocking, [](const Request& r) {
      std::string out_body = r.body;
      for (const auto& [name, value] : r.query) out_body += "|" + name + "=" + value;
      return json(out_body);
    });
    add(Method::kPost, "/change", Role::kOperator, Runs::kSnapshot,
        [](const Request& r) { return json(r.caller.who + " from " + r.caller.from); });
    add(Method::kPost, "/administer", Role::kAdministrator, Runs::kSnapshot,
        [](const Request& r) { return json(r.caller.who); });
    add(Method::kGet, "/items/{id}", Role::kViewer, Runs::kSnapshot,
        [](const Request& r) { return json(r.captures.at(0)); });
    add(Method::kGet, "/throws", Role::kNone, Runs::kSnapshot,
        [](const Request&) -> Response { throw std::runtime_error("secret"); });
    add(Method::kGet, "/throws-blocking", Role::kNone, Runs::kBlocking,
        [](const Request&) -> Response { throw 42; });
    add(Method::kGet, "/stuck", Role::kNone, Runs::kBlocking,
        [this](const Request&) { return stuck(); });
    add(Method::kPost, "/act-stuck", Role::kOperator, Runs::kBlocking,
        [this](const Request&) { return stuck(); });
    add(Method::kPost, "/outside-stuck", Role::kOperator, Runs::kOutside,
        [this](const Request&) { return stuck(); });
    add(Method::kPost, "/act", Role::kOperator, Runs::kBlocking,
        [](const Request&) { return json("acted"); });
    add(Method::kPost, "/switch", Role::kOperator, Runs::kSwitch,
        [](const Request&) { return json("switched"); });
    add(Method::kGet, "/scrape", Role::kNone, Runs::kScrape,
        [](const Request&) { return json("scraped"); });
    add(Method::kPost, "/bulk-stuck", Role::kOperator, Runs::kBulk,
        [this](const Request&) { return stuck(); });
    add(Method::kGet, "/records", Role::kOperator, Runs::kBlocking,
        [](const Request&) { return json("records"); });
    add(Method::kGet, "/wait", Role::kNone, Runs::kBlocking,
        [this](const Request& r) { return wait(r); });
    return out;
  }

  /// Answers when released, or when the server stops.
  Response wait(const Request& request) {
    std::unique_lock lock(mutex);
    ++waiting;
    changed.notify_all();
    while (!released && !request.cancelled()) changed.wait_for(lock, 1ms);
    if (!released) ++cancelled;
    changed.notify_all();
    return json(released ? "released" : "cancelled");
  }
  /// Answers when released only, whatever the server does.
  Response stuck() {
    std::unique_lock lock(mutex);
    ++waiting;
    changed.notify_all();
    changed.wait(lock, [&] { return released; });
    --waiting;
    changed.notify_all();
    return json("released");
  }
  void until_left() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return waiting == 0; });
  }
  void until_cancelled(int count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return cancelled >= count; });
  }
  void until_waiting(int count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return waiting >= count; });
  }
  void release(bool now = true) {
    const std::lock_guard guard(mutex);
    released = now;
    changed.notify_all();
  }
  [[nodiscard]] double refused(std::string_view reason) const {
    return metric(self, "nexus_http_refused_total", reason);
  }
  /// Another client is served.
  [[nodiscard]] bool serves() const {
    return Client(tcp).ask(request("GET", "/hello")).status == 200;
  }

  base::SystemClock clock;
  knowledge::SelfMetrics self;
  TemporaryDirectory directory;
  config::HttpSection http;
  config::AuthSection auth;
  std::mutex mutex;
  std::condition_variable changed;
  int waiting = 0;
  int cancelled = 0;  // of those that wait
  bool released = false;
  std::shared_ptr<NumberedPieces::Count> long_answers = std::make_shared<NumberedPieces::Count>();
  std::string tcp;
  std::string local;
  std::unique_ptr<Server> server;  // first to go
};

}  // namespace nexus::serve::test
