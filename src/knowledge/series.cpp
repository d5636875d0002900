#include "nexus/knowledge/series.hpp"

#include <algorithm>
#include <atomic>
#include <deque>
#include <limits>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "knowledge/hash.hpp"
#include "knowledge/series_index.hpp"
#include "knowledge/series_store.hpp"

namespace nexus::knowledge {
namespace {

constexpr FamilyId kNoFamily = std::numeric_limits<FamilyId>::max();
constexpr std::uint32_t kMostVersions = 16;  // of a family: callers that disagree end there

/// Whether a caller's type is another one; kUntyped is none.
bool differs(const Family& known, MetricType type) {
  return type != MetricType::kUntyped && type != known.type;
}

/// Labels as a collector gives them: in any order, the metric's name apart.
struct Given {
  std::string_view metric;
  std::span<const LabelView> labels;

  [[nodiscard]] std::uint64_t hash() const noexcept {
    std::uint64_t sum = label_hash(kMetricName, metric);
    for (const LabelView& label : labels) {
      if (!label.value.empty()) sum += label_hash(label.name, label.value);
    }
    return sum;
  }
  /// Never true for labels that Labels would have changed (doubled names, bad UTF-8): those take
  /// the slow way.
  [[nodiscard]] bool equals(const Labels& stored) const noexcept {
    std::size_t present = 1;
    for (const LabelView& label : labels) {
      if (stored.get(label.name) != label.value) return false;
      if (!label.value.empty()) ++present;
    }
    return present == stored.size() && stored.metric() == metric;
  }
};

}  // namespace

std::string_view to_string(MetricType type) noexcept {
  switch (type) {
    case MetricType::kUntyped:
      return "untyped";
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
    case MetricType::kSummary:
      return "summary";
  }
  return "untyped";
}

struct SeriesRegistry::State {
  explicit State(std::size_t max) : max_series(max), store(max) {}

  [[nodiscard]] auto hash_of() const {
    return [this](SeriesId id) { return store.find(id)->hash; };
  }
  /// A series that was found is spared by forget() for a while: the caller is about to use it.
  template <typename Equal>
  [[nodiscard]] std::optional<SeriesId> find(std::uint64_t hash, const Equal& equal) const {
    const auto id =
        index.find(hash, hash_of(), [&](SeriesId one) { return equal(store.find(one)->labels); });
    if (id) store.find(*id)->asked.store(round, std::memory_order_relaxed);
    return id;
  }
  FamilyId add_family(std::string_view name, MetricType type, std::string_view help);
  Result<SeriesId> add(FamilyId family, Labels labels);

  const std::size_t max_series;
  mutable std::shared_mutex mutex;  // guards all but the stored series and the counters
  struct Known {
    const Family* now;           // in `families`
    std::uint32_t versions = 1;  // how many there have been
  };
  std::deque<Family> families;                                    // each as it was, too
  std::vector<Known> by_id;                                       // by FamilyId
  std::unordered_map<std::string_view, FamilyId> family_by_name;  // keys view `families`
  SeriesStore store;
  HashIndex index;
  LabelIndex by_label;
  std::uint32_t round = 1;
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> forgotten{0};
};

FamilyId SeriesRegistry::State::add_family(std::string_view name, MetricType type,
                                           std::string_view help) {
  if (const auto found = family_by_name.find(name); found != family_by_name.end()) {
    Known& known = by_id[found->second];
    if (!differs(*known.now, type) || known.versions >= kMostVersions) return found->second;
    families.push_back({known.now->name, type, help.empty() ? known.now->help : std::string(help)});
    known = {&families.back(), known.versions + 1};
    return found->second;
  }
  if (by_id.size() >= max_series) return kNoFamily;
  families.push_back({std::string(name), type, std::string(help)});
  by_id.push_back({&families.back()});
  const auto id = static_cast<FamilyId>(by_id.size() - 1);
  family_by_name.emplace(families.back().name, id);
  return id;
}

Result<SeriesId> SeriesRegistry::State::add(FamilyId family, Labels labels) {
  const std::uint64_t hash = labels.hash();
  if (const auto known = find(hash, [&](const Labels& other) { return other == labels; })) {
    return *known;
  }
  if (family == kNoFamily || store.size() >= max_series) {
    refused.fetch_add(1, std::memory_order_relaxed);
    return fail(Errc::kExhausted, "series {}: the limit of {} series is reached", to_string(labels),
                max_series);
  }
  const Series& series = store.add(std::move(labels), hash, family, round);
  index.add(series.id, hash_of());
  by_label.add(series.id, series.labels);
  return series.id;
}

SeriesRegistry::SeriesRegistry(std::size_t max_series)
    : state_(std::make_unique<State>(max_series)) {}
SeriesRegistry::~SeriesRegistry() = default;

FamilyId SeriesRegistry::family(std::string_view name, MetricType type, std::string_view help) {
  {
    const std::shared_lock guard(state_->mutex);
    const auto found = state_->family_by_name.find(name);
    if (found != state_->family_by_name.end()) {
      const State::Known& known = state_->by_id[found->second];
      if (!differs(*known.now, type) || known.versions >= kMostVersions) return found->second;
    }
  }
  const std::unique_lock guard(state_->mutex);
  return state_->add_family(name, type, help);
}

const Family& SeriesRegistry::family(FamilyId id) const {
  static const Family unnamed;
  if (id == kNoFamily) return unnamed;
  const std::shared_lock guard(state_->mutex);
  NEXUS_CHECK(id < state_->by_id.size());
  return *state_->by_id[id].now;
}

std::size_t SeriesRegistry::families() const {
  const std::shared_lock guard(state_->mutex);
  return state_->by_id.size();
}

Result<SeriesId> SeriesRegistry::intern(FamilyId family_id, std::span<const LabelView> labels,
                                        std::string_view metric) {
  Given given{metric, labels};
  {
    const std::shared_lock guard(state_->mutex);
    if (metric.empty() && family_id != kNoFamily) {
      NEXUS_CHECK(family_id < state_->by_id.size());
      given.metric = state_->by_id[family_id].now->name;
    }
    const auto known =
        state_->find(given.hash(), [&](const Labels& stored) { return given.equals(stored); });
    if (known) return *known;
  }
  Labels canonical(given.metric, labels);
  const std::unique_lock guard(state_->mutex);
  return state_->add(family_id, std::move(canonical));
}

Result<SeriesId> SeriesRegistry::intern(const Labels& labels) {
  {
    const std::uint64_t hash = labels.hash();
    const std::shared_lock guard(state_->mutex);
    const auto known = state_->find(hash, [&](const Labels& stored) { return stored == labels; });
    if (known) return *known;
  }
  const std::string_view metric = labels.metric();
  if (metric.empty()) {
    return fail(Errc::kInvalidArgument, "series {}: it has no metric name", to_string(labels));
  }
  const std::unique_lock guard(state_->mutex);
  return state_->add(state_->add_family(metric, MetricType::kUntyped, ""), labels);
}

const Labels& SeriesRegistry::labels(SeriesId id) const {
  static const Labels none;
  const Series* series = state_->store.find(id);
  return series == nullptr ? none : series->labels;
}

FamilyId SeriesRegistry::family_of(SeriesId id) const {
  const Series* series = state_->store.find(id);
  return series == nullptr ? kNoFamily : series->family;
}

std::shared_ptr<const Labels> SeriesRegistry::share(SeriesId id) const {
  const std::shared_lock guard(state_->mutex);
  return state_->store.share(id);
}

bool SeriesRegistry::known(SeriesId id) const noexcept {
  return state_->store.find(id) != nullptr;
}

std::size_t SeriesRegistry::place(SeriesId id) const noexcept {
  return state_->store.place(id);
}

std::vector<SeriesId> SeriesRegistry::select(std::span<const Matcher> matchers) const {
  std::vector<SeriesId> ids;
  std::shared_ptr<const void> pinned;
  {
    const std::shared_lock guard(state_->mutex);
    pinned = state_->store.pin();
    if (const std::vector<SeriesId>* list = state_->by_label.shortest(matchers)) {
      ids = *list;
    } else {
      ids.reserve(state_->store.size());
      for (std::size_t place = 0; place < state_->store.places(); ++place) {
        if (const Series* series = state_->store.in(place)) ids.push_back(series->id);
      }
      std::ranges::sort(ids);
    }
  }
  // Outside the lock: regular expressions may take long, and stored labels never change.
  std::erase_if(ids, [&](SeriesId id) {
    const Series* series = state_->store.find(id);
    return series == nullptr || !std::ranges::all_of(matchers, [&](const Matcher& m) {
             return m.matches(series->labels);
           });
  });
  return ids;
}

std::shared_ptr<const void> SeriesRegistry::pin() const {
  const std::shared_lock guard(state_->mutex);
  return state_->store.pin();
}

void SeriesRegistry::forget(std::vector<SeriesId>& ids) {
  State& s = *state_;
  std::shared_ptr<const void> old;  // freed after the lock
  const std::unique_lock guard(s.mutex);
  std::vector<const Labels*> leaving;
  std::erase_if(ids, [&](SeriesId id) {
    const Series* series = s.store.find(id);
    if (series == nullptr || series->asked.load(std::memory_order_relaxed) + 1 >= s.round) {
      return true;
    }
    leaving.push_back(&series->labels);
    s.index.remove(id, s.hash_of());
    s.store.remove(id);
    return false;
  });
  if (!ids.empty()) {
    s.by_label.remove(leaving, [&](SeriesId id) { return s.store.find(id) == nullptr; });
  }
  old = s.store.end_epoch();
  ++s.round;
  s.forgotten.fetch_add(ids.size(), std::memory_order_release);
}

std::uint64_t SeriesRegistry::forgotten() const noexcept {
  return state_->forgotten.load(std::memory_order_acquire);
}

std::size_t SeriesRegistry::size() const {
  return state_->store.size();
}

std::size_t SeriesRegistry::limit() const noexcept {
  return state_->max_series;
}

std::uint64_t SeriesRegistry::refused() const {
  return state_->refused.load(std::memory_order_relaxed);
}

}  // namespace nexus::knowledge
