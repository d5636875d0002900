// The history below a data directory, opened by a command while no agent runs on it.
//
// It is locked for as long as it is open, as the agent locks it. Nothing ages out, and nothing is
// written but what import() brings. Thread safety: one thread.
#pragma once

#include <boost/json/value.hpp>
#include <memory>
#include <string>

#include "agent/directory_lock.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/knowledge/history.hpp"

namespace nexus::agent {

struct StoppedFlags {
  std::string data_dir = {};  // --data-dir; empty: the running agent is asked
  std::string key_file = {};  // as history.key_file
};

class StoppedHistory {
 public:
  enum class Access { kRead, kWrite };
  /// kNotFound where there is no history to read, kConflict when an agent runs.
  [[nodiscard]] static Result<std::unique_ptr<StoppedHistory>> open(const StoppedFlags& flags,
                                                                    Access access);

  [[nodiscard]] knowledge::SeriesRegistry& registry() noexcept { return registry_; }
  [[nodiscard]] knowledge::History& history() noexcept { return history_; }
  /// The time of the newest sample; what "now" is for questions to the past.
  [[nodiscard]] std::int64_t newest() const;

 private:
  explicit StoppedHistory(DirectoryLock lock) : lock_(std::move(lock)) {}

  DirectoryLock lock_;
  base::SystemClock clock_;
  knowledge::SeriesRegistry registry_{1'000'000};
  knowledge::History history_{registry_, {}};
};

/// A query over a stopped agent's history, answered as the HTTP API does.
struct StoppedQuery {
  std::string expression;
  std::string time;   // the newest sample's when empty
  std::string start;  // with the two below: a range
  std::string end;
  std::string step;
};
[[nodiscard]] Result<boost::json::value> ask_stopped(StoppedHistory& stopped,
                                                     const StoppedQuery& query);

/// Imports a file; the exit code.
int import_to_stopped(const StoppedFlags& flags, const std::string& path);

}  // namespace nexus::agent
