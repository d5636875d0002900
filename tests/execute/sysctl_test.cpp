// network_optimization and http_request with real counterparts: kernel parameters of a network
// namespace of the test's own, and a listener on loopback.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>

#include "bench.hpp"
#include "nexus/host/fd.hpp"
#include "nexus/host/privileged.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;

namespace {

constexpr auto kName = "net.core.somaxconn";

struct Room {
  Room() { bench.executor->start(); }
  Action tune(const std::string& name, const std::string& value) {
    auto out = bench.action(name);
    out.type = "network_optimization";
    out.parameters = {{"value", value}};
    return out;
  }
  std::string invalid(const Action& action) {
    const auto ok = bench.executor->validate(action);
    return ok ? "" : ok.error().message();
  }
  base::SystemClock clock;
  Bench bench{clock};
};

struct Seen {
  std::string invalid_range;
  std::string invalid_name;
  std::string invalid_words;
  std::string invalid_count;
  std::string invalid_order;
  std::string would;
  std::string before;
  std::string after;
  std::string after_undo;
  std::string dirty_before;
  std::string dirty;
  std::string files;
  std::string enough_files;
  Action done;
  Action undone;
};

/// In a thread that has a network of its own: what it sets is nobody else's.
Seen in_own_network() {
  Seen seen;
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) return;  // needs root, as other tests do
    Room room;
    std::size_t count = 0;
    const auto run = [&](Action action) {  // without Catch's macros, which are for one thread
      std::ignore = room.bench.executor->submit(std::move(action));
      return room.bench.wait(++count).back();
    };
    seen.before = host::sysctl(kName).value();
    seen.invalid_range = room.invalid(room.tune(kName, "1"));
    seen.invalid_name = room.invalid(room.tune("net.ipv4.ip_forward", "1"));
    seen.invalid_words = room.invalid(room.tune(kName, "many"));
    seen.invalid_count = room.invalid(room.tune("net.ipv4.tcp_rmem", "4096"));
    seen.invalid_order = room.invalid(room.tune("net.ipv4.tcp_rmem", "8192 4096 65536"));
    auto dry = room.tune(kName, "1234");
    dry.dry_run = true;
    seen.would = run(dry).outcome.would_do;
    seen.done = run(room.tune(kName, "1234"));
    seen.after = host::sysctl(kName).value();
    auto vain = room.tune(kName, "2345");
    vain.verify = config::VerifyConfig{.expr = {"drops < 1", {}}, .within = 1ms};
    seen.undone = run(vain);
    seen.after_undo = host::sysctl(kName).value();

    // A host that counts dirty pages in bytes, and one with many open files.
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      return;
    const TemporaryDirectory directory;
    const auto pretend = [&](const std::string& path, const std::string& text) {
      const auto file = directory.write(std::filesystem::path(path).filename(), text);
      return ::mount(file.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) == 0;
    };
    const auto set = [&](const char* name, const char* value) {
      auto out = room.tune(name, value);
      out.type = "performance_tuning";
      return room.invalid(out);
    };
    if (!pretend("/proc/sys/vm/dirty_bytes", "0\n") ||
        !pretend("/proc/sys/fs/file-nr", "900000\t0\t1\n"))
      return;
    seen.dirty_before = set("vm.dirty_ratio", "20");
    directory.write("dirty_bytes", "1048576\n");
    seen.dirty = set("vm.dirty_ratio", "20");
    seen.files = set("fs.file-max", "65536");
    seen.enough_files = set("fs.file-max", "2000000");
  }).join();
  return seen;
}

/// Answers one request with a status, and keeps what it was asked.
class Listener {
 public:
  explicit Listener(std::string status) : status_(std::move(status)) {
    socket_ = host::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(socket_.get(), 4) == 0);
    socklen_t size = sizeof address;
    ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~Listener() {
    ::shutdown(socket_.get(), SHUT_RDWR);
    thread_.join();
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  [[nodiscard]] std::string url() const { return fmt::format("http://127.0.0.1:{}/drain", port_); }
  [[nodiscard]] std::string asked() {
    const std::lock_guard guard(mutex_);
    return asked_;
  }

 private:
  void serve() {
    while (true) {
      const host::Fd peer(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!peer) return;
      std::string text;
      std::array<char, 4096> buffer{};
      while (!text.contains("\r\n\r\n") || !text.ends_with("}")) {
        const auto got = ::read(peer.get(), buffer.data(), buffer.size());
        if (got <= 0) break;
        text.append(buffer.data(), static_cast<std::size_t>(got));
      }
      {
        const std::lock_guard guard(mutex_);
        asked_ = text;
      }
      const auto answer = fmt::format(
          "HTTP/1.1 {}\r\nContent-Length: 5\r\nConnection: close\r\n\r\ndrain", status_);
      if (::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL) < 0) return;
    }
  }

  const std::string status_;
  host::Fd socket_;
  int port_ = 0;
  std::mutex mutex_;
  std::string asked_;
  std::thread thread_;
};

}  // namespace

TEST_CASE("a kernel parameter is set within its range, read back, and undone when it is in vain") {
  const auto seen = in_own_network();
  REQUIRE_FALSE(seen.before.empty());
  CHECK_THAT(seen.invalid_range, Catch::Contains("expected 128 to 65535 for net.core.somaxconn"));
  CHECK_THAT(seen.invalid_name, Catch::Contains("net.ipv4.ip_forward may not be set"));
  CHECK_THAT(seen.invalid_words, Catch::Contains("expected whole numbers"));
  CHECK_THAT(seen.invalid_count, Catch::Contains("has 3 numbers, got 1"));
  CHECK_THAT(seen.invalid_order, Catch::Contains("none may be below the one before"));
  CHECK(seen.dirty_before.empty());
  CHECK_THAT(seen.dirty, Catch::Contains("vm.dirty_bytes is 1048576, and the kernel would"));
  CHECK_THAT(seen.files, Catch::Contains("900000 are in use now"));
  CHECK(seen.enough_files.empty());
  CHECK(seen.would ==
        fmt::format("would set net.core.somaxconn from \"{}\" to \"1234\"", seen.before));
  CHECK(seen.done.state == ActionState::kSucceeded);
  CHECK(seen.done.outcome.verified == true);
  CHECK_THAT(seen.done.outcome.before, Catch::Contains("\"value\":\"" + seen.before + "\""));
  CHECK(seen.after == "1234");
  CHECK(seen.undone.state == ActionState::kUnverified);
  CHECK(seen.undone.outcome.undone == "undone: net.core.somaxconn is \"1234\" again");
  CHECK(seen.after_undo == "1234");
}

TEST_CASE("a [[sysctl]] of the configuration widens the list") {
  Room room;
  config::SysctlConfig own;
  own.name = "net.ipv4.ip_default_ttl";
  own.min = 32;
  own.max = 128;
  CHECK_THAT(room.invalid(room.tune(own.name, "64")), Catch::Contains("may not be set"));
  room.bench.config.sysctls = {own};
  room.bench.configure();
  CHECK(room.invalid(room.tune(own.name, "64")).empty());
  CHECK_THAT(room.invalid(room.tune(own.name, "255")), Catch::Contains("expected 32 to 128"));
}

TEST_CASE("a listed request is sent as it is written, and its status is judged") {
  Listener good("204 No Content");
  Listener bad("503 Busy");
  Room room;
  config::RequestConfig request;
  request.name = "drain";
  request.url = good.url();
  request.headers = {{"X-Reason", "full"}};
  request.body = "{}";
  request.credentials.token = config::Secret("s3cret");
  auto busy = request;
  busy.name = "busy";
  busy.url = bad.url();
  room.bench.config.requests = {request, busy};
  room.bench.configure();
  const auto send = [&](const std::string& name, bool dry = false) {
    auto action = room.bench.action(name);
    action.type = "http_request";
    action.dry_run = dry;
    return room.bench.run(action);
  };
  const auto would = send("drain", true).outcome.would_do;
  CHECK(would == fmt::format("would send POST {}\nX-Reason: (not shown)\nand a body of 2 bytes",
                             good.url()));
  CHECK(good.asked().empty());
  const auto done = send("drain");
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK_THAT(good.asked(), Catch::StartsWith("POST /drain HTTP/1.1"));
  CHECK_THAT(good.asked(), Catch::Contains("X-Reason: full") &&
                               Catch::Contains("Authorization: Bearer s3cret") &&
                               Catch::EndsWith("{}"));
  CHECK(done.outcome.before.find("s3cret") == std::string::npos);
  const auto failed = send("busy");
  CHECK(failed.state == ActionState::kFailed);
  CHECK_THAT(failed.outcome.result, Catch::Contains("was answered with 503"));
  auto unlisted = room.bench.action("http://127.0.0.1:1/x");
  unlisted.type = "http_request";
  CHECK_THAT(room.invalid(unlisted), Catch::Contains("is not listed as a [[request]]"));
}

TEST_CASE("drop_caches says what it would drop, and takes the host for a target only") {
  Room room;
  auto action = room.bench.action("host");
  action.type = "drop_caches";
  action.parameters = {{"what", std::int64_t{3}}};
  action.dry_run = true;
  const auto would = room.bench.run(action).outcome.would_do;
  CHECK_THAT(would, Catch::StartsWith("would write 3 to /proc/sys/vm/drop_caches: files take "));
  action.parameters = {{"what", std::int64_t{4}}};
  CHECK_THAT(room.invalid(action), Catch::Contains("expected 1, 2 or 3, got 4"));
  action.parameters.clear();
  action.target = "web.service";
  CHECK_THAT(room.invalid(action), Catch::Contains("expected \"host\""));
  // It has begun before what is dirty is written; here it has no time for that, and drops nothing.
  bool begun = false;
  const auto late = room.bench.privileged.drop_caches(
      1, true, {.deadline = room.bench.clock.steady() - 1s, .started = [&] { begun = true; }});
  CHECK_THAT(late.error().message(), Catch::Contains("write what is dirty"));
  CHECK(begun);
}
