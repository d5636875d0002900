// A unix socket that passes bytes on to another one, keeps what clients said, and fails where it is
// told to. Thread safety: said(), withhold() and refuse() from any thread.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include "nexus/host/fd.hpp"

namespace nexus::test {

class RecordingProxy {
 public:
  RecordingProxy(const std::string& listen, std::string target) : target_(std::move(target)) {
    listener_ = host::Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = named(listen);
    if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_.get(), 8) != 0)
      throw std::runtime_error("cannot listen at " + listen);
    thread_ = std::thread([this] { serve(); });
  }
  ~RecordingProxy() {
    stop_ = true;
    thread_.join();
  }

  [[nodiscard]] std::string said() const {
    const std::lock_guard guard(mutex_);
    return said_;
  }
  [[nodiscard]] int connections() const { return connections_; }
  /// A request with this text in its first bytes is passed on, but never answered.
  void withhold(std::string text) {
    const std::lock_guard guard(mutex_);
    withheld_ = std::move(text);
  }
  /// One with this text is answered by status 500, and not passed on.
  void refuse(std::string text) {
    const std::lock_guard guard(mutex_);
    refused_ = std::move(text);
  }

 private:
  struct Pair {
    host::Fd client;
    host::Fd server;
    bool mute = false;  // its answers are kept back
  };

  static sockaddr_un named(const std::string& path) {
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    return address;
  }

  void serve() {
    std::vector<Pair> pairs;
    while (!stop_) {
      std::vector<pollfd> all = {{listener_.get(), POLLIN, 0}};
      for (const auto& pair : pairs) {
        all.push_back({pair.client.get(), POLLIN, 0});
        all.push_back({pair.server.get(), POLLIN, 0});
      }
      if (::poll(all.data(), all.size(), 20) <= 0) continue;
      for (std::size_t i = pairs.size(); i-- > 0;) {
        const bool ended = (all[2 * i + 1].revents != 0 && !pass_request(pairs[i])) ||
                           (all[2 * i + 2].revents != 0 && !pass_answer(pairs[i]));
        if (ended) pairs.erase(pairs.begin() + static_cast<std::ptrdiff_t>(i));
      }
      if (all[0].revents == 0) continue;
      ++connections_;
      Pair pair{host::Fd(::accept(listener_.get(), nullptr, nullptr)),
                host::Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))};
      const sockaddr_un address = named(target_);
      if (::connect(pair.server.get(), reinterpret_cast<const sockaddr*>(&address),
                    sizeof address) == 0)
        pairs.push_back(std::move(pair));
    }
  }

  bool pass_request(Pair& pair) {
    const auto bytes = take(pair.client.get());
    if (bytes.empty()) return false;
    bool refused = false;
    {
      const std::lock_guard guard(mutex_);
      said_ += bytes;
      pair.mute = pair.mute || (!withheld_.empty() && bytes.contains(withheld_));
      refused = !refused_.empty() && bytes.contains(refused_);
    }
    if (!refused) return give(pair.server.get(), bytes);
    std::ignore = give(pair.client.get(),
                       "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n"
                       "Connection: close\r\n\r\n{}");
    return false;
  }

  /// What is kept back ends when the client gives up.
  static bool pass_answer(Pair& pair) {
    const auto bytes = take(pair.server.get());
    if (!pair.mute) return !bytes.empty() && give(pair.client.get(), bytes);
    if (bytes.empty()) pair.server = host::Fd();
    return true;
  }

  static std::string take(int from) {
    std::string bytes(65536, '\0');
    const ssize_t got = ::recv(from, bytes.data(), bytes.size(), 0);
    bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return bytes;
  }
  static bool give(int to, std::string_view bytes) {
    return ::send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }

  const std::string target_;
  host::Fd listener_;
  std::atomic<bool> stop_{false};
  std::atomic<int> connections_{0};
  mutable std::mutex mutex_;
  std::string said_;
  std::string withheld_;
  std::string refused_;
  std::thread thread_;
};

}  // namespace nexus::test
