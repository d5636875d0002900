#include "nexus/analyze/book.hpp"

#include <algorithm>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "analyze/book_entry.hpp"
#include "analyze/book_store.hpp"
#include "nexus/base/log.hpp"

namespace nexus::analyze {
namespace {

/// An agent that was away longer forgets `for` timers: nobody looked meanwhile (Prometheus:
/// for-outage-tolerance).
constexpr Millis kOutageTolerance{60 * 60'000};
/// What a restart brought back is not missed for so long: rules need some samples before they can
/// see it again.
constexpr Millis kRestoreGrace{60'000};
/// How often a book with live findings says that it is alive.
constexpr Millis kAliveEvery{60'000};

}  // namespace

struct Book::Impl {
  Impl(Clock& c, BookStore s, knowledge::SelfMetrics& self, std::size_t limit)
      : clock(c),
        store(s),
        max_findings(limit),
        gauges(self),
        refused(self.counter("nexus_findings_refused_total",
                             "Findings refused because the book is full")),
        fired(self.counter("nexus_finding_transitions_total", "Transitions of findings",
                           {{"state", "firing"}})),
        resolved(self.counter("nexus_finding_transitions_total", "Transitions of findings",
                              {{"state", "resolved"}})),
        write_errors(self.counter("nexus_findings_write_errors_total",
                                  "Failed writes of findings to the state database")) {}

  // All below "under the lock" unless said otherwise.
  void restore(BookStore::Loaded loaded);
  void see(std::string_view source, const Observation& seen);
  Entry* enter(const Observation& seen, std::string print);
  void refresh(Entry& entry, const Observation& seen);
  void begin_episode(Entry& entry, const Observation& seen);
  void unsee(Entry& entry);
  void settle(Entry& entry);
  void change(Entry& entry, FindingState state);
  void fire(Entry& entry);
  void resolve(Entry& entry);
  void erase(Entry& entry);
  void move_to(Entry& entry, std::string_view source);
  void leave_source(Entry& entry);
  bool make_room();
  void forget_resolved();

  void deliver();  // without the lock
  void flush();    // without the lock

  Clock& clock;
  BookStore store;
  const std::size_t max_findings;

  mutable std::mutex mutex;
  std::unordered_map<std::string, std::unique_ptr<Entry>> entries;  // by fingerprint
  std::unordered_map<std::string, std::unordered_set<Entry*>> sources;
  std::deque<std::pair<std::string, std::uint64_t>> resolved_order;  // fingerprint, transition
  std::uint64_t transitions = 0;
  std::uint64_t passes = 0;
  mutable std::shared_ptr<const Findings> cached;

  std::deque<Finding> outbox;
  bool delivering = false;
  std::shared_ptr<const std::vector<Listener>> listeners =
      std::make_shared<const std::vector<Listener>>();

  std::unordered_set<std::string>
      dirty;  // fingerprints to be written, or deleted when they are gone
  bool writing = false;
  bool write_failed = false;
  SteadyTime next_alive{};

  FindingGauges gauges;
  knowledge::Counter refused;
  knowledge::Counter fired;
  knowledge::Counter resolved;
  knowledge::Counter write_errors;
};

void Book::Impl::restore(BookStore::Loaded loaded) {
  const WallTime wall = clock.wall();
  const SteadyTime now = clock.steady();
  const bool long_away = loaded.alive && wall - *loaded.alive > kOutageTolerance;
  std::sort(loaded.findings.begin(), loaded.findings.end(), [](const auto& a, const auto& b) {
    return last_transition(a.finding) < last_transition(b.finding);
  });
  for (StoredFinding& stored : loaded.findings) {
    Finding& finding = stored.finding;
    const bool old = finding.resolved && wall - *finding.resolved >= kKeepResolved;
    if (old || (long_away && finding.state == FindingState::kPending) ||
        entries.size() >= max_findings) {
      dirty.insert(finding.fingerprint);
      continue;
    }
    auto entry = std::make_unique<Entry>();
    entry->pending = stored.pending;
    entry->keep_firing_for = stored.keep_firing_for;
    // A wall clock that was set back while the agent was down must not lengthen the wait beyond a
    // whole `for`.
    entry->since = now - std::max(Millis(0), wall - finding.started);
    if (finding.resolved) entry->ended = now - std::max(Millis(0), wall - *finding.resolved);
    entry->restored_until = now + kRestoreGrace;
    entry->transition = ++transitions;
    entry->finding = std::move(finding);
    if (entry->finding.state == FindingState::kResolved) {
      resolved_order.emplace_back(entry->finding.fingerprint, entry->transition);
    }
    gauges.add(entry->finding, 1);
    move_to(*entry, stored.source);
    std::string print = entry->finding.fingerprint;
    entries.emplace(std::move(print), std::move(entry));
  }
}

void Book::Impl::move_to(Entry& entry, std::string_view source) {
  if (entry.source != nullptr && *entry.source == source) return;
  if (entry.source != nullptr) leave_source(entry);
  const auto [place, inserted] = sources.try_emplace(std::string(source));
  place->second.insert(&entry);
  entry.source = &place->first;  // keys of a node-based map stay where they are
}

void Book::Impl::leave_source(Entry& entry) {
  const auto place = sources.find(*entry.source);
  place->second.erase(&entry);
  if (place->second.empty()) sources.erase(place);
  entry.source = nullptr;
}

bool Book::Impl::make_room() {
  while (entries.size() >= max_findings && !resolved_order.empty()) {
    const auto [print, transition] = std::move(resolved_order.front());
    resolved_order.pop_front();
    const auto found = entries.find(print);
    if (found != entries.end() && found->second->transition == transition) erase(*found->second);
  }
  return entries.size() < max_findings;
}

Entry* Book::Impl::enter(const Observation& seen, std::string print) {
  if (!make_room()) {
    refused.add();
    return nullptr;
  }
  auto made = std::make_unique<Entry>();
  Entry& entry = *made;
  entry.finding.fingerprint = print;
  entry.finding.kind = seen.kind;
  entry.finding.name = seen.name;
  entry.finding.labels = seen.labels;
  entry.finding.severity = seen.severity;
  entries.emplace(std::move(print), std::move(made));
  gauges.add(entry.finding, 1);
  begin_episode(entry, seen);
  return &entry;
}

void Book::Impl::begin_episode(Entry& entry, const Observation& seen) {
  Finding& finding = entry.finding;
  finding.started = clock.wall();
  finding.fired.reset();
  finding.resolved.reset();
  finding.received = seen.received == SteadyTime{} ? clock.steady() : seen.received;
  entry.since = clock.steady();
  change(entry, FindingState::kPending);
}

void Book::Impl::refresh(Entry& entry, const Observation& seen) {
  Finding& finding = entry.finding;
  if (finding.severity != seen.severity) {
    gauges.add(finding, -1);
    finding.severity = seen.severity;
    gauges.add(finding, 1);
    dirty.insert(finding.fingerprint);
  }
  finding.subject = seen.subject;
  finding.annotations = seen.annotations;
  finding.evidence = seen.evidence;
  finding.last_seen = clock.wall();
  entry.pending = seen.pending;
  entry.keep_firing_for = seen.keep_firing_for;
  entry.missing_since.reset();
  entry.restored_until.reset();
  entry.pass = passes;
  cached.reset();
}

void Book::Impl::see(std::string_view source, const Observation& seen) {
  std::string print = fingerprint(seen.kind, seen.name, seen.labels);
  const auto found = entries.find(print);
  Entry* entry = found == entries.end() ? nullptr : found->second.get();
  if (entry == nullptr) {
    entry = enter(seen, std::move(print));
    if (entry == nullptr) return;
  } else if (entry->finding.state == FindingState::kResolved) {
    begin_episode(*entry, seen);
  } else if (entry->pass == passes && entry->finding.severity > seen.severity) {
    return;  // seen twice in one pass: the worst counts
  }
  move_to(*entry, source);
  refresh(*entry, seen);
  settle(*entry);
}

/// Not seen any more.
void Book::Impl::unsee(Entry& entry) {
  if (entry.finding.state == FindingState::kResolved) return;
  if (entry.restored_until && clock.steady() < *entry.restored_until) return;
  entry.restored_until.reset();
  if (!entry.missing_since) entry.missing_since = clock.steady();
  settle(entry);
}

/// Moves one entry on as far as its timers allow. May erase it.
void Book::Impl::settle(Entry& entry) {
  const SteadyTime now = clock.steady();
  switch (entry.finding.state) {
    case FindingState::kPending:
      if (entry.missing_since) {
        erase(entry);
      } else if (!entry.restored_until && now - entry.since >= entry.pending) {
        fire(entry);
      }
      return;
    case FindingState::kFiring:
      if (entry.missing_since && now - *entry.missing_since >= entry.keep_firing_for)
        resolve(entry);
      return;
    case FindingState::kResolved:
      return;
  }
}

void Book::Impl::change(Entry& entry, FindingState state) {
  gauges.add(entry.finding, -1);
  entry.finding.state = state;
  gauges.add(entry.finding, 1);
  entry.transition = ++transitions;
  dirty.insert(entry.finding.fingerprint);
  cached.reset();
}

void Book::Impl::fire(Entry& entry) {
  // Detection is the moment at which action may begin: with a `for` that is when it has passed.
  if (entry.pending > Millis(0)) entry.finding.received = clock.steady();
  entry.finding.fired = clock.wall();
  ++entry.finding.episodes;
  change(entry, FindingState::kFiring);
  fired.add();
  outbox.push_back(entry.finding);
}

void Book::Impl::resolve(Entry& entry) {
  entry.finding.resolved = clock.wall();
  entry.ended = clock.steady();
  change(entry, FindingState::kResolved);
  resolved.add();
  resolved_order.emplace_back(entry.finding.fingerprint, entry.transition);
  outbox.push_back(entry.finding);
}

void Book::Impl::erase(Entry& entry) {
  const std::string print = entry.finding.fingerprint;
  leave_source(entry);
  gauges.add(entry.finding, -1);
  dirty.insert(print);
  cached.reset();
  entries.erase(print);
}

void Book::Impl::forget_resolved() {
  const SteadyTime now = clock.steady();
  while (!resolved_order.empty()) {
    const auto& [print, transition] = resolved_order.front();
    const auto found = entries.find(print);
    if (found != entries.end() && found->second->transition == transition) {
      if (now - found->second->ended < kKeepResolved) return;
      erase(*found->second);
    }
    resolved_order.pop_front();
  }
}

void Book::Impl::deliver() {
  std::unique_lock lock(mutex);
  // One thread at a time delivers, so that nobody hears of an end before its beginning; it takes
  // along what others, or the listeners themselves, add meanwhile.
  if (delivering) return;
  delivering = true;
  while (!outbox.empty()) {
    const Finding finding = std::move(outbox.front());
    outbox.pop_front();
    const auto to = listeners;
    lock.unlock();
    for (const Listener& listener : *to) listener(finding);
    lock.lock();
  }
  delivering = false;
}

void Book::Impl::flush() {
  std::vector<StoredFinding> changed;
  std::vector<std::string> forgotten;
  std::unordered_set<std::string> batch;
  {
    const std::lock_guard guard(mutex);
    const bool alive_due = !entries.empty() && clock.steady() >= next_alive;
    if (writing || (dirty.empty() && !alive_due)) return;
    writing = true;
    batch.swap(dirty);
    next_alive = clock.steady() + kAliveEvery;
    for (const std::string& print : batch) {
      const auto found = entries.find(print);
      if (found == entries.end()) {
        forgotten.push_back(print);
        continue;
      }
      const Entry& entry = *found->second;
      changed.push_back({entry.finding, *entry.source, entry.pending, entry.keep_firing_for});
    }
  }
  const Status written = store.write(changed, forgotten, clock.wall());
  bool complain = false;
  {
    const std::lock_guard guard(mutex);
    writing = false;
    complain = !written && !write_failed;
    write_failed = !written;
    if (!written) dirty.merge(batch);
  }
  if (!written) write_errors.add();
  if (complain) log::error("analyze", "findings are not saved: {}", written.error().message());
}

Book::Book(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Book::~Book() {
  impl_->flush();
}

Result<std::unique_ptr<Book>> Book::open(Clock& clock, knowledge::StateDb& db,
                                         knowledge::SelfMetrics& self, std::size_t max_findings) {
  auto store = BookStore::open(db);
  if (!store) return propagate(std::move(store));
  auto loaded = store->load();
  if (!loaded) return propagate(std::move(loaded));
  if (loaded->damaged > 0)
    log::warning("analyze", "{} saved findings were unreadable", loaded->damaged);
  auto impl = std::make_unique<Impl>(clock, *store, self, max_findings);
  impl->restore(std::move(*loaded));
  return std::unique_ptr<Book>(new Book(std::move(impl)));
}

void Book::observe(std::string_view source, const std::vector<Observation>& seen) {
  {
    const std::lock_guard guard(impl_->mutex);
    ++impl_->passes;
    for (const Observation& observation : seen) impl_->see(source, observation);
    std::vector<Entry*> gone;
    const auto found = impl_->sources.find(std::string(source));
    if (found != impl_->sources.end()) {
      for (Entry* entry : found->second) {
        if (entry->pass != impl_->passes) gone.push_back(entry);
      }
    }
    for (Entry* entry : gone) impl_->unsee(*entry);
  }
  impl_->deliver();
}

void Book::report(std::string_view source, const Observation& seen) {
  {
    const std::lock_guard guard(impl_->mutex);
    ++impl_->passes;
    impl_->see(source, seen);
  }
  impl_->deliver();
}

void Book::clear(std::string_view source, std::string_view fingerprint) {
  {
    const std::lock_guard guard(impl_->mutex);
    const auto found = impl_->entries.find(std::string(fingerprint));
    if (found == impl_->entries.end() || *found->second->source != source) return;
    found->second->restored_until.reset();
    impl_->unsee(*found->second);
  }
  impl_->deliver();
}

void Book::retire(const std::function<bool(std::string_view source)>& is_gone) {
  std::vector<std::string> names;
  {
    const std::lock_guard guard(impl_->mutex);
    for (const auto& [name, entries] : impl_->sources) names.push_back(name);
  }
  std::erase_if(names, [&](const std::string& name) { return !is_gone(name); });
  {
    const std::lock_guard guard(impl_->mutex);
    for (const std::string& name : names) {
      const auto found = impl_->sources.find(name);
      if (found == impl_->sources.end()) continue;
      for (Entry* entry : std::vector<Entry*>(found->second.begin(), found->second.end())) {
        entry->restored_until.reset();
        entry->keep_firing_for = Millis(0);
        impl_->unsee(*entry);
      }
    }
  }
  impl_->deliver();
}

void Book::tick() {
  {
    const std::lock_guard guard(impl_->mutex);
    std::vector<Entry*> live;
    for (const auto& [print, entry] : impl_->entries) {
      if (entry->finding.state != FindingState::kResolved) live.push_back(entry.get());
    }
    for (Entry* entry : live) {
      if (entry->restored_until && impl_->clock.steady() >= *entry->restored_until) {
        impl_->unsee(*entry);
      } else {
        impl_->settle(*entry);
      }
    }
    impl_->forget_resolved();
  }
  impl_->deliver();
  impl_->flush();
}

void Book::subscribe(Listener listener) {
  const std::lock_guard guard(impl_->mutex);
  auto next = std::make_shared<std::vector<Listener>>(*impl_->listeners);
  next->push_back(std::move(listener));
  impl_->listeners = std::move(next);
}

std::shared_ptr<const Findings> Book::snapshot() const {
  const std::lock_guard guard(impl_->mutex);
  if (impl_->cached) return impl_->cached;
  std::vector<const Entry*> order;
  order.reserve(impl_->entries.size());
  for (const auto& [print, entry] : impl_->entries) order.push_back(entry.get());
  std::sort(order.begin(), order.end(),
            [](const Entry* a, const Entry* b) { return a->transition > b->transition; });
  auto findings = std::make_shared<Findings>();
  findings->reserve(order.size());
  for (const Entry* entry : order) findings->push_back(entry->finding);
  impl_->cached = std::move(findings);
  return impl_->cached;
}

}  // namespace nexus::analyze
