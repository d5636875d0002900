#include "nexus/analyze/services.hpp"

#include <fmt/format.h>

#include <array>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <utility>

namespace nexus::analyze {
namespace {

using knowledge::ServiceEvent;

constexpr std::array<std::string_view, 1> kMigrations = {
    "CREATE TABLE services_stopped (service TEXT PRIMARY KEY, instance TEXT NOT NULL) WITHOUT "
    "ROWID"};
constexpr std::string_view kSource = "service:";
constexpr Millis kUnstableFor{5 * 60'000};  // one restart by itself is told for so long

// A service that its manager starts again passes through `failed` for a moment on its way to
// auto-restart. Only when it stays there has the manager given up, and the failure is ours.
constexpr Millis kManagerGivesUpAfter{2000};

enum class Verdict { kFailed, kUnstable, kActive, kStopped, kUndecided };

/// "failed/exit-code": sub-state and result.
struct Detail {
  std::string_view sub_state;
  std::string_view result;
};

Detail parse(std::string_view detail) {
  const std::size_t slash = detail.find('/');
  if (slash == std::string_view::npos) return {detail, {}};
  return {detail.substr(0, slash), detail.substr(slash + 1)};
}

Verdict judge(const ServiceEvent& event) {
  const Detail detail = parse(event.detail);
  const bool good = detail.result.empty() || detail.result == "success";
  if (event.state == "failed") return Verdict::kFailed;
  if (event.state == "inactive") return good ? Verdict::kStopped : Verdict::kFailed;
  if (event.state == "deactivating") return good ? Verdict::kStopped : Verdict::kUndecided;
  if (event.state == "active" || event.state == "reloading") return Verdict::kActive;
  if (event.state == "activating" && detail.sub_state.starts_with("auto-restart"))
    return Verdict::kUnstable;
  return Verdict::kUndecided;  // on the way, or unknown: what was said stands
}

StringMap labels_of(const ServiceEvent& event) {
  StringMap labels = {{"service", event.service}, {"kind", event.kind}};
  if (event.kind == "systemd") labels["unit"] = event.service;
  return labels;
}

constexpr std::string_view kFailedName = "service_failed";
constexpr std::string_view kUnstableName = "service_unstable";

Observation observe(const ServiceEvent& event, bool failed) {
  Observation seen;
  seen.kind = FindingKind::kService;
  seen.name = failed ? kFailedName : kUnstableName;
  seen.severity = failed ? Severity::kCritical : Severity::kWarning;
  seen.subject = event.service;
  seen.labels = labels_of(event);
  if (failed && event.restarts_itself) seen.pending = kManagerGivesUpAfter;
  seen.keep_firing_for = failed ? Millis(0) : kUnstableFor;
  seen.received = event.received;
  seen.evidence.source = event.kind;
  seen.evidence.value = 1;
  seen.evidence.text = failed
                           ? fmt::format("{} is {} ({})", event.service, event.state, event.detail)
                           : fmt::format("{} is being restarted by {} ({})", event.service,
                                         event.kind, event.detail);
  seen.annotations = {{"summary", seen.evidence.text}};
  return seen;
}

}  // namespace

struct Services::Impl {
  Impl(Book& b, knowledge::StateDb& d) : book(b), db(d) {}

  void clear(const ServiceEvent& event, std::string_view name) {
    book.clear(source_of(event.service),
               fingerprint(FindingKind::kService, name, labels_of(event)));
  }
  /// Remembers the event. True when the service is on its way down, or is down, because somebody
  /// asked for it: a job was there while it deactivated. Some programs end badly when they are told
  /// to stop (a JVM exits 143); bringing them back would undo the administrator's will.
  bool note(const ServiceEvent& event) {
    const std::lock_guard guard(mutex);
    last.insert_or_assign(event.service, event);
    const auto known = asked_to_stop.find(event.service);
    const bool down = event.state == "failed" || event.state == "inactive";
    if (event.state == "deactivating" && event.job) {
      if (known != asked_to_stop.end() && known->second == event.instance) return true;
      asked_to_stop.insert_or_assign(event.service, event.instance);
      ++changes;
      return true;
    }
    if (known == asked_to_stop.end()) return false;
    // Another invocation is another story: it was started while nobody looked, and then it failed.
    const bool other = down && known->second != event.instance && !event.instance.empty();
    if (other || (!down && event.state != "deactivating")) {
      asked_to_stop.erase(known);
      ++changes;
      return false;
    }
    return true;
  }
  using Stopped = std::map<std::string, std::string, std::less<>>;
  [[nodiscard]] Status write(const Stopped& stopped);
  static std::string source_of(std::string_view service) {
    return fmt::format("{}{}", kSource, service);
  }

  Book& book;
  knowledge::StateDb& db;
  mutable std::mutex mutex;
  std::map<std::string, ServiceEvent, std::less<>> last;          // guarded by mutex
  std::map<std::string, std::string, std::less<>> asked_to_stop;  // and the invocation; guarded
  std::uint64_t changes = 0;      // of asked_to_stop; guarded by mutex
  std::uint64_t written = 0;      // how many of them; guarded by mutex
  bool writes = false;            // somebody does; guarded by mutex
  std::condition_variable ended;  // somebody has written
};

Services::Services(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Services>> Services::open(Book& book, knowledge::StateDb& db) {
  if (auto made = db.migrate("services", kMigrations); !made)
    return propagate(std::move(made), "services");
  auto rows = db.query("SELECT service, instance FROM services_stopped");
  if (!rows) return propagate(std::move(rows), "services");
  auto impl = std::make_unique<Impl>(book, db);
  for (const auto& row : *rows) impl->asked_to_stop.emplace(row.text(0), row.text(1));
  return std::unique_ptr<Services>(new Services(std::move(impl)));
}

/// One writes at a time, what the others have changed too; who waits has its own turn when that one
/// has not written as far, or has failed.
Status Services::save() {
  std::unique_lock lock(impl_->mutex);
  const auto mine = impl_->changes;
  while (impl_->written < mine) {
    if (impl_->writes) {
      impl_->ended.wait(lock);
      continue;
    }
    impl_->writes = true;
    const auto upto = impl_->changes;
    const auto stopped = impl_->asked_to_stop;
    lock.unlock();
    auto done = impl_->write(stopped);
    lock.lock();
    impl_->writes = false;
    if (done) impl_->written = upto;
    impl_->ended.notify_all();
    if (!done)
      return std::unexpected(done.error().with_context("write down which services were stopped"));
  }
  return {};
}

Status Services::Impl::write(const Stopped& stopped) {
  return db.transaction([&]() -> Status {
    if (auto ok = db.execute("DELETE FROM services_stopped"); !ok) return ok;
    for (const auto& [service, instance] : stopped) {
      const std::array<knowledge::SqlValue, 2> values = {service, instance};
      if (auto ok = db.execute("INSERT INTO services_stopped VALUES (?,?)", values); !ok) return ok;
    }
    return {};
  });
}

Services::~Services() = default;

void Services::on_event(const ServiceEvent& event) {
  const bool asked = impl_->note(event);
  const std::string source = Impl::source_of(event.service);
  const Verdict verdict = judge(event);
  switch (verdict == Verdict::kFailed && asked ? Verdict::kStopped : verdict) {
    case Verdict::kFailed:
      impl_->book.report(source, observe(event, true));
      return;
    case Verdict::kUnstable:
      impl_->clear(event, kFailedName);
      impl_->book.report(source, observe(event, false));
      return;
    case Verdict::kActive:
    case Verdict::kStopped:
      impl_->clear(event, kFailedName);
      impl_->clear(event, kUnstableName);
      return;
    case Verdict::kUndecided:
      return;
  }
}

void Services::set_watched(const std::vector<std::string>& services) {
  const std::set<std::string, std::less<>> watched(services.begin(), services.end());
  {
    const std::lock_guard guard(impl_->mutex);
    std::erase_if(impl_->last, [&](const auto& known) { return !watched.contains(known.first); });
    const auto gone = std::erase_if(
        impl_->asked_to_stop, [&](const auto& known) { return !watched.contains(known.first); });
    if (gone > 0) ++impl_->changes;
  }
  // Also what a restart brought back of services that are not watched any more.
  impl_->book.retire([&](std::string_view source) {
    return source.starts_with(kSource) && !watched.contains(source.substr(kSource.size()));
  });
}

std::vector<ServiceEvent> Services::states() const {
  std::vector<ServiceEvent> all;
  const std::lock_guard guard(impl_->mutex);
  for (const auto& [name, event] : impl_->last) all.push_back(event);
  return all;
}

}  // namespace nexus::analyze
