// The server's ordinary life: replies, keep-alive, limits, who is who, listeners and the end.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <thread>

#include "bench.hpp"

using namespace nexus;
using namespace nexus::serve;
using namespace nexus::serve::test;

namespace {

std::string bearer(std::string_view token) {
  return "Authorization: Bearer " + std::string(token) + "\r\n";
}

/// The soft limit of descriptors, put back at the end.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t soft) {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    rlimit now = before_;
    now.rlim_cur = std::min(soft, before_.rlim_max);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &now) == 0);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;

 private:
  rlimit before_{};
};

template <class Condition>
void until(const Condition& condition) {
  while (!condition()) std::this_thread::yield();
}

}  // namespace

TEST_CASE("a reply says what it is, how long, and that nobody may keep or sniff it") {
  Bench bench;
  bench.start();
  Client client(bench.tcp);
  const auto reply = client.ask(request("GET", "/hello"));
  CHECK(reply.status == 200);
  CHECK(reply.body == R"({"hello":"world"})");
  CHECK(reply.header("content-type") == "application/json");
  CHECK(reply.header("content-length") == "17");
  CHECK(reply.header("x-content-type-options") == "nosniff");
  CHECK(reply.header("cache-control") == "no-store");
  CHECK(client.ask(request("GET", "/big")).body.size() == 4U << 20);
  CHECK(metric(bench.self, "nexus_http_responses_total", "2xx") == 2);
}

TEST_CASE("HEAD is a GET without the body, on the same connection") {
  Bench bench;
  bench.start();
  Client client(bench.tcp);
  const auto head = client.ask(request("HEAD", "/hello"), true);
  CHECK(head.status == 200);
  CHECK(head.header("content-length") == "17");
  CHECK(client.ask(request("HEAD", "/nowhere"), true).status == 404);
  CHECK(client.ask(request("GET", "/hello")).body.size() == 17);
}

TEST_CASE("a long answer is made while it is written, and is whole") {
  Bench bench;
  bench.start();
  std::string expected = "begin ";
  for (int piece = 0; piece < 40; ++piece) expected += NumberedPieces::text(piece);
  Client client(bench.tcp);
  for (int again = 0; again < 2; ++again) {
    const auto reply = client.ask(request("GET", "/long"));
    CHECK(reply.status == 200);
    CHECK(reply.header("content-length").empty());
    CHECK(reply.body == expected);
    const auto head = client.ask(request("HEAD", "/long"), true);
    CHECK(head.header("transfer-encoding") == "chunked");
    CHECK(head.header("content-length").empty());
  }
  CHECK(client.ask(request("GET", "/hello")).body.size() == 17);
  // Who cannot read chunks is told the end by the end of the connection.
  Client old(bench.tcp);
  old.send("GET /long HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const std::string all = old.rest();
  CHECK(all.find("chunked") == std::string::npos);
  CHECK(all.find("Connection: close") != std::string::npos);
  CHECK(all.ends_with("\r\n\r\n" + expected));
  CHECK(bench.long_answers->alive == 0);
}

TEST_CASE("a long answer that cannot be made to its end is not taken for a whole one") {
  Bench bench;
  bench.start();
  Client client(bench.tcp);
  client.send(request("GET", "/breaks-off"));
  const std::string got = client.rest();
  CHECK(got.find("secret") == std::string::npos);
  CHECK(!got.ends_with("0\r\n\r\n"));
  CHECK(got.size() > 500'000);
  until([&] { return bench.long_answers->alive == 0; });
  CHECK(bench.serves());
}

TEST_CASE("a long answer ends with its client, with its deadline, and with the server") {
  Bench bench;
  bench.http.write_timeout = Millis(300);
  bench.start();
  const auto& count = *bench.long_answers;
  {
    Client leaves(bench.tcp);
    leaves.send(request("GET", "/endless"));
    until([&] { return count.made == 1; });
  }
  until([&] { return count.alive == 0; });
  Client never_reads(bench.tcp);
  never_reads.send(request("GET", "/endless"));
  until([&] { return count.made == 2 && count.alive == 0; });
  CHECK(metric(bench.self, "nexus_http_timeouts_total") >= 1);
  Client at_the_end(bench.tcp);
  at_the_end.send(request("GET", "/endless"));
  until([&] { return count.made == 3; });
  bench.server->stop(Millis(0));
  bench.server.reset();
  CHECK(count.alive == 0);
}

TEST_CASE("wrong methods get 405 with what is allowed, unknown paths 404") {
  Bench bench;
  bench.start();
  Client client(bench.tcp);
  const auto wrong = client.ask(request("POST", "/hello"));
  CHECK(wrong.status == 405);
  CHECK(wrong.header("allow") == "GET, HEAD");
  CHECK(client.ask(request("GET", "/change")).header("allow") == "POST");
  CHECK(client.ask(request("DELETE", "/items/7")).header("allow") == "GET, HEAD");
  CHECK(client.ask(request("GET", "/nowhere\"<b>")).body.find(R"(no route /nowhere\"<b>)") !=
        std::string::npos);
}

TEST_CASE("pipelined requests are answered in order") {
  Bench bench;
  bench.start();
  Client client(bench.tcp);
  std::string all;
  for (int i = 0; i < 50; ++i) {
    all += request("GET", "/items/" + std::to_string(i));
    all += request("POST", "/echo", "", "body " + std::to_string(i));
  }
  std::thread sender([&] { client.send(all); });
  for (int i = 0; i < 50; ++i) {
    CHECK(client.read().value().body == std::to_string(i));
    CHECK(client.read().value().body == "body " + std::to_string(i));
  }
  sender.join();
}

TEST_CASE("a request may come byte by byte, and its client may be half closed") {
  Bench bench;
  bench.start();
  Client client(bench.tcp);
  for (const char c : request("POST", "/echo?a=1&b=x%20y", "", "hello"))
    CHECK(client.send(std::string(1, c)));
  client.half_close();
  CHECK(client.read().value().body == "hello|a=1|b=x y");
  CHECK(client.ends());
  Client silent(bench.tcp);
  silent.half_close();
  CHECK(silent.ends());
  Client unfinished(bench.tcp);
  unfinished.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc");
  unfinished.half_close();
  CHECK(unfinished.ends());
}

TEST_CASE("forms are parameters, whatever the case of their type") {
  Bench bench;
  bench.start();
  Client client(bench.tcp);
  const std::string form = "query=up+%2B+1&time=5";
  for (const std::string type :
       {"application/x-www-form-urlencoded", "Application/X-WWW-Form-Urlencoded; charset=UTF-8"}) {
    CHECK(client.ask(request("POST", "/echo?a=b", "Content-Type: " + type + "\r\n", form))
              .body.ends_with("|a=b|query=up + 1|time=5"));
  }
  CHECK(client.ask(request("POST", "/echo", "Content-Type: text/plain\r\n", form)).body == form);
}

TEST_CASE("a connection ends after its last request, when asked to, and after HTTP/1.0") {
  Bench bench;
  bench.http.max_requests_per_connection = 3;
  bench.start();
  Client client(bench.tcp);
  CHECK(client.ask(request("GET", "/hello")).header("connection").empty());
  CHECK(client.ask(request("GET", "/hello")).header("connection").empty());
  CHECK(client.ask(request("GET", "/hello")).header("connection") == "close");
  CHECK(client.ends());
  Client polite(bench.tcp);
  CHECK(polite.ask(request("GET", "/hello", "Connection: close\r\n")).header("connection") ==
        "close");
  CHECK(polite.ends());
  Client old(bench.tcp);
  CHECK(old.ask("GET /hello HTTP/1.0\r\n\r\n").header("connection") == "close");
  CHECK(old.ends());
  // Someone on 1.0 who asks to stay is told that they may.
  Client staying(bench.tcp);
  CHECK(staying.ask("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").header("connection") ==
        "keep-alive");
  CHECK(staying.ask(request("GET", "/hello")).status == 200);
}

TEST_CASE("whoever is slow or silent is let go") {
  Bench bench;
  bench.http.idle_timeout = 1s;
  bench.http.read_timeout = 1s;
  bench.http.write_timeout = 1s;
  bench.http.max_body_bytes = 1ULL << 30;
  bench.start();
  Client silent(bench.tcp);
  Client idle(bench.tcp);
  idle.ask(request("GET", "/hello"));
  Client slow_head(bench.local);
  slow_head.send("GET /hello HTTP/1.1\r\nHost: loc");
  Client slow_body(bench.tcp);
  slow_body.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc");
  CHECK(silent.ends());
  CHECK(idle.ends());
  for (Client* slow : {&slow_head, &slow_body}) {
    const auto reply = slow->read();
    REQUIRE(reply);
    CHECK(reply->status == 408);
    CHECK(reply->header("connection") == "close");
    CHECK(reply->body.find("read_timeout") != std::string::npos);
    CHECK(slow->ends());
  }
  CHECK(bench.refused("timeout") == 2);
  // Bytes that trickle do not move the deadline.
  Client trickle(bench.tcp);
  trickle.send(
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n"
      "Authorization: Bearer operator-token-0123456789\r\n\r\n");
  while (trickle.send("x")) std::this_thread::yield();
  Client deaf(bench.tcp);  // asks for more than the socket's buffers hold, and reads nothing
  for (int i = 0; i < 8; ++i) deaf.send(request("GET", "/big"));
  until([&] { return metric(bench.self, "nexus_http_timeouts_total") == 6; });
  until([&] { return bench.server->connections() == 0; });
  CHECK(bench.serves());
}

TEST_CASE("a handler that throws is a 500 that tells nothing, and the connection goes on") {
  Bench bench;
  bench.start();
  Client client(bench.tcp);
  for (const std::string path : {"/throws", "/throws-blocking"}) {
    const auto reply = client.ask(request("GET", path));
    CHECK(reply.status == 500);
    CHECK(reply.body.find("secret") == std::string::npos);
  }
  CHECK(client.ask(request("GET", "/hello")).status == 200);
  CHECK(metric(bench.self, "nexus_http_responses_total", "5xx") == 2);
}

TEST_CASE("roles: 401 without credentials, 403 with too little, 401 for a wrong token") {
  Bench bench;
  bench.start();
  Client client(bench.tcp);
  const auto missing = client.ask(request("POST", "/change"));
  CHECK(missing.status == 401);
  CHECK(missing.header("www-authenticate") == "Bearer realm=\"nexus-agent\"");
  CHECK(client.ask(request("POST", "/change", bearer("viewer-token-0123456789"))).status == 403);
  const auto allowed = client.ask(request("POST", "/change", bearer("operator-token-0123456789")));
  CHECK(allowed.status == 200);
  CHECK(allowed.body.starts_with("token ops from 127.0.0.1:"));
  CHECK(client.ask(request("POST", "/administer", bearer("operator-token-0123456789"))).status ==
        403);
  for (const std::string wrong : {"Bearer nonsense", "Bearer ", "Basic b3BzOm9wcw==",
                                  "operator-token-0123456789", "Bearer operator-token-012345678"}) {
    INFO(wrong);
    // Even where nobody has to say who they are.
    CHECK(client.ask(request("GET", "/hello", "Authorization: " + wrong + "\r\n")).status == 401);
  }
  CHECK(
      client.ask(request("POST", "/change", "authorization: BEARER operator-token-0123456789\r\n"))
          .status == 200);
  CHECK(bench.refused("bad_token") == 5);
}

TEST_CASE("the peer of the unix socket is known, and is an administrator when it runs as we do") {
  Bench bench;
  bench.start();
  Client client(bench.local);
  const auto who =
      geteuid() == 0 ? std::string("root (uid 0)") : "uid " + std::to_string(geteuid());
  CHECK(client.ask(request("POST", "/administer")).body == who);
  CHECK(client.ask(request("POST", "/change")).body ==
        who + " from unix:pid " + std::to_string(getpid()));
  // A token says more than the socket.
  CHECK(client.ask(request("POST", "/administer", bearer("operator-token-0123456789"))).status ==
        403);
  struct stat info{};
  REQUIRE(::stat(bench.local.substr(5).c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0660);
}

TEST_CASE("a reload changes tokens at once") {
  Bench bench;
  bench.start();
  Client client(bench.tcp);
  CHECK(client.ask(request("POST", "/change", bearer("operator-token-0123456789"))).status == 200);
  bench.auth.tokens.clear();
  bench.auth.anonymous_role = config::Role::kNone;
  bench.http.max_body_bytes = 10;
  bench.server->set(std::make_shared<const Authenticator>(bench.auth), bench.http);
  Client fresh(bench.tcp);
  CHECK(fresh.ask(request("POST", "/change", bearer("operator-token-0123456789"))).status == 401);
  CHECK(fresh.ask(request("GET", "/items/1")).status == 401);
  CHECK(fresh.ask(request("GET", "/hello")).status == 200);
  CHECK(fresh.ask(request("POST", "/echo", "", std::string(11, 'x'))).status == 413);
}

TEST_CASE("a thousand connections at once are served") {
  const DescriptorLimit limit(8192);
  Bench bench;
  bench.start();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 1000; ++i) clients.push_back(std::make_unique<Client>(bench.tcp));
  for (auto& client : clients) client->send(request("GET", "/hello"));
  for (auto& client : clients) REQUIRE(client->read().value().status == 200);
  CHECK(bench.server->connections() == 1000);
  for (auto& client : clients) client->send(request("POST", "/echo", "", "x"));
  std::size_t busy = 0;  // the queue of blocking handlers is bounded
  for (auto& client : clients) {
    const auto status = client->read().value().status;
    REQUIRE((status == 200 || status == 503));
    busy += status == 503 ? 1 : 0;
  }
  CHECK(bench.refused("busy") == static_cast<double>(busy));
  clients.clear();
  until([&] { return bench.server->connections() == 0; });
}

TEST_CASE("connections above the cap are closed and counted; the others go on") {
  Bench bench;
  bench.http.max_connections = 2;
  bench.start();
  auto first = std::make_unique<Client>(bench.tcp);
  Client second(bench.tcp);
  CHECK(first->ask(request("GET", "/hello")).status == 200);
  CHECK(second.ask(request("GET", "/hello")).status == 200);
  Client third(bench.tcp);
  CHECK(third.ends());
  CHECK(bench.refused("too_many_connections") == 1);
  {
    // They do not take the unix socket's, over which administrators come.
    Client local(bench.local);
    CHECK(local.ask(request("GET", "/hello")).status == 200);
    Client another(bench.local);
    CHECK(another.ask(request("GET", "/hello")).status == 200);
    Client more(bench.local);
    CHECK(more.ends());
    CHECK(bench.refused("too_many_connections") == 2);
  }
  CHECK(second.ask(request("GET", "/hello")).status == 200);
  first.reset();
  until([&] { return bench.server->connections() == 1; });
  CHECK(bench.serves());
}

TEST_CASE("accepting goes on after the descriptors had run out") {
  Bench bench;
  bench.start();
  const int waiting = Client::prepare(bench.tcp);
  const int next = ::open("/dev/null", O_RDONLY);
  ::close(next);
  std::unique_ptr<Client> client;
  {
    const DescriptorLimit none(static_cast<rlim_t>(next));
    client = std::make_unique<Client>(bench.tcp, waiting);
    client->send(request("GET", "/hello"));
    until([&] { return metric(bench.self, "nexus_http_accept_errors_total") > 0; });
  }
  CHECK(client->read().value().status == 200);
}

TEST_CASE("a stale unix socket is replaced, a live one and a file are not") {
  Bench bench;
  const auto path = bench.directory.file("s");
  const int stale = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  path.copy(at.sun_path, sizeof at.sun_path - 1);
  REQUIRE(::bind(stale, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  ::close(stale);
  bench.start();
  CHECK(Client(bench.local).ask(request("GET", "/hello")).status == 200);

  const auto make = [&](const std::string& listen) {
    config::HttpSection http;
    http.listen = {listen};
    auto made = Server::make(bench.clock, http, std::make_shared<const Authenticator>(bench.auth),
                             std::make_shared<const Router>(bench.routes()), bench.self);
    return made ? std::string() : made.error().message();
  };
  CHECK(make("unix:" + path) == "another agent listens on " + path);
  CHECK(Client(bench.local).ask(request("GET", "/hello")).status == 200);
  const auto file = bench.directory.file("file");
  ::close(::open(file.c_str(), O_CREAT | O_WRONLY, 0600));
  CHECK(make("unix:" + file) == file + " exists and is no socket");
  CHECK(make("unix:/nowhere/s").starts_with("listen on unix:/nowhere/s: "));
  CHECK(make("unix:/" + std::string(120, 'x')).find("at most 107 bytes") != std::string::npos);
  CHECK(make(bench.tcp.substr(7)).empty());  // it is waited for: the case below
  for (const std::string bad :
       {"nonsense", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:", "example.org:80"}) {
    CHECK(make(bad).find("expected ADDRESS:PORT or unix:/PATH") != std::string::npos);
  }
  CHECK(make("[::1]:0").empty());
  bench.server->stop(0ms);
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("stop ends idle connections at once and running requests with their answer") {
  Bench bench;
  bench.start();
  Client idle(bench.tcp);
  idle.ask(request("GET", "/hello"));
  Client half(bench.local);
  half.send("GET /hel");
  Client busy(bench.tcp);
  busy.send(request("GET", "/wait"));
  bench.until_waiting(1);
  bench.server->stop(60s);
  CHECK(busy.read().value().body == "cancelled");
  CHECK(busy.ends());
  CHECK(idle.ends());
  CHECK(half.ends());
  CHECK(bench.server->connections() == 0);
  bench.server->stop(60s);
}

TEST_CASE("stop without grace leaves nothing behind") {
  Bench bench;
  bench.start();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<Client>(i % 2 == 0 ? bench.tcp : bench.local));
    clients.back()->send(request("GET", i % 3 == 0 ? "/wait" : "/big"));
  }
  bench.until_waiting(2);
  bench.server->stop(0ms);
  for (auto& client : clients) {
    while (client->read()) {
    }
  }
  CHECK(bench.server->connections() == 0);
}

TEST_CASE("a request in pieces has one deadline, and the next request its own") {
  Bench bench;
  bench.http.read_timeout = 60s;
  bench.start();
  Client client(bench.tcp);
  for (int i = 0; i < 3; ++i) {
    client.send("POST /echo HTTP/1.1\r\nHost: local");
    client.send("host\r\nContent-Length: 4\r\n\r\nab");
    const auto reply = client.ask("cd");
    CHECK(reply.status == 200);
    CHECK(reply.body == "abcd");
  }
  client.send("GET /hel");
  bench.server->stop(60s);  // does not wait for the deadline of the half request
  CHECK(client.ends());
}

TEST_CASE("a handler that does not end does not hold the stop up") {
  auto bench = std::make_unique<Bench>();
  bench->start();
  Client stuck(bench->tcp);
  stuck.send(request("GET", "/stuck"));
  bench->until_waiting(1);
  bench->server->stop(0ms);
  CHECK(bench->server->left_behind() == 1);
  CHECK(stuck.ends());
  bench->release();
  bench->until_left();
}

TEST_CASE("a blocking handler holds nobody else up") {
  Bench bench;
  bench.start();
  Client busy(bench.tcp);
  busy.send(request("GET", "/wait"));
  bench.until_waiting(1);
  CHECK(bench.serves());
  CHECK(Client(bench.tcp).ask(request("POST", "/echo", "", "x")).body == "x");
  bench.release();
  CHECK(busy.read().value().body == "released");
  // A client that leaves while its handler runs is no trouble.
  {
    Client gone(bench.tcp);
    gone.send(request("GET", "/wait"));
    bench.until_waiting(2);
  }
  CHECK(bench.serves());
}

TEST_CASE("a handler is told that its client is gone, and no other one is") {
  Bench bench;
  bench.start();
  int left = 0;
  for (const auto& address : {bench.tcp, bench.local}) {
    Client stays(bench.tcp);
    stays.send(request("GET", "/wait"));
    {
      Client gone(address);
      gone.send(request("GET", "/wait"));
      bench.until_waiting(2 * left + 2);
    }
    bench.until_cancelled(++left);
    CHECK(bench.refused("client_gone") == left);
    CHECK(bench.serves());
    bench.release();
    CHECK(stays.read().value().body == "released");
    bench.release(false);
  }
  // Whoever only ends its sending side is taken for gone as well, but has its answer.
  Client half(bench.tcp);
  half.send(request("GET", "/wait"));
  bench.until_waiting(5);
  half.half_close();
  CHECK(half.read().value().body == "cancelled");
  // The next request that is there already is none of this.
  Client eager(bench.tcp);
  eager.send(request("GET", "/wait") + request("GET", "/hello"));
  bench.until_waiting(6);
  bench.release();
  CHECK(eager.read().value().body == "released");
  CHECK(eager.read().value().body == R"({"hello":"world"})");
}

TEST_CASE("a switch and a scrape wait for nobody, an action for no import and no other server") {
  Bench bench;
  bench.start();
  const std::string token = bearer("operator-token-0123456789");
  Client outside(bench.tcp), bulk(bench.tcp), acting(bench.tcp), reading(bench.tcp);
  outside.send(request("POST", "/outside-stuck", token));
  bulk.send(request("POST", "/bulk-stuck", token));
  bench.until_waiting(2);
  CHECK(Client(bench.tcp).ask(request("POST", "/act", token)).body == "acted");
  acting.send(request("POST", "/act-stuck", token));
  bench.until_waiting(3);
  CHECK(Client(bench.tcp).ask(request("GET", "/records", token)).body == "records");
  Client another(bench.tcp);
  for (auto* client : {&reading, &another}) client->send(request("GET", "/stuck"));
  bench.until_waiting(5);
  CHECK(Client(bench.tcp).ask(request("GET", "/scrape")).body == "scraped");
  CHECK(Client(bench.tcp).ask(request("POST", "/switch", token)).body == "switched");
  bench.release();
  bench.until_left();
}

TEST_CASE("a server that never started can be thrown away") {
  Bench bench;
  auto made =
      Server::make(bench.clock, bench.http, std::make_shared<const Authenticator>(bench.auth),
                   std::make_shared<const Router>(bench.routes()), bench.self);
  REQUIRE(made);
  made->reset();
  bench.start();
  CHECK(bench.serves());
}

TEST_CASE("a taken TCP address is waited for, said and counted, while the unix socket serves") {
  Bench first;
  first.start();
  Bench second;
  second.http.listen[0] = first.tcp.substr(7);
  auto made =
      Server::make(second.clock, second.http, std::make_shared<const Authenticator>(second.auth),
                   std::make_shared<const Router>(second.routes()), second.self);
  REQUIRE(made);
  second.server = std::move(*made);
  second.server->start();
  REQUIRE(second.server->waits_for().size() == 1);
  CHECK(second.server->waits_for().front() ==
        "listen on " + second.http.listen[0] + ": Address already in use");
  CHECK(second.server->addresses() == std::vector{second.http.listen[1]});
  CHECK(Client(second.http.listen[1]).ask(request("GET", "/hello")).status == 200);
  CHECK(metric(second.self, "nexus_http_listeners_missing") == 1);
  CHECK(metric(second.self, "nexus_http_listen_errors_total") >= 1);

  first.server->stop(0ms);
  while (!second.server->waits_for().empty()) std::this_thread::yield();
  CHECK(second.server->addresses().front() == first.tcp);
  CHECK(Client(first.tcp).ask(request("GET", "/hello")).status == 200);
  CHECK(metric(second.self, "nexus_http_listeners_missing") == 0);
}
