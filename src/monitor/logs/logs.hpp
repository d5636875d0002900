// Logs: each [[log]] on a thread of its own, so that files on a dead mount hold up no other log;
// every kEmit its series have a sample. A log that is not wanted any more ends on its own thread;
// one of the same name that takes its place begins after it, where it was. A thread that cannot be
// made is tried again whenever status() is asked.
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
  static constexpr Millis kHangs{15'000};  // a turn that takes longer is said to hang

  Logs(const SourcesContext& context, Outbox& outbox);
  ~Logs();

  void configure(const std::vector<config::LogConfig>& configs);
  void stop();
  [[nodiscard]] std::vector<SourceStatus> status() const;

 private:
  struct Log;
  [[nodiscard]] std::shared_ptr<Log> make(const config::LogConfig& config);
  void start(Log& log);
  [[nodiscard]] SteadyTime turn(Log& log);
  [[nodiscard]] bool begins(Log& log);
  void finish(Log& log);
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
  std::vector<std::shared_ptr<Log>> wanted_;   // guarded by mutex_
  std::vector<std::shared_ptr<Log>> leaving_;  // whose threads have not ended; of configure()
};

}  // namespace nexus::monitor
