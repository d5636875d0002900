// A unix socket that passes bytes on to another one, and keeps what clients said.
// Thread safety: said() from any thread.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
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

 private:
  struct Pair {
    host::Fd client;
    host::Fd server;
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
        const bool ended = (all[2 * i + 1].revents != 0 &&
                            !pass(pairs[i].client.get(), pairs[i].server.get(), true)) ||
                           (all[2 * i + 2].revents != 0 &&
                            !pass(pairs[i].server.get(), pairs[i].client.get(), false));
        if (ended) pairs.erase(pairs.begin() + static_cast<std::ptrdiff_t>(i));
      }
      if (all[0].revents == 0) continue;
      Pair pair{host::Fd(::accept(listener_.get(), nullptr, nullptr)),
                host::Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))};
      const sockaddr_un address = named(target_);
      if (::connect(pair.server.get(), reinterpret_cast<const sockaddr*>(&address),
                    sizeof address) == 0)
        pairs.push_back(std::move(pair));
    }
  }

  bool pass(int from, int to, bool from_client) {
    std::array<char, 65536> bytes;
    const ssize_t got = ::recv(from, bytes.data(), bytes.size(), 0);
    if (got <= 0) return false;
    if (from_client) {
      const std::lock_guard guard(mutex_);
      said_.append(bytes.data(), static_cast<std::size_t>(got));
    }
    return ::send(to, bytes.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL) == got;
  }

  const std::string target_;
  host::Fd listener_;
  std::atomic<bool> stop_{false};
  mutable std::mutex mutex_;
  std::string said_;
  std::thread thread_;
};

}  // namespace nexus::test
