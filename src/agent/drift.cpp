#include "agent/drift.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

namespace nexus::agent {
namespace {

using analyze::FindingKind;
using analyze::Observation;

constexpr std::string_view kConfiguration = "drift:configuration";
constexpr std::string_view kUnits = "drift:units";
constexpr std::string_view kSettings = "drift:settings";

Observation drift(std::string_view name, config::Severity severity, std::string subject) {
  Observation seen;
  seen.kind = FindingKind::kDrift;
  seen.name = name;
  seen.severity = severity;
  seen.subject = std::move(subject);
  return seen;
}

void say(Observation& seen, std::string text) {
  seen.annotations["summary"] = text;
  seen.evidence.text = std::move(text);
}

/// When the host was booted, as the kernel says; the epoch when that cannot be told.
WallTime booted(const host::Roots& roots) {
  const auto text = host::read_file(roots.proc("stat")).value_or("");
  const auto place = text.find("\nbtime ");
  if (place == std::string::npos) return {};
  std::string_view rest(text);
  rest.remove_prefix(place + 7);
  const auto seconds = base::parse_int(base::take_word(rest));
  return seconds ? base::from_unix_millis(*seconds * 1000) : WallTime{};
}

Observation observe(const plan::Action& action, const execute::SetValue& value, WallTime boot) {
  auto seen = drift("setting_drift", config::Severity::kInfo, action.target);
  const WallTime set = action.finished.value_or(action.created);
  seen.labels = {{"target", action.target}, {"setting", value.name}};
  const bool is_of_target = value.name != action.target;
  say(seen, fmt::format(
                "{}{} is {}, and not {}, as it was set by {} at {} (action {}): {}; set it again, "
                "or say with `nexus-agent actions rollback {}` that it is not wanted any more",
                value.name, is_of_target ? " of " + action.target : "", value.found, value.wanted,
                action.type, base::to_rfc3339(set), action.id,
                boot > set ? "the host was booted since, and what is set at run time ends with that"
                           : "somebody else has changed it since",
                action.id));
  seen.evidence.source = action.type;
  // What is no number, or is not limited, has no value: 0 would be one.
  seen.evidence.value = value.found_number.value_or(std::nan(""));
  seen.evidence.threshold = value.wanted_number;
  seen.annotations["wanted"] = value.wanted;
  seen.annotations["found"] = value.found;
  seen.annotations["action"] = action.id;
  seen.pending = Drift::kSettingPending;
  return seen;
}

}  // namespace

void Drift::start() {
  const std::lock_guard guard(mutex_);
  thread_ = std::make_unique<base::LoopThread>(clock_, "drift", [this] {
    look();
    return next_;
  });
}

void Drift::stop() {
  base::LoopThread* thread = nullptr;
  {
    const std::lock_guard guard(mutex_);
    thread = thread_.get();
  }
  if (thread != nullptr) thread->stop();
}

bool Drift::hangs() {
  bool now = false;
  {
    const std::lock_guard guard(mutex_);
    now = thread_ && thread_->late() >= kPatience;
  }
  if (std::exchange(hangs_, now) == now) return now;
  if (now) {
    log::warning("agent",
                 "drift is not looked for: a file of the configuration, or systemd, has "
                 "not answered for two minutes");
  } else {
    log::info("agent", "drift is looked for again");
  }
  return now;
}

void Drift::soon() {
  due_ = true;
  const std::lock_guard guard(mutex_);
  if (thread_) thread_->wake();
}

void Drift::tell(std::string_view source, const std::vector<Observation>& seen,
                 const std::vector<analyze::Book::Held>& held) {
  book_.observe(source, seen, held);
  if (!told_.emplace(source).second) return;
  for (const auto& finding : book_.of(source)) {
    const bool is_held = std::ranges::find(held, finding.fingerprint,
                                           &analyze::Book::Held::fingerprint) != held.end();
    if (!finding.seen_now && !is_held) book_.clear(source, finding.fingerprint);
  }
}

void Drift::look() {
  const bool due = due_.exchange(false);
  if (!due && clock_.steady() < next_) return;
  next_ = clock_.steady() + kEvery;
  look_at_configuration();
  look_at_units();
  look_at_settings();
}

void Drift::look_at_configuration() {
  std::vector<Observation> seen;
  if (ask_.configuration) {
    if (auto differs = ask_.configuration()) seen.push_back(*std::move(differs));
  }
  const auto reasons = ask_.needs_restart ? ask_.needs_restart() : std::vector<std::string>();
  if (!reasons.empty()) {
    auto one = drift("configuration_needs_restart", config::Severity::kInfo, "nexus-agent");
    say(one, fmt::format("applied, and in force with the next start of the agent only: {}",
                         fmt::join(reasons, "; ")));
    one.evidence.source = "configuration";
    one.evidence.value = static_cast<double>(reasons.size());
    seen.push_back(std::move(one));
  }
  tell(kConfiguration, seen);
}

void Drift::look_at_units() {
  if (!ask_.watched_units || !ask_.stale_units) return;
  const auto units = ask_.watched_units();
  std::vector<Observation> seen;
  if (!units.empty()) {
    const auto stale = ask_.stale_units(units);
    if (!stale) return book_.doubt(kUnits);  // systemd is away, which its component says
    for (const auto& unit : *stale) {
      auto one = drift("unit_file_drift", config::Severity::kWarning, unit.name);
      one.labels = {{"unit", unit.name}, {"service", unit.name}};
      say(one, fmt::format("files of {} have changed since systemd has loaded them, and a restart "
                           "goes by what is loaded: {}; `systemctl daemon-reload` loads them",
                           unit.name, fmt::join(unit.files, ", ")));
      one.annotations["files"] = fmt::format("{}", fmt::join(unit.files, ", "));
      one.evidence.source = "NeedDaemonReload";
      one.evidence.value = 1;
      one.pending = kUnitPending;
      seen.push_back(std::move(one));
    }
  }
  tell(kUnits, seen);
}

void Drift::look_at_settings() {
  if (!ask_.kept) return;
  const auto kept = ask_.kept();
  if (!kept && !std::exchange(kept_failed_, true))
    log::warning("agent", "what was set cannot be compared: {}", kept.error().message());
  if (!kept) return book_.doubt(kSettings);
  kept_failed_ = false;
  const WallTime boot = booted(roots_);
  std::vector<Observation> seen;
  std::vector<std::string> unknown;  // targets
  for (const auto& one : *kept) {
    if (!one.unknown.empty()) unknown.push_back(one.action.target);
    for (const auto& value : one.values) {
      if (!value.as_set) seen.push_back(observe(one.action, value, boot));
    }
  }
  std::vector<analyze::Book::Held> held;
  for (const auto& finding : book_.of(kSettings)) {
    if (std::ranges::find(unknown, finding.subject) != unknown.end())
      held.push_back({finding.fingerprint});
  }
  tell(kSettings, seen, held);
}

}  // namespace nexus::agent
