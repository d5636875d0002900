// An HTTP client that can be as rude as a test wants: raw bytes out, replies in. One thread.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace nexus::serve::test {

struct Reply {
  unsigned status = 0;
  std::string head;                            // as it came
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  [[nodiscard]] std::string header(const std::string& name) const {
    const auto it = headers.find(name);
    return it == headers.end() ? std::string() : it->second;
  }
};

/// The fd is closed with it. A reply that does not come within a minute fails the test instead of
/// hanging it.
class Client {
 public:
  /// `address` as Server::addresses() gives it.
  explicit Client(const std::string& address) : Client(address, prepare(address)) {}
  /// With a socket that prepare() made.
  Client(const std::string& address, int fd) : fd_(fd) {
    if (address.starts_with("unix:")) {
      sockaddr_un to{};
      to.sun_family = AF_UNIX;
      address.substr(5).copy(to.sun_path, sizeof to.sun_path - 1);
      REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
    } else {
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port =
          htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
    }
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  [[nodiscard]] static int prepare(const std::string& address) {
    const int fd =
        ::socket(address.starts_with("unix:") ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0);
    const timeval patience{.tv_sec = 60, .tv_usec = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
  }

  /// False when the peer has closed already.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  void half_close() { ::shutdown(fd_, SHUT_WR); }

  /// The next reply; nothing when the connection ended without one. `head`: it has no body,
  /// whatever its length says.
  std::optional<Reply> read(bool head = false) {
    std::size_t end = 0;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
      if (!receive()) return std::nullopt;
    }
    Reply reply = parse(buffer_.substr(0, end + 2));
    buffer_.erase(0, end + 4);
    if (!head && reply.header("transfer-encoding") == "chunked") {
      if (!read_chunks(reply.body)) return std::nullopt;
      return reply;
    }
    const auto length =
        head ? 0 : static_cast<std::size_t>(std::stoul(reply.header("content-length")));
    while (buffer_.size() < length) {
      if (!receive()) return std::nullopt;
    }
    reply.body = buffer_.substr(0, length);
    buffer_.erase(0, length);
    return reply;
  }
  /// Sends and reads.
  Reply ask(std::string_view bytes, bool head = false) {
    send(bytes);
    auto reply = read(head);
    REQUIRE(reply);
    return *reply;
  }
  /// All that still comes until the server ends the connection.
  std::string rest() {
    while (receive()) {
    }
    return std::exchange(buffer_, {});
  }
  /// Whether the server ends the connection, with nothing more said.
  bool ends() {
    while (receive()) {
    }
    return ended_ && buffer_.empty();
  }

 private:
  bool receive() {
    char chunk[16384];
    const auto got = ::recv(fd_, chunk, sizeof chunk, 0);
    if (got > 0) buffer_.append(chunk, static_cast<std::size_t>(got));
    ended_ = got == 0 || (got < 0 && errno == ECONNRESET);
    return got > 0;
  }

  /// False when the connection ended before the last chunk.
  bool read_chunks(std::string& out) {
    while (true) {
      std::size_t line = 0;
      while ((line = buffer_.find("\r\n")) == std::string::npos) {
        if (!receive()) return false;
      }
      const auto size = std::stoul(buffer_.substr(0, line), nullptr, 16);
      while (buffer_.size() < line + 2 + size + 2) {
        if (!receive()) return false;
      }
      REQUIRE(buffer_.substr(line + 2 + size, 2) == "\r\n");
      out += buffer_.substr(line + 2, size);
      buffer_.erase(0, line + 2 + size + 2);
      if (size == 0) return true;
    }
  }

  static Reply parse(std::string_view text) {
    Reply reply;
    reply.head = text;
    REQUIRE(text.starts_with("HTTP/1.1 "));
    reply.status = static_cast<unsigned>(std::stoul(std::string(text.substr(9, 3))));
    text.remove_prefix(text.find("\r\n") + 2);
    while (!text.empty()) {
      const auto line = text.substr(0, text.find("\r\n"));
      std::string name(line.substr(0, line.find(':')));
      std::ranges::transform(name, name.begin(),
                             [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      auto value = line.substr(line.find(':') + 1);
      while (value.starts_with(' ')) value.remove_prefix(1);
      CHECK(reply.headers.emplace(name, value).second);  // nothing is said twice
      text.remove_prefix(line.size() + 2);
    }
    return reply;
  }

  int fd_;
  std::string buffer_;
  bool ended_ = false;
};

/// A request as bytes; `extra` are whole header lines.
inline std::string request(std::string_view method, std::string_view target,
                           std::string_view extra = "", std::string_view body = "") {
  std::string out;
  out.append(method)
      .append(" ")
      .append(target)
      .append(" HTTP/1.1\r\nHost: localhost\r\n")
      .append(extra);
  if (!body.empty() || method == "POST")
    out.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n");
  return out.append("\r\n").append(body);
}

}  // namespace nexus::serve::test
