#include "analyze/ledger.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace nexus::analyze {
namespace {

/// An agent that was away longer forgets `for` timers: nobody looked meanwhile (Prometheus:
/// for-outage-tolerance).
constexpr Millis kOutageTolerance{60 * 60'000};
/// What a restart brought back is not missed for so long: rules need some samples before they can
/// see it again.
constexpr Millis kRestoreGrace{60'000};
constexpr Millis kClockStep{60'000};         // one that takes samples out of sight
constexpr Millis kClockGrace{60'000};        // until there are enough samples of the new time
constexpr Millis kComplainEvery{3'600'000};  // about findings that are refused

/// The samples of the last moments before a kill may be missing, those that ended a finding among
/// them: for so long after a start older ones, which still show it, are no new episode of it.
constexpr Millis kSamplesReturn{20'000};
/// Findings that ended so shortly before the agent did.
constexpr Millis kSamplesMissing{15'000};

// Gauges of kinds stand where their kind says.
static_assert(kFindingKinds.size() == static_cast<std::size_t>(FindingKind::kDrift) + 1 &&
                  std::ranges::is_sorted(kFindingKinds) && kFindingKinds.front() == FindingKind{} &&
                  kFindingKinds.back() == FindingKind::kDrift,
              "kFindingKinds has each kind once, in their order");

/// When a stored finding last changed its state.
WallTime last_transition(const Finding& finding) {
  if (finding.resolved) return *finding.resolved;
  return finding.fired.value_or(finding.started);
}

}  // namespace

Ledger::Ledger(Clock& clock, knowledge::SelfMetrics& self, std::size_t max_findings)
    : clock_(clock),
      max_findings_(max_findings),
      flapping_(self.gauge("nexus_findings_flapping",
                           "Findings that change their state so often that they are held firing")),
      missing_(self.gauge("nexus_findings_missing", "Findings whose data is gone")),
      refused_(self.counter("nexus_findings_refused_total",
                            "Findings refused because the book, or the share of their source, is "
                            "full")),
      fired_(self.counter("nexus_finding_transitions_total", "Transitions of findings",
                          {{"state", "firing"}})),
      resolved_(self.counter("nexus_finding_transitions_total", "Transitions of findings",
                             {{"state", "resolved"}})) {
  for (const FindingState state :
       {FindingState::kPending, FindingState::kFiring, FindingState::kResolved}) {
    for (const Severity severity : {Severity::kInfo, Severity::kWarning, Severity::kCritical}) {
      gauges_.push_back(
          self.gauge("nexus_findings", "Findings in the book",
                     {{"state", to_string(state)}, {"severity", config::to_string(severity)}}));
      gauges_.back().set(0);
    }
  }
  for (const FindingKind kind : kFindingKinds) {
    firing_.push_back(self.gauge("nexus_findings_firing", "Findings that fire, by their kind",
                                 {{"kind", to_string(kind)}}));
    firing_.back().set(0);
  }
  flapping_.set(0);
  missing_.set(0);
}

void Ledger::count(const Finding& finding, double by) const {
  gauges_[static_cast<std::size_t>(finding.state) * 3 + static_cast<std::size_t>(finding.severity)]
      .add(by);
  if (finding.state == FindingState::kFiring)
    firing_[static_cast<std::size_t>(finding.kind)].add(by);
  if (finding.flapping) flapping_.add(by);
  if (finding.missing) missing_.add(by);
}

void Ledger::restore(BookStore::Loaded loaded) {
  const WallTime wall = clock_.wall();
  const SteadyTime now = clock_.steady();
  const bool long_away = loaded.alive && wall - *loaded.alive > kOutageTolerance;
  const WallTime sure_until = loaded.alive.value_or(wall) - kSamplesMissing;
  std::sort(loaded.findings.begin(), loaded.findings.end(), [](const auto& a, const auto& b) {
    return last_transition(a.finding) < last_transition(b.finding);
  });
  for (StoredFinding& stored : loaded.findings) {
    Finding& finding = stored.finding;
    const bool old = finding.resolved && wall - *finding.resolved >= Book::kKeepResolved;
    if (old || (long_away && finding.state == FindingState::kPending) ||
        entries_.size() >= max_findings_) {
      dirty_.insert(finding.fingerprint);
      continue;
    }
    auto entry = std::make_unique<Entry>();
    entry->pending = stored.pending;
    entry->keep_firing_for = stored.keep_firing_for;
    // A wall clock that was set back while the agent was down must not lengthen the wait beyond a
    // whole `for`.
    entry->since = now - std::max(Millis(0), wall - finding.started);
    entry->restored_until = now + kRestoreGrace;
    if (finding.resolved) {
      entry->ended = now - std::max(Millis(0), wall - *finding.resolved);
      entry->restored_until = now + (*finding.resolved > sure_until ? kSamplesReturn : Millis(0));
    }
    entry->transition = ++transitions_;
    entry->finding = std::move(finding);
    entry->finding.seen_now = false;
    for (const StateChange& one : record_of(entry->finding).states) {
      const bool counts = one.what == "firing" || one.what == "resolved";
      if (counts && one.time <= wall && wall - one.time < Book::kFlapWindow)
        entry->flaps.note(now - (wall - one.time));
    }
    if (entry->finding.flapping) entry->flaps.note(now);  // what it did meanwhile is not known
    if (entry->finding.state == FindingState::kResolved) {
      resolved_order_.emplace_back(entry->finding.fingerprint, entry->transition);
    }
    count(entry->finding, 1);
    move_to(*entry, stored.source);
    std::string print = entry->finding.fingerprint;
    entries_.emplace(std::move(print), std::move(entry));
  }
}

void Ledger::move_to(Entry& entry, std::string_view source) {
  if (entry.source != nullptr && *entry.source == source) return;
  if (entry.source != nullptr) leave_source(entry);
  const auto [place, inserted] = sources_.try_emplace(std::string(source));
  place->second.insert(&entry);
  entry.source = &place->first;  // keys of a node-based map stay where they are
}

void Ledger::leave_source(Entry& entry) {
  const auto place = sources_.find(*entry.source);
  place->second.erase(&entry);
  if (place->second.empty()) sources_.erase(place);
  entry.source = nullptr;
}

bool Ledger::make_room() {
  while (entries_.size() >= max_findings_ && !resolved_order_.empty()) {
    const auto [print, transition] = std::move(resolved_order_.front());
    resolved_order_.pop_front();
    const auto found = entries_.find(print);
    if (found != entries_.end() && found->second->transition == transition) erase(*found->second);
  }
  return entries_.size() < max_findings_;
}

void Ledger::refuse(std::string_view source, Full full) {
  refused_.add();
  const SteadyTime now = clock_.steady();
  std::erase_if(complained_, [&](const auto& one) { return now - one.second >= kComplainEvery; });
  // One an hour for each source that has its share, and one for a book that is full.
  const std::string about(full == Full::kSource ? source : std::string_view());
  if (!complained_.try_emplace(about, now).second) return;
  complaints_.push_back(fmt::format(
      "findings of {} are refused: at most {} are kept; nexus_findings_refused_total counts them",
      source,
      full == Full::kSource ? fmt::format("{} of one rule", kMostOfOneSource)
                            : fmt::format("{} of all", max_findings_)));
}

Ledger::Entry* Ledger::enter(std::string_view source, const Observation& seen, std::string print) {
  if (!make_room()) {
    refuse(source, Full::kBook);
    return nullptr;
  }
  auto made = std::make_unique<Entry>();
  Entry& entry = *made;
  entry.finding.fingerprint = print;
  entry.finding.kind = seen.kind;
  entry.finding.name = seen.name;
  entry.finding.labels = seen.labels;
  entry.finding.severity = seen.severity;
  entries_.emplace(std::move(print), std::move(made));
  count(entry.finding, 1);
  begin_episode(entry, seen);
  return &entry;
}

void Ledger::begin_episode(Entry& entry, const Observation& seen) {
  Finding& finding = entry.finding;
  finding.started = seen.began == WallTime{} ? clock_.wall() : seen.began;
  finding.fired.reset();
  finding.resolved.reset();
  finding.received = seen.received == SteadyTime{} ? clock_.steady() : seen.received;
  entry.since = clock_.steady();
  if (!record_of(finding).cause.empty() || !record_of(finding).what_changed.empty()) {
    FindingRecord& record = edit(entry);  // those of the last episode
    record.cause.clear();
    record.cause_link.clear();
    record.what_changed.clear();
  }
  change(entry, FindingState::kPending);
}

void Ledger::refresh(Entry& entry, const Observation& seen) {
  Finding& finding = entry.finding;
  set_severity(entry, seen.severity);
  set_missing(entry, seen.missing);
  if (finding.flapping && entry.missing_since) count_change(entry);
  finding.subject = seen.subject;
  finding.annotations = seen.annotations;
  finding.evidence = seen.evidence;
  finding.last_seen = clock_.wall();
  finding.seen_now = true;
  entry.pending = seen.pending;
  entry.keep_firing_for = seen.keep_firing_for;
  entry.missing_since.reset();
  entry.restored_until.reset();
  entry.excused_until.reset();
  entry.missed = false;
  entry.pass = passes_;
  changed_ = true;
  if (seen.members) set_members(entry, *seen.members);
}

void Ledger::set_members(Entry& entry, const Members& members) {
  const FindingRecord& known = record_of(entry.finding);
  if (known.cause == members.cause && known.symptoms == members.symptoms) return;
  FindingRecord& record = edit(entry);
  record.cause = members.cause;
  record.cause_link = "incident";
  record.symptoms = members.symptoms;
}

void Ledger::set_severity(Entry& entry, Severity severity) {
  Finding& finding = entry.finding;
  if (finding.severity == severity) return;
  const bool fires = finding.state == FindingState::kFiring;
  if (fires && entry.evaluated) count_change(entry);
  if (fires && finding.flapping && severity < finding.severity)
    return;  // the worst, while it flaps
  count(finding, -1);
  finding.severity = severity;
  count(finding, 1);
  if (fires) write_down(entry, config::to_string(severity));
  dirty_.insert(finding.fingerprint);
}

void Ledger::set_missing(Entry& entry, bool missing) {
  Finding& finding = entry.finding;
  if (finding.missing == missing) return;
  count(finding, -1);
  finding.missing = missing;
  count(finding, 1);
  write_down(entry, missing ? "missing" : "back");
}

FindingRecord& Ledger::edit(Entry& entry) {
  auto copy = std::make_shared<FindingRecord>(record_of(entry.finding));
  FindingRecord& record = *copy;
  entry.finding.record = std::move(copy);
  dirty_.insert(entry.finding.fingerprint);
  changed_ = true;
  return record;
}

void Ledger::write_down(Entry& entry, std::string_view what) {
  auto& states = edit(entry).states;
  states.push_back({clock_.wall(), std::string(what)});
  if (states.size() > FindingRecord::kMostChanges) states.erase(states.begin());
}

void Ledger::count_change(Entry& entry) {
  Finding& finding = entry.finding;
  entry.flaps.note(clock_.steady());
  if (finding.flapping || entry.flaps.share(clock_.steady()) < Book::kFlapping) return;
  count(finding, -1);
  finding.flapping = true;
  count(finding, 1);
  write_down(entry, "flapping");
}

void Ledger::end_flapping(Entry& entry) {
  Finding& finding = entry.finding;
  count(finding, -1);
  finding.flapping = false;
  count(finding, 1);
  write_down(entry, "steady");
}

void Ledger::see(std::string_view source, const Observation& seen, Told told) {
  std::string print = fingerprint(seen.kind, seen.name, seen.labels);
  const auto found = entries_.find(print);
  Entry* entry = found == entries_.end() ? nullptr : found->second.get();
  if (entry == nullptr) {
    // One rule that matches everything must not take the places of all others.
    const auto mine = sources_.find(std::string(source));
    if (mine != sources_.end() && mine->second.size() >= Ledger::kMostOfOneSource) {
      refuse(source, Full::kSource);
      return;
    }
    entry = enter(source, seen, std::move(print));
    if (entry == nullptr) return;
  } else if (entry->finding.state == FindingState::kResolved) {
    if (told == Told::kAgainAndAgain && entry->restored_until &&
        clock_.steady() < *entry->restored_until) {
      return;
    }
    begin_episode(*entry, seen);
  } else if (entry->pass == passes_ && entry->finding.severity > seen.severity) {
    return;  // seen twice in one pass: the worst counts
  }
  move_to(*entry, source);
  // What is told when it happens, such as a failed service, is no flapping measure: breakers watch
  // over what is done about it.
  entry->evaluated = told == Told::kAgainAndAgain &&
                     (seen.kind == FindingKind::kVital || seen.kind == FindingKind::kAlert);
  refresh(*entry, seen);
  settle(*entry);
}

/// Not seen any more.
void Ledger::unsee(Entry& entry) {
  if (entry.finding.state == FindingState::kResolved) return;
  lose_sight(entry);
  if (entry.restored_until && clock_.steady() < *entry.restored_until) return;
  entry.restored_until.reset();
  if (entry.excused_until && clock_.steady() < *entry.excused_until) {
    entry.missed = true;
    return;
  }
  entry.excused_until.reset();
  entry.missed = false;
  if (!entry.missing_since) {
    if (entry.finding.flapping) count_change(entry);
    entry.missing_since = clock_.steady();
  }
  settle(entry);
}

void Ledger::lose_sight(Entry& entry) {
  changed_ |= std::exchange(entry.finding.seen_now, false);
}

/// Moves one entry on as far as its timers allow. May erase it.
void Ledger::settle(Entry& entry) {
  const SteadyTime now = clock_.steady();
  switch (entry.finding.state) {
    case FindingState::kPending:
      if (entry.missing_since) {
        erase(entry);
      } else if (!entry.restored_until && !entry.missed && now - entry.since >= entry.pending) {
        fire(entry);
      }
      return;
    case FindingState::kFiring:
      if (entry.finding.flapping && entry.flaps.share(now) < Book::kSteady) end_flapping(entry);
      if (entry.finding.flapping || !entry.missing_since) return;
      if (now - *entry.missing_since >= entry.keep_firing_for) resolve(entry);
      return;
    case FindingState::kResolved:
      return;
  }
}

void Ledger::change(Entry& entry, FindingState state) {
  count(entry.finding, -1);
  entry.finding.state = state;
  count(entry.finding, 1);
  entry.transition = ++transitions_;
  write_down(entry, to_string(state));
}

void Ledger::fire(Entry& entry) {
  // Detection is the moment at which action may begin: with a `for` that is when it has passed.
  if (entry.pending > Millis(0)) entry.finding.received = clock_.steady();
  entry.finding.fired = clock_.wall();
  ++entry.finding.episodes;
  change(entry, FindingState::kFiring);
  if (entry.evaluated) count_change(entry);
  fired_.add();
  outbox_.push_back(entry.finding);
}

void Ledger::resolve(Entry& entry) {
  if (entry.evaluated) {
    count_change(entry);
    if (entry.finding.flapping) return;  // held, until it is steady
  }
  set_missing(entry, false);
  entry.finding.resolved = clock_.wall();
  entry.ended = clock_.steady();
  change(entry, FindingState::kResolved);
  resolved_.add();
  resolved_order_.emplace_back(entry.finding.fingerprint, entry.transition);
  outbox_.push_back(entry.finding);
}

void Ledger::erase(Entry& entry) {
  const std::string print = entry.finding.fingerprint;
  leave_source(entry);
  count(entry.finding, -1);
  dirty_.insert(print);
  changed_ = true;
  entries_.erase(print);
}

void Ledger::forget_resolved() {
  const SteadyTime now = clock_.steady();
  while (!resolved_order_.empty()) {
    const auto& [print, transition] = resolved_order_.front();
    const auto found = entries_.find(print);
    if (found != entries_.end() && found->second->transition == transition) {
      if (now - found->second->ended < Book::kKeepResolved) return;
      erase(*found->second);
    }
    resolved_order_.pop_front();
  }
}

/// After a wall clock that was set, expressions see nothing, or old values, until there are samples
/// of the new time: what they saw is not missed for a while. Only who looks after that ends it: a
/// rule that is evaluated seldom, or cannot be, has not looked yet.
void Ledger::heed_clock() {
  const SteadyTime before = clock_.steady();
  const Nanos offset = clock_.wall().time_since_epoch() - before.time_since_epoch();
  const SteadyTime after = clock_.steady();
  if (after - before > kClockStep / 4) return;  // stopped in between: they do not belong together
  const auto was = std::exchange(clock_offset_, offset);
  if (!was || std::chrono::abs(offset - *was) <= kClockStep) return;
  for (const auto& [print, entry] : entries_) {
    if (entry->finding.state == FindingState::kResolved || !entry->evaluated) continue;
    entry->excused_until = after + kClockGrace;
    // By the new clock it was seen as long ago as it was: `on_missing = "hold"` asks that.
    entry->finding.last_seen += std::chrono::duration_cast<Millis>(offset - *was);
    changed_ = true;
  }
}

void Ledger::observe(std::string_view source, const std::vector<Observation>& seen,
                     const std::vector<Book::Held>& held) {
  heed_clock();
  ++passes_;
  for (const Observation& observation : seen) see(source, observation, Told::kAgainAndAgain);
  for (const Book::Held& one : held) {
    const auto known = entries_.find(one.fingerprint);
    if (known == entries_.end() || *known->second->source != source) continue;
    Entry& entry = *known->second;
    if (entry.pass == passes_ || entry.finding.state != FindingState::kFiring) continue;
    entry.pass = passes_;
    entry.missing_since.reset();
    entry.restored_until.reset();
    entry.excused_until.reset();
    entry.missed = false;
    lose_sight(entry);
    set_missing(entry, one.missing);
  }
  const auto found = sources_.find(std::string(source));
  if (found == sources_.end()) return;
  std::vector<Entry*> gone;  // collected first: what is gone may leave the source
  for (Entry* entry : found->second) {
    if (entry->pass != passes_) gone.push_back(entry);
  }
  for (Entry* entry : gone) unsee(*entry);
}

void Ledger::report(std::string_view source, const Observation& seen) {
  ++passes_;
  see(source, seen, Told::kOnce);
}

Findings Ledger::of(std::string_view source) const {
  Findings out;
  const auto found = sources_.find(std::string(source));
  if (found == sources_.end()) return out;
  for (const Entry* entry : found->second) {
    if (entry->finding.state != FindingState::kResolved) out.push_back(entry->finding);
  }
  return out;
}

void Ledger::note_action(std::string_view fingerprint, FindingAction action) {
  const auto found = entries_.find(std::string(fingerprint));
  if (found == entries_.end()) return;
  auto& actions = edit(*found->second).actions;
  const auto same = std::ranges::find(actions, action.id, &FindingAction::id);
  if (same != actions.end()) {
    *same = std::move(action);
    return;
  }
  actions.push_back(std::move(action));
  if (actions.size() > FindingRecord::kMostActions) actions.erase(actions.begin());
}

void Ledger::clear(std::string_view source, std::string_view fingerprint) {
  const auto found = entries_.find(std::string(fingerprint));
  if (found == entries_.end() || *found->second->source != source) return;
  found->second->restored_until.reset();
  found->second->excused_until.reset();
  unsee(*found->second);
}

void Ledger::doubt(std::string_view source) {
  const auto found = sources_.find(std::string(source));
  if (found == sources_.end()) return;
  for (Entry* entry : found->second) {
    lose_sight(*entry);
    // What the database brought back waits for somebody who looks.
    if (entry->restored_until && entry->finding.state != FindingState::kResolved)
      entry->restored_until = clock_.steady() + kRestoreGrace;
  }
}

void Ledger::retire(const std::string& source) {
  const auto found = sources_.find(source);
  if (found == sources_.end()) return;
  for (Entry* entry : std::vector<Entry*>(found->second.begin(), found->second.end())) {
    entry->restored_until.reset();
    entry->excused_until.reset();
    entry->keep_firing_for = Millis(0);
    entry->evaluated = false;  // its end is no change of what it was about
    if (entry->finding.state == FindingState::kFiring) write_down(*entry, "retired");
    if (entry->finding.flapping) end_flapping(*entry);
    unsee(*entry);
  }
}

void Ledger::tick() {
  heed_clock();
  std::vector<Entry*> live;
  for (const auto& [print, entry] : entries_) {
    if (entry->finding.state != FindingState::kResolved) live.push_back(entry.get());
  }
  for (Entry* entry : live) {
    if (entry->restored_until && clock_.steady() >= *entry->restored_until) {
      unsee(*entry);
    } else {
      settle(*entry);
    }
  }
  forget_resolved();
}

std::vector<std::string> Ledger::sources() const {
  std::vector<std::string> names;
  names.reserve(sources_.size());
  for (const auto& [name, entries] : sources_) names.push_back(name);
  return names;
}

std::optional<Finding> Ledger::next_transition() {
  if (outbox_.empty()) return std::nullopt;
  std::optional<Finding> next = std::move(outbox_.front());
  outbox_.pop_front();
  return next;
}

Ledger::Changes Ledger::take_changes() {
  Changes changes;
  for (const std::string& print : dirty_) {
    const auto found = entries_.find(print);
    if (found == entries_.end()) {
      changes.forgotten.push_back(print);
      continue;
    }
    const Entry& entry = *found->second;
    changes.changed.push_back({entry.finding, *entry.source, entry.pending, entry.keep_firing_for});
  }
  dirty_.clear();
  return changes;
}

void Ledger::put_back(const Changes& changes) {
  for (const StoredFinding& stored : changes.changed) dirty_.insert(stored.finding.fingerprint);
  dirty_.insert(changes.forgotten.begin(), changes.forgotten.end());
}

std::shared_ptr<const Findings> Ledger::snapshot() {
  if (!changed_) return snapshot_;
  std::vector<const Entry*> order;
  order.reserve(entries_.size());
  for (const auto& [print, entry] : entries_) order.push_back(entry.get());
  std::sort(order.begin(), order.end(),
            [](const Entry* a, const Entry* b) { return a->transition > b->transition; });
  auto findings = std::make_shared<Findings>();
  findings->reserve(order.size());
  for (const Entry* entry : order) findings->push_back(entry->finding);
  snapshot_ = std::move(findings);
  changed_ = false;
  return snapshot_;
}

std::optional<Finding> Ledger::find(std::string_view fingerprint) const {
  const auto found = entries_.find(std::string(fingerprint));
  if (found == entries_.end()) return std::nullopt;
  return found->second->finding;
}

}  // namespace nexus::analyze
