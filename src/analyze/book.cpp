#include "nexus/analyze/book.hpp"

#include <algorithm>
#include <mutex>

#include "analyze/book_store.hpp"
#include "analyze/change_log.hpp"
#include "analyze/ledger.hpp"
#include "analyze/relations.hpp"
#include "nexus/base/log.hpp"

namespace nexus::analyze {
namespace {

/// How often a book with findings notes in the database that it is alive.
constexpr Millis kAliveEvery{60'000};

}  // namespace

struct Book::Impl {
  Impl(Clock& c, knowledge::StateDb& d, BookStore s, ChangeLog log,
       knowledge::SelfMetrics& the_self, std::size_t max_findings)
      : clock(c),
        db(d),
        store(s),
        self(the_self),
        happened(std::move(log)),
        ledger(c, self, max_findings),
        write_errors(self.counter("nexus_findings_write_errors_total",
                                  "Failed writes of findings to the state database")) {}

  void deliver();
  bool deliver_one(std::unique_lock<std::mutex>& lock);
  void flush();
  void flush_changes();

  Clock& clock;
  knowledge::StateDb& db;
  BookStore store;
  knowledge::SelfMetrics& self;

  std::mutex mutex;  // guards all below but the counter
  ChangeLog happened;
  Ledger ledger;
  std::shared_ptr<const Dependencies> needs;
  std::shared_ptr<const std::vector<Listener>> listeners =
      std::make_shared<const std::vector<Listener>>();
  bool delivering = false;
  bool writing = false;
  bool write_failed = false;
  bool changes_failed = false;
  SteadyTime next_alive{};

  knowledge::Counter write_errors;
};

void Book::Impl::deliver() {
  std::vector<std::string> complaints;
  {
    std::unique_lock lock(mutex);
    complaints = ledger.take_complaints();
    // One thread at a time delivers, so that nobody hears of an end before its beginning; it takes
    // along what others, or the listeners themselves, add meanwhile.
    if (!delivering) {
      delivering = true;
      while (deliver_one(lock)) continue;
      delivering = false;
    }
  }
  for (const std::string& complaint : complaints) log::warning("analyze", "{}", complaint);
}

/// Listeners find causes and what changed beside what they are told of. False: nothing was left.
bool Book::Impl::deliver_one(std::unique_lock<std::mutex>& lock) {
  if (const auto question = ledger.ask(needs, happened.snapshot())) {
    // Not under the lock: hundreds of findings and thousands of edges take their time.
    lock.unlock();
    auto answer = relate(*question);
    lock.lock();
    ledger.heed(*question, std::move(answer));
  }
  const auto finding = ledger.next_transition();
  if (!finding) return false;
  const auto to = listeners;
  lock.unlock();
  for (const Listener& listener : *to) listener(*finding);
  lock.lock();
  return true;
}

void Book::Impl::flush() {
  Ledger::Changes changes;
  {
    const std::lock_guard guard(mutex);
    if (writing) return;
    changes = ledger.take_changes();
    const bool alive_due = !ledger.empty() && clock.steady() >= next_alive;
    if (changes.empty() && !alive_due) return;
    writing = true;
    next_alive = clock.steady() + kAliveEvery;
  }
  const Status written = store.write(changes.changed, changes.forgotten, clock.wall());
  bool complain = false;
  {
    const std::lock_guard guard(mutex);
    writing = false;
    complain = !written && !write_failed;
    write_failed = !written;
    if (!written) ledger.put_back(changes);
  }
  if (!written) write_errors.add();
  if (complain) log::error("analyze", "findings are not saved: {}", written.error().message());
}

void Book::Impl::flush_changes() {
  Changes fresh;
  {
    const std::lock_guard guard(mutex);
    fresh = happened.take_pending();
  }
  if (fresh.empty()) return;
  const Status written = ChangeLog::write(db, fresh);
  bool complain = false;
  {
    const std::lock_guard guard(mutex);
    complain = !written && !changes_failed;
    changes_failed = !written;
    if (!written) happened.put_back(std::move(fresh));
  }
  if (!written) write_errors.add();
  if (complain) log::error("analyze", "changes are not saved: {}", written.error().message());
}

Book::Book(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Book::~Book() {
  impl_->flush();
  impl_->flush_changes();
}

Result<std::unique_ptr<Book>> Book::open(Clock& clock, knowledge::StateDb& db,
                                         knowledge::SelfMetrics& self, std::size_t max_findings) {
  auto store = BookStore::open(db);
  if (!store) return propagate(std::move(store));
  auto loaded = store->load();
  if (!loaded) return propagate(std::move(loaded));
  if (loaded->damaged > 0) {
    log::warning("analyze", "{} saved findings were unreadable", loaded->damaged);
  }
  auto changes = ChangeLog::open(db);
  if (!changes) return propagate(std::move(changes));
  auto impl = std::make_unique<Impl>(clock, db, *store, std::move(*changes), self, max_findings);
  impl->ledger.restore(std::move(*loaded));
  return std::unique_ptr<Book>(new Book(std::move(impl)));
}

void Book::observe(std::string_view source, const std::vector<Observation>& seen,
                   const std::vector<Held>& held) {
  {
    const std::lock_guard guard(impl_->mutex);
    impl_->ledger.observe(source, seen, held);
  }
  impl_->deliver();
}

Findings Book::of(std::string_view source) const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->ledger.of(source);
}

void Book::set_graph(std::shared_ptr<const Graph> graph) {
  auto needs = graph ? std::make_shared<const Dependencies>(*graph) : nullptr;
  graph.reset();
  {
    const std::lock_guard guard(impl_->mutex);
    impl_->needs.swap(needs);
  }
  impl_->deliver();
}

void Book::note_action(std::string_view fingerprint, FindingAction action) {
  const std::lock_guard guard(impl_->mutex);
  impl_->ledger.note_action(fingerprint, std::move(action));
}

void Book::report(std::string_view source, const Observation& seen) {
  {
    const std::lock_guard guard(impl_->mutex);
    impl_->ledger.report(source, seen);
  }
  impl_->deliver();
}

void Book::clear(std::string_view source, std::string_view fingerprint) {
  {
    const std::lock_guard guard(impl_->mutex);
    impl_->ledger.clear(source, fingerprint);
  }
  impl_->deliver();
}

void Book::doubt(std::string_view source) {
  const std::lock_guard guard(impl_->mutex);
  impl_->ledger.doubt(source);
}

void Book::retire(const std::function<bool(std::string_view source)>& is_gone) {
  std::vector<std::string> sources;
  {
    const std::lock_guard guard(impl_->mutex);
    sources = impl_->ledger.sources();
  }
  std::erase_if(sources, [&](const std::string& source) { return !is_gone(source); });
  {
    const std::lock_guard guard(impl_->mutex);
    for (const std::string& source : sources) impl_->ledger.retire(source);
  }
  impl_->deliver();
}

void Book::tick() {
  {
    const std::lock_guard guard(impl_->mutex);
    impl_->ledger.tick();
  }
  impl_->deliver();
  impl_->flush();
  impl_->flush_changes();
}

void Book::note(Change change) {
  const std::string kind = find_change_kind(change.kind) != nullptr ? change.kind : "other";
  {
    const std::lock_guard guard(impl_->mutex);
    if (!impl_->happened.note(std::move(change))) return;
  }
  impl_->self
      .counter("nexus_changes_total", "Changes of the host that were noticed", {{"kind", kind}})
      .add();
}

std::shared_ptr<const Changes> Book::changes() const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->happened.snapshot();
}

void Book::subscribe(Listener listener) {
  const std::lock_guard guard(impl_->mutex);
  auto next = std::make_shared<std::vector<Listener>>(*impl_->listeners);
  next->push_back(std::move(listener));
  impl_->listeners = std::move(next);
}

std::shared_ptr<const Findings> Book::snapshot() const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->ledger.snapshot();
}

std::optional<Finding> Book::find(std::string_view fingerprint) const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->ledger.find(fingerprint);
}

}  // namespace nexus::analyze
