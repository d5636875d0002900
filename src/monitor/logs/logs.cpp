#include "monitor/logs/logs.hpp"

#include <glob.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <utility>

#include "nexus/base/log.hpp"
#include "nexus/base/loop_thread.hpp"
#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

constexpr std::size_t kMostFiles = 256;        // that one [[log]] follows
constexpr std::size_t kMostEntries = 20'000;   // of a journal in one turn
constexpr std::string_view kNothingYet = "-";  // as a cursor: all that comes is new
constexpr Millis kFindFiles{1000};
constexpr Millis kNever{3'600'000};         // nothing is left to do
constexpr Millis kIdleAfterRename{10'000};  // then nobody writes into a renamed file any more
constexpr Millis kReopen{5000};
constexpr Millis kCopiesAppear{60'000};       // after a truncation, or the start
constexpr Millis kTruncationFollows{10'000};  // upon a copy that is made for it

constexpr std::size_t kMostGone = 64;       // places of files that are gone, to know copies by
constexpr std::size_t kMostFound = 10'000;  // files that a pattern may name

constexpr std::array<std::string_view, 2> kMigrations = {
    "CREATE TABLE logs(name TEXT PRIMARY KEY, cursor TEXT NOT NULL, counts TEXT NOT NULL) "
    "WITHOUT ROWID;"
    "CREATE TABLE log_files(log TEXT NOT NULL, path TEXT NOT NULL, device INTEGER NOT NULL,"
    " inode INTEGER NOT NULL, place INTEGER NOT NULL, head_length INTEGER NOT NULL,"
    " head INTEGER NOT NULL, PRIMARY KEY(log, device, inode)) WITHOUT ROWID",
    "ALTER TABLE log_files ADD COLUMN tail INTEGER NOT NULL DEFAULT 0"};

/// What a rotation made of an older file: no lines that anybody has to read.
bool is_compressed(std::string_view path) {
  constexpr std::array<std::string_view, 7> kEndings = {".gz",  ".bz2", ".xz", ".zst",
                                                        ".lz4", ".zip", ".Z"};
  return std::ranges::any_of(kEndings, [&](std::string_view one) { return path.ends_with(one); });
}

struct FoundFile {
  std::string path;
  struct stat info{};
};

/// Regular files that the patterns name, the newest first.
std::vector<FoundFile> expand(const std::vector<std::string>& patterns) {
  std::vector<FoundFile> out;
  for (const auto& pattern : patterns) {
    glob_t found{};
    if (::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found) == 0) {
      for (std::size_t i = 0; i < found.gl_pathc && out.size() < kMostFound; ++i) {
        FoundFile file{.path = found.gl_pathv[i]};
        if (!is_compressed(file.path) && ::stat(file.path.c_str(), &file.info) == 0 &&
            S_ISREG(file.info.st_mode))
          out.push_back(std::move(file));
      }
    }
    ::globfree(&found);
  }
  std::ranges::stable_sort(out, [](const FoundFile& a, const FoundFile& b) {
    return a.info.st_mtime > b.info.st_mtime;
  });
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
  enum class Leaving { kNo, kForGood, kTillNextStart };
  /// Of a file that was truncated, or was not there any more: what a copy is known by.
  struct Gone {
    FilePlace place;
    SteadyTime until;
  };

  Log(const config::LogConfig& the_config, std::unique_ptr<LogMatcher> the_matcher,
      knowledge::SeriesRegistry& registry, Allowance& allowance)
      : config(the_config),
        matcher(std::move(the_matcher)),
        sink(registry, std::min<std::size_t>(config.max_series * 16UL, 32'000), &allowance) {
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
  std::vector<Gone> gone;
  std::map<std::uint64_t, SteadyTime> waiting;  // by inode: it has what another file has too
  bool any_found = false;                       // files that are named, empty ones too
  std::size_t left_out = 0;                     // files over kMostFiles
  std::unique_ptr<drivers::JournalReader> journal;
  std::string cursor;
  bool known = false;  // it was followed before: what is new begins at its begin
  bool caught_up = false;
  std::uint32_t group = 0;
  std::int64_t stamp = 0;
  SteadyTime next_find{};
  SteadyTime next_open{};
  SteadyTime next_emit{};
  SteadyTime next_save{};
  bool begun = false;
  std::vector<std::shared_ptr<Log>> before;  // of the same name: this one begins when all ended
  std::atomic<Leaving> leaving{Leaving::kNo};
  std::atomic<bool> finished{false};  // it has left, and saved what it knows
  LogCounts saved;
  std::vector<FilePlace> saved_places;
  std::string saved_cursor;
  SourceStatus status;                     // guarded by Logs::mutex_
  std::unique_ptr<base::LoopThread> loop;  // last: its thread uses the rest
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
  auto log =
      std::make_shared<Log>(config, std::move(*matcher), context_.registry, outbox_.series());
  log->group = outbox_.groups().take();
  log->status.kind = "log";
  log->status.name = config.name;
  log->status.instance = config.journal ? "journal" : config.files.front();
  log->status.interval = kEmit;
  return log;
}

void Logs::configure(const std::vector<config::LogConfig>& configs) {
  std::vector<std::shared_ptr<Log>> fresh;
  std::vector<std::shared_ptr<Log>> before;
  {
    const std::lock_guard guard(mutex_);
    for (const auto& config : configs) {
      const auto same =
          std::ranges::find_if(wanted_, [&](const auto& log) { return log->config == config; });
      auto log = same != wanted_.end() ? *same : make(config);
      if (log != nullptr) fresh.push_back(std::move(log));
    }
    before = std::exchange(wanted_, fresh);
  }
  std::erase_if(leaving_, [](const auto& log) { return log->finished.load(); });  // joins
  for (const auto& log : before) {
    if (std::ranges::find(fresh, log) != fresh.end()) continue;
    log->leaving = Log::Leaving::kForGood;
    if (log->loop != nullptr) log->loop->wake();
    leaving_.push_back(log);
  }
  for (const auto& log : fresh) {
    if (log->loop != nullptr) continue;
    for (const auto& old : leaving_) {
      if (old->config.name == log->config.name) log->before.push_back(old);
    }
    start(*log);
  }
}

void Logs::start(Log& log) {
  auto loop = std::make_unique<base::LoopThread>(context_.clock, "log-" + log.config.name,
                                                 [this, &log] { return turn(log); });
  const std::lock_guard guard(mutex_);
  log.loop = std::move(loop);
}

void Logs::stop() {
  std::vector<std::shared_ptr<Log>> wanted;
  {
    const std::lock_guard guard(mutex_);
    wanted = wanted_;
  }
  // Each saves on its own thread, so that one that hangs costs its own place only.
  for (const auto& log : wanted) {
    log->leaving = Log::Leaving::kTillNextStart;
    if (log->loop != nullptr) log->loop->wake();
  }
  for (const auto& log : wanted) leaving_.push_back(log);
  const auto soon = [](const auto& log) { return log->loop == nullptr || !log->loop->busy(); };
  std::ranges::stable_partition(leaving_, soon);
  for (const auto& log : leaving_) {
    if (log->loop == nullptr) continue;
    log->loop->stop();
    finish(*log);  // of one that was stopped before its last turn
  }
  leaving_.clear();
}

std::vector<SourceStatus> Logs::status() const {
  const std::lock_guard guard(mutex_);
  std::vector<SourceStatus> out;
  for (const auto& log : wanted_) {
    SourceStatus& one = out.emplace_back(log->status);
    const Nanos late = log->loop != nullptr ? log->loop->late() : Nanos(0);
    if (late < kHangs) continue;
    one.health = "down";
    one.error = fmt::format("reading {} hangs since {}", one.instance,
                            base::format_duration(std::chrono::floor<std::chrono::seconds>(late)));
  }
  return out;
}

/// Whether the log has begun: after those whose place it takes, where they were. All of them: one
/// that leaves without having begun ends at once, whatever the one before it still reads.
bool Logs::begins(Log& log) {
  if (log.begun) return true;
  std::erase_if(log.before, [](const auto& old) { return old->finished.load(); });
  if (!log.before.empty()) {
    const std::lock_guard guard(mutex_);
    log.status.health = "down";
    log.status.error = "the log of this name that it takes the place of has not ended yet";
    return false;
  }
  load(log);
  log.begun = true;
  return true;
}

/// Once, on the log's own thread or after it.
void Logs::finish(Log& log) {
  if (log.finished) return;
  const bool for_good = log.leaving == Log::Leaving::kForGood;
  if (log.begun) {
    if (!for_good) emit(log);
    save(log);
    if (for_good) end(log);
  } else {
    outbox_.groups().give(log.group);
  }
  log.finished = true;
}

SteadyTime Logs::turn(Log& log) {
  const auto now = context_.clock.steady();
  if (log.leaving != Log::Leaving::kNo) {
    finish(log);
    return now + kNever;
  }
  if (!begins(log)) return now + kPoll;
  const bool behind = log.config.journal ? read_journal(log) : read_files(log, now);
  if (!behind) log.caught_up = true;
  if (now >= log.next_emit) {
    log.next_emit = now + kEmit;
    // Before everything that waited is counted, a counter would stand where it stood long ago.
    if (log.caught_up) emit(log);
  }
  if (now >= log.next_save) {
    log.next_save = now + kSave;
    save(log);
  }
  return behind ? now : now + kPoll;
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
      "SELECT path, device, inode, place, head_length, head, tail FROM log_files WHERE log = ?",
      std::span(&name, 1));
  if (!files) return;
  for (const auto& file : *files) {
    const FilePlace place{file.text(0),
                          loaded(file.integer(1)),
                          loaded(file.integer(2)),
                          loaded(file.integer(3)),
                          loaded(file.integer(4)),
                          loaded(file.integer(5)),
                          loaded(file.integer(6))};
    if (auto follower = Follower::resume(place)) {
      log.files.push_back(std::move(*follower));
    } else {
      note_gone(log, place);
    }
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
      const std::array<knowledge::SqlValue, 8> values = {
          log.config.name,     place.path,           stored(place.device),
          stored(place.inode), stored(place.offset), stored(place.head_length),
          stored(place.head),  stored(place.tail)};
      if (auto done = context_.state->execute(
              "INSERT OR REPLACE INTO log_files VALUES(?, ?, ?, ?, ?, ?, ?, ?)", values);
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

/// A copy may turn up: copytruncate's.
void Logs::note_gone(Log& log, const FilePlace& place) {
  if (log.gone.size() >= kMostGone) log.gone.erase(log.gone.begin());
  log.gone.push_back({place, context_.clock.steady() + kCopiesAppear});
}

/// A file that is not followed yet: from where on. Nothing: later, or not at all.
void Logs::begin_file(Log& log, const std::string& path, std::uint64_t offset) {
  auto opened = Follower::open(path, offset);
  if (!opened) return fail_with(log, opened.error());
  if (offset == 0) {
    // A copy has what was read already, and what came before the original was truncated.
    for (auto one = log.gone.begin(); one != log.gone.end(); ++one) {
      if (!opened->go_on_from(one->place)) continue;
      log.gone.erase(one);
      log.files.push_back(std::move(*opened));
      return;
    }
    // As long as the original has all of it too, the truncation may still come.
    const auto now = context_.clock.steady();
    const auto inode = opened->place().inode;
    if (const auto known = log.waiting.find(inode); known != log.waiting.end()) {
      if (now < known->second) return;
      log.waiting.erase(known);
    } else if (std::ranges::any_of(
                   log.files, [&](const Follower& file) { return opened->is_copy_of(file); })) {
      if (log.waiting.size() >= kMostFound) log.waiting.clear();
      log.waiting.emplace(inode, now + kTruncationFollows);
      return;
    }
  }
  log.files.push_back(std::move(*opened));
}

/// Files that are new or have another name, and files that no name leads to any more.
void Logs::find_files(Log& log, SteadyTime now) {
  if (now < log.next_find) return;
  const bool first = log.next_find == SteadyTime{};
  log.next_find = now + kFindFiles;
  log.left_out = 0;
  log.any_found = false;
  const auto leads_to = [](const std::string& path, const Follower& file) {
    struct stat info{};
    return ::stat(path.c_str(), &info) == 0 && file.is_at(info);
  };
  for (const auto& [path, info] : expand(log.config.files)) {
    log.any_found = true;
    const auto known =
        std::ranges::find_if(log.files, [&](const Follower& file) { return file.is_at(info); });
    if (known != log.files.end()) {
      // Renamed, and still one of those to be followed.
      if (known->path() != path && !leads_to(known->path(), *known)) known->set_path(path);
      continue;
    }
    if (info.st_size == 0) continue;  // it has nothing to read, and may become a copy
    if (log.files.size() >= kMostFiles) {
      ++log.left_out;
      continue;
    }
    const bool at_end = first && !log.known && log.config.from == "end";
    begin_file(log, path, at_end ? static_cast<std::uint64_t>(info.st_size) : 0);
  }
  // Not before: a copy is known by it at the first look after the truncation, however late that is.
  std::erase_if(log.gone, [&](const Log::Gone& one) { return one.until < now; });
  std::erase_if(log.files, [&](Follower& file) {
    if (leads_to(file.path(), file)) {
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
  bool more = false;
  // First what is known, so that a truncation is seen before the copy that was made for it.
  const bool known = log.next_find != SteadyTime{};
  if (!known) find_files(log, now);
  for (auto& file : log.files) {
    const auto read = file.read(log.takers, now);
    if (const auto place = file.take_truncated()) {
      truncations_.add();
      note_gone(log, *place);
    }
    if (!read) {
      fail_with(log, read.error());
      continue;
    }
    more = more || *read;
  }
  if (known) find_files(log, now);
  return more;
}

bool Logs::read_journal(Log& log) {
  const auto now = context_.clock.steady();
  if (log.journal == nullptr) {
    if (now < log.next_open) return false;
    log.next_open = now + kReopen;
    const bool from_begin = log.config.from == "begin" || log.cursor == kNothingYet;
    auto opened = drivers::JournalReader::open(
        log.config.units, log.cursor == kNothingYet ? std::string() : log.cursor,
        from_begin ? drivers::JournalFrom::kBegin : drivers::JournalFrom::kEnd);
    if (!opened) {
      fail_with(log, opened.error());
      return false;
    }
    log.journal = std::move(*opened);
  }
  // One byte more than is looked at, to tell what was cut.
  const auto read =
      log.journal->read(kMostEntries, LogMatcher::kLongestLine + 1, [&](std::string_view message) {
        if (message.size() <= LogMatcher::kLongestLine) return log.takers.line(message);
        log.takers.long_line(message.substr(0, LogMatcher::kLongestLine));
      });
  log.cursor = log.journal->cursor().empty() ? kNothingYet : log.journal->cursor();
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
  outbox_.count_dropped(log.sink.dropped());
  log.stamp = std::max(log.stamp + 1, base::to_unix_millis(context_.clock.wall()));
  if (outbox_.push({log.group, log.stamp, log.sink.ids(), log.sink.values()})) log.sink.accepted();
  const std::lock_guard guard(mutex_);
  log.status.last = context_.clock.wall();
  const bool reads = log.config.journal ? log.journal != nullptr : log.any_found;
  if (reads)
    log.status.error =
        log.left_out == 0
            ? std::string()
            : fmt::format(
                  "{} files are left out: {} are followed, the newest of those that were "
                  "there first",
                  log.left_out, kMostFiles);
  log.status.health = reads ? "up" : "down";
  if (!reads && log.status.error.empty()) log.status.error = "there is no such file yet";
  log.status.samples = log.sink.live().size();
  log.status.series = log.matcher->series();
  log.status.dropped = log.matcher->counts().dropped + log.sink.dropped();
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
