// Statsd: the sockets of [statsd] and the thread that reads them.
//
// A flood is bounded: at most kMostLines a second are read, and a tenth of that of messages never
// seen before; the kernel drops what its buffer cannot hold, and both are counted. Thread safety:
// all members, any thread; configure() and stop() by one at a time.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "monitor/outbox.hpp"
#include "monitor/statsd/table.hpp"
#include "nexus/host/fd.hpp"
#include "nexus/monitor/sources.hpp"

namespace nexus::monitor {

class Statsd {
 public:
  static constexpr std::int64_t kMostLines = 500'000;

  Statsd(const SourcesContext& context, Outbox& outbox);
  ~Statsd();

  [[nodiscard]] Status configure(const config::StatsdSection& section);
  void stop();
  [[nodiscard]] std::vector<SourceStatus> status() const;

 private:
  struct Socket {
    host::Fd fd;
    std::string path;        // of a unix socket, removed at the end
    std::uint32_t lost = 0;  // by the kernel, so far
  };
  [[nodiscard]] static Result<Socket> listen(const std::string& address);
  void run();
  void read(Socket& socket, SteadyTime now);
  void flush(SteadyTime now);
  void end();

  const SourcesContext& context_;
  Outbox& outbox_;
  const knowledge::Counter datagrams_;
  const knowledge::Counter messages_;
  const knowledge::Counter invalid_;
  const knowledge::Counter unsupported_;
  const knowledge::Counter conflicts_;
  const knowledge::Counter dropped_;
  const knowledge::Counter lost_;
  const knowledge::Counter throttled_;

  config::StatsdSection section_;  // of the running thread
  std::vector<Socket> sockets_;
  std::unique_ptr<StatsdTable> table_;
  std::unique_ptr<RunSink> sink_;
  std::uint32_t group_ = 0;
  std::int64_t stamp_ = 0;
  StatsdCounts reported_;
  std::int64_t allowance_ = 0;  // lines that may be read before `window_` ends; below 0: owed
  SteadyTime window_{};
  std::vector<char> buffer_;
  std::atomic<bool> stopping_{false};
  host::Fd wake_;  // an eventfd
  std::thread thread_;

  mutable std::mutex mutex_;
  std::optional<SourceStatus> status_;  // guarded by mutex_
};

}  // namespace nexus::monitor
