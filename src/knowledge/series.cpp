#include "nexus/knowledge/series.hpp"

#include <algorithm>
#include <atomic>
#include <deque>
#include <limits>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <unordered_map>

#include "knowledge/chunked.hpp"
#include "knowledge/hash.hpp"

namespace nexus::knowledge {
namespace {

constexpr FamilyId kNoFamily = std::numeric_limits<FamilyId>::max();

struct Series {
  Labels labels;
  std::uint64_t hash = 0;
  FamilyId family = 0;
};

/// Series at fixed addresses. Written under the registry's lock; at() needs none for an id that was
/// handed out.
class SeriesStore {
 public:
  explicit SeriesStore(std::size_t max) : series_(max) {}

  [[nodiscard]] const Series& at(SeriesId id) const {
    NEXUS_CHECK(id < size());
    return series_.at(id);
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_.load(std::memory_order_acquire); }

  SeriesId add(Series series) {
    const std::size_t id = size_.load(std::memory_order_relaxed);
    series_.make(id) = std::move(series);
    size_.store(id + 1, std::memory_order_release);
    return static_cast<SeriesId>(id);
  }

 private:
  ChunkedArray<Series> series_;
  std::atomic<std::size_t> size_{0};
};

/// Open addressing with linear probing; slots hold id + 1.
class HashIndex {
 public:
  /// The first id whose hash fits and for which `equal` holds.
  template <typename HashOf, typename Equal>
  [[nodiscard]] std::optional<SeriesId> find(std::uint64_t hash, const HashOf& hash_of,
                                             const Equal& equal) const {
    for (std::size_t i = hash & mask();; i = (i + 1) & mask()) {
      const std::uint32_t slot = slots_[i];
      if (slot == 0) return std::nullopt;
      if (hash_of(slot - 1) == hash && equal(slot - 1)) return slot - 1;
    }
  }

  template <typename HashOf>
  void add(SeriesId id, const HashOf& hash_of) {
    if ((used_ + 1) * 2 > slots_.size()) {
      std::vector<std::uint32_t> old = std::exchange(slots_, {});
      slots_.resize(old.size() * 2);
      for (const std::uint32_t slot : old) {
        if (slot != 0) place(slot - 1, hash_of(slot - 1));
      }
    }
    place(id, hash_of(id));
    ++used_;
  }

 private:
  [[nodiscard]] std::size_t mask() const noexcept { return slots_.size() - 1; }
  void place(SeriesId id, std::uint64_t hash) {
    std::size_t i = hash & mask();
    while (slots_[i] != 0) i = (i + 1) & mask();
    slots_[i] = id + 1;
  }

  std::vector<std::uint32_t> slots_ = std::vector<std::uint32_t>(1024);
  std::size_t used_ = 0;
};

/// Of one label name: which series have it, and with which value. Ids ascend. Keys view the stored
/// labels.
struct Postings {
  std::vector<SeriesId> all;
  std::unordered_map<std::string_view, std::vector<SeriesId>> by_value;
};

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
    return [this](SeriesId id) { return store.at(id).hash; };
  }
  template <typename Equal>
  [[nodiscard]] std::optional<SeriesId> find(std::uint64_t hash, const Equal& equal) const {
    return index.find(hash, hash_of(), [&](SeriesId id) { return equal(store.at(id).labels); });
  }
  FamilyId add_family(std::string_view name, MetricType type, std::string_view help);
  Result<SeriesId> add(FamilyId family, Labels labels);
  [[nodiscard]] const std::vector<SeriesId>* shortest(std::span<const Matcher> matchers) const;

  const std::size_t max_series;
  mutable std::shared_mutex mutex;  // guards all but the stored series and the counter
  std::deque<Family> families;
  std::unordered_map<std::string_view, FamilyId> family_by_name;  // keys view `families`
  SeriesStore store;
  HashIndex index;
  std::unordered_map<std::string_view, Postings> postings;
  std::vector<SeriesId> none;
  std::atomic<std::uint64_t> refused{0};
};

FamilyId SeriesRegistry::State::add_family(std::string_view name, MetricType type,
                                           std::string_view help) {
  if (const auto found = family_by_name.find(name); found != family_by_name.end()) {
    return found->second;
  }
  if (families.size() >= max_series) return kNoFamily;
  families.push_back({std::string(name), type, std::string(help)});
  const auto id = static_cast<FamilyId>(families.size() - 1);
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
  const SeriesId id = store.add({std::move(labels), hash, family});
  index.add(id, hash_of());
  for (const Label& label : store.at(id).labels) {
    Postings& of_name = postings[label.name];
    of_name.all.push_back(id);
    of_name.by_value[label.value].push_back(id);
  }
  return id;
}

/// The shortest list that holds every series satisfying all matchers; nullptr when only "all
/// series" does.
const std::vector<SeriesId>* SeriesRegistry::State::shortest(
    std::span<const Matcher> matchers) const {
  const std::vector<SeriesId>* best = nullptr;
  for (const Matcher& matcher : matchers) {
    if (matcher.matches(std::string_view())) continue;  // series without the label satisfy it too
    const auto of_name = postings.find(matcher.name());
    if (of_name == postings.end()) return &none;
    const std::vector<SeriesId>* list = &of_name->second.all;
    if (matcher.op() == MatchOp::kEqual) {
      const auto of_value = of_name->second.by_value.find(matcher.value());
      if (of_value == of_name->second.by_value.end()) return &none;
      list = &of_value->second;
    }
    if (best == nullptr || list->size() < best->size()) best = list;
  }
  return best;
}

SeriesRegistry::SeriesRegistry(std::size_t max_series)
    : state_(std::make_unique<State>(max_series)) {}
SeriesRegistry::~SeriesRegistry() = default;

FamilyId SeriesRegistry::family(std::string_view name, MetricType type, std::string_view help) {
  {
    const std::shared_lock guard(state_->mutex);
    const auto found = state_->family_by_name.find(name);
    if (found != state_->family_by_name.end()) return found->second;
  }
  const std::unique_lock guard(state_->mutex);
  return state_->add_family(name, type, help);
}

const Family& SeriesRegistry::family(FamilyId id) const {
  static const Family unnamed;
  if (id == kNoFamily) return unnamed;
  const std::shared_lock guard(state_->mutex);
  NEXUS_CHECK(id < state_->families.size());
  return state_->families[id];
}

std::size_t SeriesRegistry::families() const {
  const std::shared_lock guard(state_->mutex);
  return state_->families.size();
}

Result<SeriesId> SeriesRegistry::intern(FamilyId family_id, std::span<const LabelView> labels,
                                        std::string_view metric) {
  Given given{metric, labels};
  {
    const std::shared_lock guard(state_->mutex);
    if (metric.empty() && family_id != kNoFamily) {
      NEXUS_CHECK(family_id < state_->families.size());
      given.metric = state_->families[family_id].name;
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
  return state_->store.at(id).labels;
}

FamilyId SeriesRegistry::family_of(SeriesId id) const {
  return state_->store.at(id).family;
}

std::vector<SeriesId> SeriesRegistry::select(std::span<const Matcher> matchers) const {
  std::vector<SeriesId> ids;
  {
    const std::shared_lock guard(state_->mutex);
    if (const std::vector<SeriesId>* list = state_->shortest(matchers)) {
      ids = *list;
    } else {
      ids.resize(state_->store.size());
      for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<SeriesId>(i);
    }
  }
  // Outside the lock: regular expressions may take long, and stored labels never change.
  std::erase_if(ids, [&](SeriesId id) {
    const Labels& labels = state_->store.at(id).labels;
    return !std::ranges::all_of(matchers, [&](const Matcher& m) { return m.matches(labels); });
  });
  return ids;
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
