// What the server refuses, by status, by reason, and with the connection ended.
#include "bench.hpp"

using namespace nexus;
using namespace nexus::serve;
using namespace nexus::serve::test;

namespace {

struct Case {
  std::string what;
  std::string bytes;
  unsigned status;
};

std::string headers(int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += "a: b\r\n";
  return out;
}

std::vector<Case> framing() {
  return {
      {"length, then chunked",
       "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: "
       "chunked\r\n\r\n0\r\n\r\n",
       400},
      {"chunked, then length",
       "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: "
       "3\r\n\r\n0\r\n\r\n",
       400},
      {"two lengths",
       "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: "
       "4\r\n\r\nabcd",
       400},
      {"a negative length", "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
       400},
      {"a length beyond 64 bits",
       "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n",
       400},
      {"gzip as transfer encoding", request("POST", "/echo", "Transfer-Encoding: gzip\r\n"), 400},
      {"chunked alone",
       "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: "
       "chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
       400},
      {"chunked in 1.0",
       "POST /echo HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       400},
      {"GET with a body", request("GET", "/hello", "", "abc"), 400},
      {"HEAD with a body", request("HEAD", "/hello", "", "abc"), 400},
      {"Expect", request("POST", "/echo", "Expect: 100-continue\r\n", "abc"), 417},
      {"Upgrade", request("GET", "/hello", "Connection: Upgrade\r\nUpgrade: websocket\r\n"), 400},
  };
}

std::vector<Case> heads() {
  return {
      {"no Host", "GET /hello HTTP/1.1\r\n\r\n", 400},
      {"two Hosts", request("GET", "/hello", "Host: localhost\r\n"), 400},
      {"65 header fields and more", request("GET", "/hello", headers(100)), 431},
      {"1,500 header fields", request("GET", "/hello", headers(1500)), 431},
      {"a header of 9 KB",
       request("GET", "/hello", "X-Long: " + std::string(9 << 10, 'x') + "\r\n"), 431},
      {"a target of 9 KB", request("GET", "/" + std::string(9 << 10, 'x')), 431},
      {"a blank before the colon", request("GET", "/hello", "X-A : b\r\n"), 400},
      {"a NUL in a value", request("GET", "/hello", std::string("X-A: b\0c\r\n", 10)), 400},
      {"bare line feeds", "GET /hello HTTP/1.1\nHost: localhost\n\n", 400},
      {"HTTP/2", "GET /hello HTTP/2.0\r\nHost: localhost\r\n\r\n", 400},
      {"HTTP/0.9", "GET /hello\r\n\r\n", 400},
      {"the beginning of TLS",
       std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 15), 400},
  };
}

std::vector<Case> targets() {
  std::vector<Case> out;
  for (const std::string target :
       {"/%", "/%4", "/%zz", "/%00", "/hello%0d%0aX:y", "/%7f", "/%ff", "/\xff", "*", "hello",
        "http://localhost/hello", "/hello#x", "/hello?a=%g1", "/hello?%"}) {
    out.push_back({"the target " + target, request("GET", target), 400});
  }
  std::string many = "/hello?";
  for (int i = 0; i < 300; ++i) many += "a=b&";
  out.push_back({"300 parameters", request("GET", many), 400});
  out.push_back({"300 parameters in a form",
                 request("POST", "/echo", "Content-Type: application/x-www-form-urlencoded\r\n",
                         many.substr(7)),
                 400});
  return out;
}

std::vector<Case> methods() {
  std::vector<Case> out;
  for (const std::string method :
       {"BREW", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "PROPFIND"}) {
    out.push_back({"the method " + method, request(method, "/hello"), 501});
  }
  out.push_back({"no method", " /hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 400});
  return out;
}

void check_all(const std::vector<Case>& cases) {
  Bench bench;
  bench.start();
  for (const auto& given : cases) {
    INFO(given.what);
    // Twice: as the first request of a connection, and after a HEAD.
    for (const bool after_head : {false, true}) {
      Client client(bench.tcp);
      if (after_head) CHECK(client.ask(request("HEAD", "/hello"), true).status == 200);
      const auto before = bench.refused("");
      client.send(given.bytes);
      const bool head = given.bytes.starts_with("HEAD");
      const auto reply = client.read(head);
      REQUIRE(reply);
      CHECK(reply->status == given.status);
      if (!head) CHECK(reply->body.starts_with("{\"error\":{\"code\":\""));
      CHECK(reply->header("connection") == "close");
      CHECK(client.ends());  // what followed in the same bytes was not taken for a request
      CHECK(bench.refused("") == before + 1);
    }
  }
  CHECK(bench.serves());
}

}  // namespace

TEST_CASE("framing that two parsers may read in two ways is refused") {
  check_all(framing());
}
TEST_CASE("malformed and excessive heads are refused") {
  check_all(heads());
}
TEST_CASE("bad targets are refused") {
  check_all(targets());
}
TEST_CASE("methods that nobody implements are refused") {
  check_all(methods());
}

TEST_CASE("paths are never interpreted: dots find no route") {
  Bench bench;
  bench.start();
  Client client(bench.tcp);
  for (const std::string target : {"/../etc/passwd", "/hello/../hello", "/./hello", "/%2e%2e/hello",
                                   "//hello", "/hello/", "/Hello", "/items/"}) {
    INFO(target);
    const auto reply = client.ask(request("GET", target));
    CHECK(reply.status == 404);
    CHECK(reply.header("connection") != "close");
  }
  CHECK(client.ask(request("GET", "/%68ello")).status == 200);
  CHECK(client.ask(request("GET", "/items/a%20b+c")).body == "a b+c");
}

TEST_CASE("a body above the limit is refused, whether announced or not all sent") {
  Bench bench;
  bench.http.max_body_bytes = 1000;
  bench.start();
  Client client(bench.tcp);
  CHECK(client.ask(request("POST", "/echo", "", std::string(1000, 'x'))).body.size() == 1000);
  const auto reply =
      client.ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n");
  CHECK(reply.status == 413);
  CHECK(client.ends());
  // A peer that goes on sending still reads the answer, instead of a reset.
  Client stubborn(bench.tcp);
  CHECK(stubborn.ask(request("POST", "/echo", "", std::string(300'000, 'x'))).status == 413);
  CHECK(bench.refused("body_too_large") == 2);
}

TEST_CASE("a long body is for who has credentials: of others it is refused before it is read") {
  Bench bench;
  bench.start();
  const std::string question(16U << 10, 'x');
  const std::string longer(20'000, 'x');
  const std::string viewer = "Authorization: Bearer viewer-token-0123456789\r\n";
  const std::string ops = "Authorization: Bearer operator-token-0123456789\r\n";
  const std::string nobody = "Authorization: Bearer of-nobody-0123456789\r\n";
  CHECK(Client(bench.tcp).ask(request("POST", "/echo", "", question)).body == question);
  for (const auto& who : {viewer, ops}) {
    INFO(who);
    CHECK(Client(bench.tcp).ask(request("POST", "/echo", who, longer)).body == longer);
  }
  for (const auto& who : {nobody, std::string()}) {
    INFO(who);
    CHECK(Client(bench.tcp).ask(request("POST", "/echo", who, longer)).status == 413);
  }
  CHECK(Client(bench.tcp).ask(request("POST", "/echo", nobody, "short")).status == 401);
  CHECK(bench.refused("body_too_large") == 2);
}

TEST_CASE("limits smaller than a read are no trouble") {
  Bench bench;
  bench.http.max_body_bytes = 10;
  bench.http.max_header_bytes = 200;
  bench.start();
  CHECK(Client(bench.tcp).ask(request("POST", "/echo", "", "0123456789")).body == "0123456789");
  CHECK(Client(bench.tcp).ask(request("POST", "/echo", "", std::string(5000, 'x'))).status == 413);
  CHECK(Client(bench.tcp)
            .ask(request("GET", "/hello", "X-A: " + std::string(300, 'x') + "\r\n"))
            .status == 431);
  CHECK(bench.serves());
}

TEST_CASE("a foreign Host is refused, on the unix socket any will do") {
  Bench bench;
  bench.http.allowed_hosts = {"Nexus.Example"};
  bench.start();
  const auto status = [&](const std::string& address, const std::string& host) {
    return Client(address).ask("GET /hello HTTP/1.1\r\nHost: " + host + "\r\n\r\n").status;
  };
  for (const std::string host : {"localhost", "localhost:8060", "LOCALHOST", "127.0.0.1:1",
                                 "[::1]:8060", "10.1.2.3", "a.localhost", "nexus.example:80"}) {
    INFO(host);
    CHECK(status(bench.tcp, host) == 200);
  }
  for (const std::string host : {"evil.example", "evil.example:8060", "localhost.evil.example",
                                 "127.0.0.1.evil.example", "", "[::1", "xnexus.example"}) {
    INFO(host);
    CHECK(status(bench.tcp, host) == 421);
    CHECK(status(bench.local, host) == 200);
  }
  CHECK(bench.refused("foreign_host") == 7);
}

TEST_CASE("a cross-site request changes nothing, and reads") {
  Bench bench;
  bench.start();
  const auto status = [&](const std::string& method, const std::string& path,
                          const std::string& extra) {
    return Client(bench.tcp).ask(request(method, path, extra)).status;
  };
  CHECK(status("POST", "/echo", "Origin: http://evil.example\r\n") == 403);
  CHECK(status("POST", "/echo", "Origin: null\r\n") == 403);
  CHECK(status("POST", "/echo", "Origin: http://localhost.evil\r\n") == 403);
  CHECK(status("POST", "/echo", "Sec-Fetch-Site: cross-site\r\n") == 403);
  CHECK(status("POST", "/echo", "Sec-Fetch-Site: same-site\r\n") == 403);
  CHECK(status("POST", "/echo", "Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n") ==
        200);
  CHECK(status("POST", "/echo", "Sec-Fetch-Site: none\r\n") == 200);
  CHECK(status("GET", "/hello", "Origin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\n") ==
        200);
  CHECK(bench.refused("cross_site") == 5);
}
