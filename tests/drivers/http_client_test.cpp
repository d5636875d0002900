// One HTTP request, its answer and the wait for it, against a listener that says what it is told.
#include "nexus/drivers/http_client.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <thread>

#include "nexus/drivers/fetcher.hpp"
#include "nexus/host/fd.hpp"
#include "support/server.hpp"

using namespace nexus;
using namespace nexus::drivers;

namespace {

/// Accepts one connection, reads until the end of the head, writes `answer` and closes.
class OneAnswer {
 public:
  explicit OneAnswer(std::string answer)
      : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), answer_(std::move(answer)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(listener_.get(), 1) == 0);
    REQUIRE(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~OneAnswer() { thread_.join(); }
  OneAnswer(const OneAnswer&) = delete;
  OneAnswer& operator=(const OneAnswer&) = delete;
  [[nodiscard]] std::string url() const { return fmt::format("http://127.0.0.1:{}/", port_); }

 private:
  void serve() const {
    const host::Fd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    std::string said;
    std::array<char, 1024> bytes{};
    while (!said.contains("\r\n\r\n")) {
      const ssize_t got = ::recv(peer.get(), bytes.data(), bytes.size(), 0);
      if (got <= 0) return;
      said.append(bytes.data(), static_cast<std::size_t>(got));
    }
    static_cast<void>(::send(peer.get(), answer_.data(), answer_.size(), MSG_NOSIGNAL));
  }

  host::Fd listener_;
  std::string answer_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace

TEST_CASE("http client: headers are those of the answer, not of what came before it") {
  const OneAnswer server(
      "HTTP/1.1 103 Early Hints\r\nRetry-After: 3600\r\nLink: </style.css>\r\n\r\n"
      "HTTP/1.1 429 Too Many Requests\r\nX-Kind: Last\r\nContent-Length: 2\r\n\r\nno");
  HttpRequest request;
  request.url = server.url();
  request.timeout = Millis(60'000);
  const auto answer = http_request(request);
  INFO((answer ? "" : answer.error().message()));
  REQUIRE(answer);
  CHECK(answer->status == 429);
  CHECK(answer->body == "no");
  const std::vector<std::pair<std::string, std::string>> expected = {{"x-kind", "Last"},
                                                                     {"content-length", "2"}};
  CHECK(answer->headers == expected);
}

TEST_CASE("fetcher: whoever waits for an answer goes on when it is there") {
  const OneAnswer server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  Fetcher fetcher;
  std::optional<FetchResult> result;
  FetchRequest request;
  request.url = server.url();
  request.timeout = Millis(60'000);
  fetcher.start(std::move(request),
                {.on_done = [&](FetchResult&& done) { result = std::move(done); }});
  std::atomic<bool> ended = false;
  std::thread waits([&] {
    while (!result) fetcher.run(Millis(3'600'000));
    ended = true;
  });
  CHECK(test::eventually([&] { return ended.load(); }));
  fetcher.wake();
  waits.join();
  CHECK(result->http_status == 200);
}
