#include "nexus/analyze/change_watch.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "analyze/dpkg_log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

namespace nexus::analyze {
namespace {

constexpr std::array<std::string_view, 1> kMigrations = {
    "CREATE TABLE change_marks (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"};
constexpr std::int64_t kFresh = 120'000;        // milliseconds: a newer start time, or none
constexpr std::int64_t kForgotten = 3'600'000;  // a unit that is not told any more
constexpr double kPaceAllowance = 60;  // seconds: what a timer's accuracy makes of equal distances
constexpr std::array<std::string_view, 3> kRpm = {
    "/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/Packages"};

Millis mtime_of(const struct stat& file) {
  return Millis(static_cast<std::int64_t>(file.st_mtim.tv_sec) * 1000 +
                file.st_mtim.tv_nsec / 1'000'000);
}

}  // namespace

struct ChangeWatch::Impl {
  Impl(Clock& c, const knowledge::Queryable& q, Book& b, knowledge::StateDb& d, host::Roots r)
      : clock(c), data(q), book(b), db(d), roots(std::move(r)) {}

  void note(WallTime time, std::string_view kind, std::string subject, std::string text) {
    book.note({time, std::string(kind), std::move(subject), std::move(text)});
  }
  void look_at_clock();
  void look_at_boot();
  void look_at_dpkg();
  void look_at_rpm();
  void look_at_units();
  void mark(const std::string& name, std::string value) {
    auto& known = marks[name];
    if (known == value) return;
    known = std::move(value);
    marks_changed = true;
  }
  [[nodiscard]] Status save_marks();

  Clock& clock;
  const knowledge::Queryable& data;
  Book& book;
  knowledge::StateDb& db;
  const host::Roots roots;

  SteadyTime next{};
  std::optional<Nanos> offset;  // of the wall clock from the steady one
  std::map<std::string, std::string> marks;
  bool marks_changed = false;
  struct Started {
    double at = 0;          // seconds since the epoch
    double apart = 0;       // from the start before; 0: not known
    std::int64_t seen = 0;  // milliseconds: when it was last told
  };
  std::map<std::string, Started, std::less<>> started;  // by unit
  bool units_seen = false;

  std::mutex mutex;
  struct Known {
    std::string instance;
    bool reloading = false;
    SteadyTime heard{};  // of it, last
  };
  void make_room();
  std::map<std::string, Known, std::less<>> services;  // guarded by mutex
};

void ChangeWatch::Impl::look_at_clock() {
  const SteadyTime before = clock.steady();
  const WallTime wall = clock.wall();
  const SteadyTime after = clock.steady();
  if (after - before > kClockStep / 4) return;  // stopped in between: they do not belong together
  const Nanos now = wall.time_since_epoch() - before.time_since_epoch();
  const Nanos moved = offset ? now - *offset : Nanos(0);
  offset = now;
  if (std::chrono::abs(moved) <= kClockStep) return;
  note(wall, "clock", "host",
       fmt::format("the clock moved by {:+.1f} s: it was set, or the machine slept",
                   std::chrono::duration<double>(moved).count()));
}

void ChangeWatch::Impl::look_at_boot() {
  const auto id = host::read_file(roots.proc("sys/kernel/random/boot_id"));
  if (!id) return;
  const std::string boot(base::trim(*id));
  const auto known = marks.find("boot");
  if (known != marks.end() && known->second != boot) {
    WallTime at = clock.wall();
    if (const auto stat = host::read_file(roots.proc("stat"))) {
      const std::size_t place = stat->find("\nbtime ");
      if (place != std::string::npos) {
        const std::string_view rest = std::string_view(*stat).substr(place + 7);
        if (const auto seconds = base::parse_int(rest.substr(0, rest.find('\n'))))
          at = base::from_unix_millis(*seconds * 1000);
      }
    }
    note(at, "boot", "host", "the host was started");
  }
  mark("boot", boot);
}

void ChangeWatch::Impl::look_at_dpkg() {
  const auto known = marks.find("dpkg");
  DpkgNews news = dpkg_news(roots.root("/var/log/dpkg.log"),
                            known == marks.end() ? std::string_view() : known->second);
  for (PackageRun& run : news.runs) note(run.time, "packages", "host", std::move(run.text));
  if (!news.mark.empty()) mark("dpkg", std::move(news.mark));
}

void ChangeWatch::Impl::look_at_rpm() {
  for (const auto path : kRpm) {
    struct stat now{};
    if (::stat(roots.root(path).c_str(), &now) != 0) continue;
    const std::string time = std::to_string(mtime_of(now).count());
    const auto known = marks.find("rpm");
    if (known != marks.end() && known->second != time)
      note(WallTime(mtime_of(now)), "packages", "host", "packages were changed by RPM");
    mark("rpm", time);
    return;
  }
}

/// Start times of all units, where they are collected.
void ChangeWatch::Impl::look_at_units() {
  auto wanted =
      knowledge::Matcher::make(std::string(knowledge::kMetricName), knowledge::MatchOp::kEqual,
                               "node_systemd_unit_start_time_seconds");
  auto here = knowledge::Matcher::make("instance", knowledge::MatchOp::kEqual, "");
  if (!wanted || !here) return;
  const std::array<knowledge::Matcher, 2> matchers = {std::move(*wanted), std::move(*here)};
  const auto pinned = data.pin();
  const std::int64_t now = base::to_unix_millis(clock.wall());
  std::vector<Change> seen;
  bool any = false;
  for (const auto id : data.select(matchers, now - kFresh, now)) {
    const auto sample = data.last(id, now - kFresh, now);
    if (!sample || !std::isfinite(sample->value)) continue;
    any = true;
    const std::string_view unit = data.labels(id).get("name");
    const auto known = started.find(unit);
    if (known == started.end() && started.size() >= kMostUnits) continue;
    Started last = known == started.end() ? Started{} : known->second;
    const double before = std::exchange(last.at, sample->value);
    const bool again = before > 0 && sample->value > 0 && sample->value != before;
    const double apart = again ? sample->value - before : last.apart;
    // The third start at equal distances is a timer's: nobody did anything.
    const bool paced = again && last.apart > 0 && std::abs(apart - last.apart) <= kPaceAllowance;
    last.apart = apart;
    last.seen = now;
    started.insert_or_assign(std::string(unit), last);
    // At the first look, and when it goes down, there is nothing to tell.
    if (!units_seen || !(sample->value > 0) || sample->value == before || paced) continue;
    seen.push_back({base::from_unix_millis(std::llround(sample->value * 1000)), "unit",
                    std::string(unit),
                    fmt::format("{} was {}", unit, before > 0 ? "started again" : "started")});
  }
  units_seen = units_seen || any;
  // Names that are used once (a connection's own service) make room for those to come.
  std::erase_if(started, [now](const auto& unit) { return now - unit.second.seen > kForgotten; });
  for (std::size_t i = 0; i < std::min(seen.size(), kMostAtOnce); ++i) book.note(seen[i]);
  if (seen.size() > kMostAtOnce)
    note(clock.wall(), "unit", "systemd",
         fmt::format("{} more units were started", seen.size() - kMostAtOnce));
}

/// The service that was not heard of for longest is forgotten: one that is not watched any more.
void ChangeWatch::Impl::make_room() {
  services.erase(std::ranges::min_element(
      services, {}, [](const auto& service) { return service.second.heard; }));
}

Status ChangeWatch::Impl::save_marks() {
  if (!std::exchange(marks_changed, false)) return {};
  Status done = db.transaction([&]() -> Status {
    for (const auto& [name, value] : marks) {
      const std::array<knowledge::SqlValue, 2> values = {name, value};
      if (auto ok = db.execute("INSERT OR REPLACE INTO change_marks VALUES (?,?)", values); !ok)
        return ok;
    }
    return {};
  });
  marks_changed = !done;
  return done;
}

ChangeWatch::ChangeWatch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChangeWatch::~ChangeWatch() = default;

Result<std::unique_ptr<ChangeWatch>> ChangeWatch::open(Clock& clock,
                                                       const knowledge::Queryable& data, Book& book,
                                                       knowledge::StateDb& db, host::Roots roots) {
  if (auto made = db.migrate("change_marks", kMigrations); !made)
    return propagate(std::move(made), "changes");
  auto rows = db.query("SELECT name, value FROM change_marks");
  if (!rows) return propagate(std::move(rows), "changes");
  auto impl = std::make_unique<Impl>(clock, data, book, db, std::move(roots));
  for (const auto& row : *rows) impl->marks.emplace(row.text(0), row.text(1));
  return std::unique_ptr<ChangeWatch>(new ChangeWatch(std::move(impl)));
}

void ChangeWatch::on_event(const knowledge::ServiceEvent& event) {
  std::string what;
  {
    const std::lock_guard guard(impl_->mutex);
    const auto known = impl_->services.find(event.service);
    const bool reloading = event.state == "reloading";
    if (known == impl_->services.end()) {
      if (impl_->services.size() >= kMostUnits) impl_->make_room();
      impl_->services.emplace(event.service,
                              Impl::Known{event.instance, reloading, impl_->clock.steady()});
      return;
    }
    known->second.heard = impl_->clock.steady();
    if (reloading && !known->second.reloading) what = "was reloaded";
    known->second.reloading = reloading;
    if (event.state == "active" && !event.instance.empty() &&
        known->second.instance != event.instance) {
      what = "was started again";
      known->second.instance = event.instance;
    }
  }
  if (what.empty()) return;
  impl_->note(event.time == WallTime{} ? impl_->clock.wall() : event.time, "unit", event.service,
              fmt::format("{} {}", event.service, what));
}

Status ChangeWatch::tick() {
  if (impl_->clock.steady() < impl_->next) return {};
  impl_->next = impl_->clock.steady() + kEvery;
  impl_->look_at_clock();
  impl_->look_at_boot();
  impl_->look_at_dpkg();
  impl_->look_at_rpm();
  impl_->look_at_units();
  return impl_->save_marks();
}

}  // namespace nexus::analyze
