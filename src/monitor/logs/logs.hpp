// Logs: all [[log]] on one thread: files and journals are read a slice at a time, one after the
// other, so that none holds another up; every kEmit their series have a sample.
//
// Places and counts are saved together, in one transaction, every kSave and at the stop: after a
// crash the lines since then are read again and counted on from the counts of that moment, so that
// none is lost and none counts twice. Thread safety: all members, any thread; configure() and
// stop() by one at a time.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "monitor/logs/follower.hpp"
#include "monitor/logs/matcher.hpp"
#include "monitor/outbox.hpp"
#include "nexus/drivers/journal.hpp"
#include "nexus/monitor/sources.hpp"

namespace nexus::monitor {

class Logs {
 public:
  static constexpr Millis kPoll{250};
  static constexpr Millis kEmit{5000};
  static constexpr Millis kSave{5000};

  Logs(const SourcesContext& context, Outbox& outbox);
  ~Logs();

  void configure(const std::vector<config::LogConfig>& configs);
  void stop();
  [[nodiscard]] std::vector<SourceStatus> status() const;

 private:
  struct Log;
  [[nodiscard]] std::shared_ptr<Log> make(const config::LogConfig& config);
  [[nodiscard]] SteadyTime turn();
  void load(Log& log);
  void save(Log& log);
  void note_gone(Log& log, const FilePlace& place);
  void begin_file(Log& log, const std::string& path, std::uint64_t offset);
  void find_files(Log& log, SteadyTime now);
  [[nodiscard]] bool read_files(Log& log, SteadyTime now);
  [[nodiscard]] bool read_journal(Log& log);
  void emit(Log& log);
  void end(Log& log);
  void fail_with(Log& log, const Error& error);

  const SourcesContext& context_;
  Outbox& outbox_;
  const knowledge::Counter truncations_;
  const knowledge::Counter errors_;

  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Log>> wanted_;  // guarded by mutex_
  std::vector<std::shared_ptr<Log>> active_;  // the thread's
  SteadyTime next_emit_{};
  SteadyTime next_save_{};
  std::unique_ptr<base::LoopThread> loop_;
};

}  // namespace nexus::monitor
