#include "monitor/logs/logs.hpp"

#include <glob.h>

#include <algorithm>
#include <array>

#include "nexus/base/log.hpp"

namespace nexus::monitor {
namespace {

constexpr std::size_t kMostFiles = 256;       // that one [[log]] follows
constexpr std::size_t kMostEntries = 20'000;  // of a journal in one turn
constexpr Millis kFindFiles{1000};
constexpr Millis kIdleAfterRename{10'000};  // then nobody writes into a renamed file any more
constexpr Millis kReopen{5000};

constexpr std::array<std::string_view, 1> kMigrations = {
    "CREATE TABLE logs(name TEXT PRIMARY KEY, cursor TEXT NOT NULL, counts TEXT NOT NULL) "
    "WITHOUT ROWID;"
    "CREATE TABLE log_files(log TEXT NOT NULL, path TEXT NOT NULL, device INTEGER NOT NULL,"
    " inode INTEGER NOT NULL, place INTEGER NOT NULL, head_length INTEGER NOT NULL,"
    " head INTEGER NOT NULL, PRIMARY KEY(log, device, inode)) WITHOUT ROWID"};

std::vector<std::string> expand(const std::string& pattern) {
  std::vector<std::string> out;
  glob_t found{};
  if (::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found) == 0) {
    for (std::size_t i = 0; i < found.gl_pathc && out.size() < kMostFiles; ++i)
      out.emplace_back(found.gl_pathv[i]);
  }
  ::globfree(&found);
  return out;
}

std::int64_t stored(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}
std::uint64_t loaded(std::int64_t value) {
  return static_cast<std::uint64_t>(value);
}

}  // namespace

struct Logs::Log {
  Log(const config::LogConfig& the_config, std::unique_ptr<LogMatcher> the_matcher,
      knowledge::SeriesRegistry& registry)
      : config(the_config),
        matcher(std::move(the_matcher)),
        sink(registry, std::min<std::size_t>(config.max_series * 16UL, 32'000)) {
    takers.line = [this](std::string_view line) { matcher->take(line); };
    takers.long_line = [this](std::string_view line) {
      matcher->count_long();
      matcher->take(line);
    };
  }

  const config::LogConfig config;
  const std::unique_ptr<LogMatcher> matcher;
  RunSink sink;
  Follower::Takers takers;
  std::vector<Follower> files;
  std::unique_ptr<drivers::JournalReader> journal;
  std::string cursor;
  bool known = false;  // it was followed before: what is new begins at its begin
  bool caught_up = false;
  std::uint32_t group = 0;
  std::int64_t stamp = 0;
  SteadyTime next_find{};
  SteadyTime next_open{};
  LogCounts saved;
  std::vector<FilePlace> saved_places;
  std::string saved_cursor;
  SourceStatus status;  // guarded by Logs::mutex_
};

Logs::Logs(const SourcesContext& context, Outbox& outbox)
    : context_(context),
      outbox_(outbox),
      truncations_(context.self.counter("nexus_log_truncations_total",
                                        "Followed files that were truncated in place.")),
      errors_(context.self.counter("nexus_log_errors_total",
                                   "Files and journals that could not be read.")) {
  if (context.state == nullptr) return;
  if (auto made = context.state->migrate("logs", kMigrations); !made)
    log::error("monitor", "places of logs are not kept: {}", made.error().message());
}

Logs::~Logs() {
  stop();
}

std::shared_ptr<Logs::Log> Logs::make(const config::LogConfig& config) {
  auto matcher = LogMatcher::compile(config);
  if (!matcher) {
    log::error("monitor", "log {}: {}", config.name, matcher.error().message());
    return nullptr;
  }
  auto log = std::make_shared<Log>(config, std::move(*matcher), context_.registry);
  log->group = outbox_.groups().take();
  log->status.kind = "log";
  log->status.name = config.name;
  log->status.instance = config.journal ? "journal" : config.files.front();
  log->status.interval = kEmit;
  return log;
}

void Logs::configure(const std::vector<config::LogConfig>& configs) {
  std::vector<std::shared_ptr<Log>> fresh;
  {
    const std::lock_guard guard(mutex_);
    for (const auto& config : configs) {
      const auto same =
          std::ranges::find_if(wanted_, [&](const auto& log) { return log->config == config; });
      auto log = same != wanted_.end() ? *same : make(config);
      if (log != nullptr) fresh.push_back(std::move(log));
    }
    wanted_ = fresh;
  }
  if (loop_ != nullptr) {
    loop_->wake();
  } else if (!fresh.empty()) {
    loop_ = std::make_unique<base::LoopThread>(context_.clock, "logs", [this] { return turn(); });
  }
}

void Logs::stop() {
  if (loop_ == nullptr) return;
  loop_->stop();
  loop_.reset();
  for (const auto& log : active_) {
    emit(*log);
    save(*log);
  }
  active_.clear();
}

std::vector<SourceStatus> Logs::status() const {
  const std::lock_guard guard(mutex_);
  std::vector<SourceStatus> out;
  for (const auto& log : wanted_) out.push_back(log->status);
  return out;
}

SteadyTime Logs::turn() {
  const auto now = context_.clock.steady();
  std::vector<std::shared_ptr<Log>> wanted;
  {
    const std::lock_guard guard(mutex_);
    wanted = wanted_;
  }
  if (wanted != active_) {
    for (const auto& log : active_) {
      if (std::ranges::find(wanted, log) != wanted.end()) continue;
      save(*log);
      end(*log);
    }
    for (const auto& log : wanted) {
      if (std::ranges::find(active_, log) == active_.end()) load(*log);
    }
    active_ = wanted;
  }
  bool more = false;
  for (const auto& log : active_) {
    const bool behind = log->config.journal ? read_journal(*log) : read_files(*log, now);
    if (!behind) log->caught_up = true;
    more = more || behind;
  }
  const bool emits = now >= next_emit_;
  const bool saves = now >= next_save_;
  if (emits) next_emit_ = now + kEmit;
  if (saves) next_save_ = now + kSave;
  for (const auto& log : active_) {
    // Before everything that waited is counted, a counter would stand where it stood long ago.
    if (emits && log->caught_up) emit(*log);
    if (saves) save(*log);
  }
  return more ? now : now + kPoll;
}

void Logs::load(Log& log) {
  if (context_.state == nullptr) return;
  const knowledge::SqlValue name = log.config.name;
  const auto row =
      context_.state->query("SELECT cursor, counts FROM logs WHERE name = ?", std::span(&name, 1));
  if (!row || row->empty()) return;
  log.known = true;
  log.cursor = log.saved_cursor = row->front().text(0);
  log.matcher->restore(row->front().text(1));
  log.saved = log.matcher->counts();
  const auto files = context_.state->query(
      "SELECT path, device, inode, place, head_length, head FROM log_files WHERE log = ?",
      std::span(&name, 1));
  if (!files) return;
  for (const auto& file : *files) {
    const FilePlace place{file.text(0),
                          loaded(file.integer(1)),
                          loaded(file.integer(2)),
                          loaded(file.integer(3)),
                          loaded(file.integer(4)),
                          loaded(file.integer(5))};
    if (auto follower = Follower::resume(place)) log.files.push_back(std::move(*follower));
  }
}

void Logs::save(Log& log) {
  if (context_.state == nullptr) return;
  std::vector<FilePlace> places;
  for (const auto& file : log.files) places.push_back(file.place());
  if (log.known && log.saved == log.matcher->counts() && places == log.saved_places &&
      log.cursor == log.saved_cursor)
    return;
  const auto saved = context_.state->transaction([&]() -> Status {
    const std::array<knowledge::SqlValue, 3> head = {log.config.name, log.cursor,
                                                     log.matcher->save()};
    if (auto done = context_.state->execute("INSERT OR REPLACE INTO logs VALUES(?, ?, ?)", head);
        !done)
      return done;
    if (auto done = context_.state->execute("DELETE FROM log_files WHERE log = ?",
                                            std::span(head).first(1));
        !done)
      return done;
    for (const auto& place : places) {
      const std::array<knowledge::SqlValue, 7> values = {
          log.config.name,     place.path,           stored(place.device),
          stored(place.inode), stored(place.offset), stored(place.head_length),
          stored(place.head)};
      if (auto done = context_.state->execute(
              "INSERT OR REPLACE INTO log_files VALUES(?, ?, ?, ?, ?, ?, ?)", values);
          !done)
        return done;
    }
    return {};
  });
  if (!saved) return fail_with(log, saved.error());
  log.known = true;
  log.saved = log.matcher->counts();
  log.saved_places = std::move(places);
  log.saved_cursor = log.cursor;
}

/// Files that are new, and files whose name leads elsewhere by now.
void Logs::find_files(Log& log, SteadyTime now) {
  if (now < log.next_find) return;
  const bool first = log.next_find == SteadyTime{};
  log.next_find = now + kFindFiles;
  for (const auto& pattern : log.config.files) {
    for (const auto& path : expand(pattern)) {
      struct stat info{};
      if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
      const bool there =
          std::ranges::any_of(log.files, [&](const Follower& file) { return file.is_at(info); });
      if (there || log.files.size() >= kMostFiles) continue;
      const bool at_end = first && !log.known && log.config.from == "end";
      auto opened = Follower::open(path, at_end ? static_cast<std::uint64_t>(info.st_size) : 0);
      if (opened) {
        log.files.push_back(std::move(*opened));
      } else {
        fail_with(log, opened.error());
      }
    }
  }
  std::erase_if(log.files, [&](Follower& file) {
    struct stat info{};
    const bool at_its_path = ::stat(file.path().c_str(), &info) == 0 && file.is_at(info);
    if (at_its_path) {
      file.away_since.reset();
      return false;
    }
    // Whoever writes into it goes over to the new one when it is told to, not at once.
    if (!file.away_since) file.away_since = now;
    if (now - std::max(file.last_growth(), *file.away_since) < kIdleAfterRename) return false;
    if (auto rest = file.read(log.takers, now); rest && *rest) return false;
    file.finish(log.takers);
    return true;
  });
}

bool Logs::read_files(Log& log, SteadyTime now) {
  find_files(log, now);
  bool more = false;
  for (auto& file : log.files) {
    const auto before = file.truncations();
    const auto read = file.read(log.takers, now);
    if (file.truncations() != before) truncations_.add();
    if (!read) {
      fail_with(log, read.error());
      continue;
    }
    more = more || *read;
  }
  return more;
}

bool Logs::read_journal(Log& log) {
  const auto now = context_.clock.steady();
  if (log.journal == nullptr) {
    if (now < log.next_open) return false;
    log.next_open = now + kReopen;
    auto opened = drivers::JournalReader::open(
        log.config.units, log.cursor,
        log.config.from == "end" ? drivers::JournalFrom::kEnd : drivers::JournalFrom::kBegin);
    if (!opened) {
      fail_with(log, opened.error());
      return false;
    }
    log.journal = std::move(*opened);
  }
  const auto read = log.journal->read(kMostEntries, LogMatcher::kLongestLine, log.takers.line);
  log.cursor = log.journal->cursor();
  if (!read) {
    fail_with(log, read.error());
    log.journal.reset();
    return false;
  }
  return *read >= kMostEntries;
}

void Logs::emit(Log& log) {
  log.sink.begin();
  log.matcher->add_to(log.sink, context_.registry);
  log.sink.finish();
  log.stamp = std::max(log.stamp + 1, base::to_unix_millis(context_.clock.wall()));
  if (outbox_.push({log.group, log.stamp, log.sink.ids(), log.sink.values()})) log.sink.accepted();
  const std::lock_guard guard(mutex_);
  log.status.last = context_.clock.wall();
  const bool reads = log.config.journal ? log.journal != nullptr : !log.files.empty();
  if (reads) log.status.error.clear();
  log.status.health = reads ? "up" : "down";
  if (!reads && log.status.error.empty()) log.status.error = "there is no such file yet";
  log.status.samples = log.sink.live().size();
  log.status.series = log.matcher->series();
  log.status.dropped = log.matcher->counts().dropped;
}

void Logs::end(Log& log) {
  log.sink.begin();
  log.sink.finish();
  const auto now = std::max(log.stamp + 1, base::to_unix_millis(context_.clock.wall()));
  outbox_.push({log.group, now, log.sink.ids(), log.sink.values()});
  outbox_.groups().give(log.group);
}

void Logs::fail_with(Log& log, const Error& error) {
  errors_.add();
  const std::lock_guard guard(mutex_);
  if (log.status.error != error.message())
    log::warning("monitor", "log {}: {}", log.config.name, error.message());
  log.status.error = error.message();
}

}  // namespace nexus::monitor
