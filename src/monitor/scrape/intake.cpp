#include "monitor/scrape/intake.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "nexus/knowledge/queryable.hpp"
#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {
namespace {

constexpr std::uint32_t kNone = UINT32_MAX;
constexpr std::int64_t kMostAhead = 10 * 60'000;  // ms: Prometheus's bound too
constexpr std::size_t kFewDead = 1024;
constexpr std::size_t kLongestTyped = 512;  // bytes of a family's name
constexpr std::size_t kLabelUnit = 64;      // bytes
constexpr std::size_t kFewTimed = 10'000;

/// The family of a metric: x_bucket belongs to the histogram x.
bool belongs_to(std::string_view metric, std::string_view family, knowledge::MetricType type) {
  if (!metric.starts_with(family)) return false;
  const auto suffix = metric.substr(family.size());
  if (suffix.empty()) return true;
  if (type == knowledge::MetricType::kHistogram)
    return suffix == "_bucket" || suffix == "_sum" || suffix == "_count";
  if (type == knowledge::MetricType::kSummary) return suffix == "_sum" || suffix == "_count";
  return false;
}

/// Whether a collector has a metric of that name.
bool is_own_metric(std::string_view name) {
  static const auto kOwn = [] {
    std::pair<std::set<std::string_view>, std::set<std::string_view>> out;  // whole, prefixes
    for (const CollectorDescriptor* collector : collectors()) {
      for (const MetricDescriptor& metric : collector->metrics) {
        const bool many = metric.name.ends_with('*');
        (many ? out.second : out.first)
            .insert(many ? metric.name.substr(0, metric.name.size() - 1) : metric.name);
      }
    }
    return out;
  }();
  return kOwn.first.contains(name) ||
         std::ranges::any_of(kOwn.second,
                             [&](std::string_view prefix) { return name.starts_with(prefix); });
}

std::size_t label_units_of(const LabelList& labels) {
  std::size_t bytes = 0;
  for (const auto& label : labels) bytes += label.name.size() + label.value.size();
  return (bytes + kLabelUnit - 1) / kLabelUnit;
}

}  // namespace

Intake::Intake(knowledge::SeriesRegistry& registry, const knowledge::History& history,
               Outbox& outbox, IntakeRules rules)
    : registry_(registry),
      history_(history),
      outbox_(outbox),
      rules_(std::move(rules)),
      slots_(64),
      forgotten_(registry.forgotten()) {}

Intake::~Intake() {
  for (const auto group : groups_) outbox_.groups().give(group);
  outbox_.series().give(series_);
}

void Intake::begin(knowledge::ExpositionFormat format, std::int64_t now) {
  ++round_;
  // Two in one millisecond would be one too many for the history.
  now_ = now > now_ || now < now_ - 1000 ? now : now_ + 1;
  next_ = 0;
  seen_ = 0;
  counts_ = {};
  failure_.clear();
  only_counts_ = false;
  timed_samples_.clear();
  family_.clear();
  helped_.clear();
  format_ = format;
  reader_.emplace(format, static_cast<knowledge::ExpositionHandler&>(*this));
  if (const auto forgotten = registry_.forgotten();
      std::exchange(forgotten_, forgotten) != forgotten)
    forget_gone();
}

bool Intake::feed(std::string_view bytes) {
  if (!failure_.empty() && !only_counts_) return false;
  reader_->feed(bytes);
  return failure_.empty() || only_counts_;
}

Status Intake::finish() {
  reader_->finish();
  if (!failure_.empty()) return fail(Errc::kExhausted, "{}", failure_);
  if (format_ == knowledge::ExpositionFormat::kOpenMetrics && !reader_->ended())
    return fail(Errc::kCorrupt, "the text ends without # EOF: it is truncated");
  if (counts_.scraped == 0 && counts_.invalid > 0)
    return fail(Errc::kCorrupt, "no line is a sample; {}", counts_.first_mistake);
  return {};
}

void Intake::on_type(std::string_view family, knowledge::MetricType type) {
  family_ = family;
  type_ = type;
  // Families stay in the registry for good; the label budget sees names of samples only.
  if (family.size() > kLongestTyped) return;
  const auto known = types_.find(family_);
  if (known != types_.end() && known->second == type) return;
  const bool fresh = known == types_.end();
  if (fresh && types_.size() >= rules_.budget) return;
  types_.insert_or_assign(family_, type);
  // Series that are known are not looked up again: their family learns it here.
  if (!fresh || round_ > 1) static_cast<void>(family_for(full_name()));
}

void Intake::on_help(std::string_view family, std::string_view help) {
  helped_ = family;
  help_ = help.substr(0, 1024);
}

void Intake::on_mistake(std::uint64_t line, const std::string& message) {
  ++counts_.invalid;
  if (counts_.first_mistake.empty())
    counts_.first_mistake = fmt::format("line {}: {}", line, message);
}

Status Intake::on_sample(const knowledge::ExpositionSample& sample) {
  if (only_counts_) return count(sample.head);
  if (!failure_.empty()) return {};
  const auto key = knowledge::key_of(sample.head);
  std::uint32_t at = find(key);
  if (at == kNone) {
    auto added = add(sample.head, key);
    if (!added) return std::unexpected(added.error());
    at = *added;
  }
  next_ = at + 1;
  Entry* entry = &entries_[at];
  if (entry->kind != Kind::kSeries) entry->seen = round_;
  if (entry->kind == Kind::kInvalid) {  // parsed anew for its message: they are rare
    auto labels = labels_for(sample.head);
    return labels ? Status() : refuse(std::move(labels).error());
  }
  ++counts_.scraped;
  if (entry->kind == Kind::kDropped) return {};
  ++counts_.kept;
  if (rules_.sample_limit > 0 && counts_.kept > rules_.sample_limit) {
    failure_ = fmt::format("more than sample_limit = {} samples", rules_.sample_limit);
    only_counts_ = true;
    return {};
  }
  if (entry->kind == Kind::kOver) {
    ++counts_.dropped;
    return {};
  }
  if (entry->kind == Kind::kAlias) {
    at = entry->other;
    entry = &entries_[at];
  }
  const bool first = entry->seen != round_;
  if (first && rules_.replaces && over_budget()) {
    ++counts_.dropped;
    return {};
  }
  if (first) {
    ++seen_;
    if (entry->seen == 0 || entry->seen < committed_) ++counts_.added;
  }
  if (sample.time && rules_.honor_timestamps) {
    entry->seen = round_;
    entry->timed = true;
    if (!rules_.replaces) times_[at] = now_;
    if (timed_samples_.size() < kFewTimed + rules_.budget * 4) {
      timed_samples_.push_back({entry->id, *sample.time, sample.value});
    } else {
      ++counts_.dropped;
    }
    return {};
  }
  if (!first) {
    ++counts_.doubled;
    return {};
  }
  entry->seen = round_;
  entry->timed = false;
  values_[at] = sample.value;
  if (!rules_.replaces) times_[at] = now_;
  ++counts_.taken;
  return {};
}

/// Once sample_limit is exceeded: how many it would have been, as Prometheus reports it.
Status Intake::count(std::string_view head) {
  const auto labels = labels_for(head);
  if (!labels) return {};
  ++counts_.scraped;
  if (!labels->empty()) ++counts_.kept;
  return {};
}

/// Whether the labels of one more series fit.
bool Intake::fits(std::size_t units) const noexcept {
  return units * kLabelUnit <= kMostLabelBytes &&
         (label_units_ + units) * kLabelUnit <=
             kFewDead * kLabelUnit + rules_.budget * kMeanLabelBytes;
}

/// What replaces counts the series of this scrape, whatever was there before.
bool Intake::over_budget() const noexcept {
  return (rules_.replaces ? seen_ : series_) >= rules_.budget;
}

std::uint32_t Intake::find(const knowledge::HeadKey& key) {
  if (next_ < entries_.size() && entries_[next_].key == key) return next_;
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t i = key.first & mask;; i = (i + 1) & mask) {
    if (slots_[i] == 0) return kNone;
    if (entries_[slots_[i] - 1].key == key) return slots_[i] - 1;
  }
}

void Intake::index(std::uint32_t entry) {
  if ((entries_.size() + 1) * 2 > slots_.size()) {
    slots_.assign(slots_.size() * 2, 0);
    for (std::uint32_t i = 0; i < entries_.size(); ++i) {
      if (i != entry) index(i);
    }
  }
  const std::size_t mask = slots_.size() - 1;
  std::size_t i = entries_[entry].key.first & mask;
  while (slots_[i] != 0) i = (i + 1) & mask;
  slots_[i] = entry + 1;
}

Result<std::uint32_t> Intake::add(std::string_view head, const knowledge::HeadKey& key) {
  // Heads beyond the budget are remembered too, so that they cost no more than others; but not
  // without end.
  if (entries_.size() > rules_.budget * 2 + kFewDead) {
    return fail(Errc::kInvalidArgument, "more than twice as many series as max_series = {}",
                rules_.budget);
  }
  Entry entry{.key = key};
  auto labels = labels_for(head);
  if (!labels) {
    entry.kind = Kind::kInvalid;
  } else if (labels->empty()) {
    entry.kind = Kind::kDropped;
  } else if (over_budget()) {
    entry.kind = Kind::kOver;
  } else if (const std::size_t units = label_units_of(*labels); !fits(units)) {
    entry.kind = Kind::kOver;
  } else if (!outbox_.series().take()) {
    entry.kind = Kind::kOver;
  } else if (const auto id = intern(*labels); !id) {
    outbox_.series().give(1);
    entry.kind = Kind::kOver;
  } else {
    const auto [owner, fresh] =
        owners_.try_emplace(*id, static_cast<std::uint32_t>(entries_.size()));
    if (!fresh) outbox_.series().give(1);
    if (fresh) {
      entry.label_units = static_cast<std::uint8_t>(units);
      label_units_ += units;
    }
    entry.kind = fresh ? Kind::kSeries : Kind::kAlias;
    entry.id = *id;
    entry.other = owner->second;
    if (fresh) ++series_;
  }
  const auto at = static_cast<std::uint32_t>(entries_.size());
  entries_.push_back(entry);
  values_.push_back(0);
  if (!rules_.replaces) times_.push_back(0);
  index(at);
  return at;
}

/// What a head's series is called in the history; empty when relabelling drops it.
Result<LabelList> Intake::labels_for(std::string_view head) {
  auto labels = knowledge::parse_exposition_head(head);
  if (!labels) return labels;
  for (const auto& label : rules_.target) {
    // An empty label is none, but it keeps the target's away: that is how a Pushgateway says that
    // its metrics have no instance.
    const bool given =
        std::ranges::find(*labels, label.name, &knowledge::Label::name) != labels->end();
    if (given && rules_.honor_labels) continue;
    const auto mine = label_of(*labels, label.name);
    if (!mine.empty()) {
      std::string name = "exported_" + label.name;
      while (!label_of(*labels, name).empty()) name = "exported_" + name;
      set_label(*labels, name, std::string(mine));
    }
    set_label(*labels, label.name, label.value);
  }
  std::erase_if(*labels, [](const auto& label) { return label.value.empty(); });
  if (rules_.relabel != nullptr && !rules_.relabel->apply(*labels)) return LabelList{};
  if (label_of(*labels, knowledge::kMetricName).empty())
    return fail(Errc::kInvalidArgument, "the metric has no name after relabelling");
  if (auto checked = check_limits(*labels); !checked) return std::unexpected(checked.error());
  return labels;
}

/// A limit that is exceeded fails the scrape, a mistake costs its line.
Status Intake::refuse(Error error) {
  if (error.code() != Errc::kExhausted) return std::unexpected(std::move(error));
  ++counts_.scraped;  // it is a sample
  failure_ = error.message();
  return {};
}

Status Intake::check_limits(const LabelList& labels) const {
  const auto metric = label_of(labels, knowledge::kMetricName);
  if (rules_.label_limit > 0 && labels.size() > rules_.label_limit) {
    return fail(Errc::kExhausted, "{} has {} labels, more than label_limit = {}", metric,
                labels.size(), rules_.label_limit);
  }
  for (const auto& label : labels) {
    if (rules_.name_length_limit > 0 && label.name.size() > rules_.name_length_limit) {
      return fail(Errc::kExhausted,
                  "{}: the name of a label has {} bytes, more than "
                  "label_name_length_limit = {}",
                  metric, label.name.size(), rules_.name_length_limit);
    }
    if (rules_.value_length_limit > 0 && label.value.size() > rules_.value_length_limit) {
      return fail(Errc::kExhausted,
                  "{}: the label {} has {} bytes, more than label_value_length_limit = {}", metric,
                  label.name, label.value.size(), rules_.value_length_limit);
    }
  }
  return {};
}

/// The name that the samples of the present family's counters have.
std::string Intake::full_name() const {
  const bool counter = format_ == knowledge::ExpositionFormat::kOpenMetrics &&
                       type_ == knowledge::MetricType::kCounter;
  return counter && !family_.ends_with("_total") ? family_ + "_total" : family_;
}

knowledge::FamilyId Intake::family_for(std::string_view metric) {
  const std::string name = full_name();
  if (family_.empty() || !belongs_to(metric, name, type_))
    return registry_.family(metric, knowledge::MetricType::kUntyped, "");
  const std::string help = helped_ == family_ ? help_ : std::string();
  if (is_own_metric(name)) {
    // What a collector of our own measures is what that says.
    const auto id = registry_.family(name, knowledge::MetricType::kUntyped, help);
    if (registry_.family(id).type != knowledge::MetricType::kUntyped) return id;
  }
  return registry_.family(name, type_, help);
}

Result<knowledge::SeriesId> Intake::intern(const LabelList& labels) {
  const auto metric = label_of(labels, knowledge::kMetricName);
  std::vector<knowledge::LabelView> views;
  views.reserve(labels.size());
  for (const auto& label : labels) {
    if (label.name != knowledge::kMetricName) views.push_back({label.name, label.value});
  }
  return registry_.intern(family_for(metric), views, metric);
}

/// Into the history, in the order of the text; what is not newer than the last is not.
void Intake::push_timed() {
  for (const auto& sample : timed_samples_) {
    const auto [last, fresh] = timed_.try_emplace(sample.id, INT64_MIN);
    if (fresh) {
      if (const auto newest = history_.latest(sample.id)) last->second = newest->time;
    }
    if (sample.time == last->second) continue;
    if (sample.time > now_ + kMostAhead || sample.time < now_ - rules_.retention.count() ||
        sample.time < last->second) {
      ++counts_.untimely;
      continue;
    }
    last->second = sample.time;
    ++counts_.taken;
    const auto group =
        GroupNumbers::kTimed + static_cast<std::uint32_t>(registry_.place(sample.id));
    outbox_.push({group, sample.time, {&sample.id, 1}, {&sample.value, 1}});
  }
  timed_samples_ = {};
}

void Intake::commit() {
  committed_ = round_;
  push_timed();
  push_chunks(now_, false);
  compact();
}

void Intake::end(std::int64_t now) {
  timed_samples_ = {};
  ++round_;  // nothing was seen
  now_ = now;
  push_chunks(now, false);
}

std::size_t Intake::expire(std::int64_t before, std::int64_t now) {
  ++round_;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    Entry& entry = entries_[i];
    if (entry.kind == Kind::kSeries && entry.live && times_[i] > before) entry.seen = round_;
  }
  now_ = now;
  push_chunks(now, true);
  compact();
  return live_;
}

/// One batch a chunk: the samples of this round, and stale markers. `repeat`: what was seen has its
/// value already.
void Intake::push_chunks(std::int64_t now, bool repeat) {
  live_ = 0;
  for (std::size_t from = 0, chunk = 0; from < entries_.size(); from += kChunk, ++chunk) {
    batch_ids_.clear();
    batch_values_.clear();
    const std::size_t to = std::min(from + kChunk, entries_.size());
    for (std::size_t i = from; i < to; ++i) {
      Entry& entry = entries_[i];
      if (entry.kind != Kind::kSeries) continue;
      const bool present = entry.seen == round_;
      if (present && entry.timed) {
        ++live_;
        if (!repeat) entry.live = !rules_.replaces;  // for expire(): it is to be looked at
        continue;
      }
      if (present) {
        ++live_;
        entry.live = true;
      } else if (entry.live && (rules_.replaces || repeat)) {
        entry.live = false;
        values_[i] = knowledge::stale_marker();
        if (entry.timed) continue;
      } else {
        if (entry.live) ++live_;
        continue;
      }
      batch_ids_.push_back(entry.id);
      batch_values_.push_back(values_[i]);
    }
    if (chunk >= groups_.size()) groups_.push_back(outbox_.groups().take());
    if (!batch_ids_.empty()) outbox_.push({groups_[chunk], now, batch_ids_, batch_values_});
  }
}

/// Takes out what was not seen this round, once that is much.
void Intake::compact() {
  const auto is_dead = [this](const Entry& entry) {
    return rules_.replaces ? entry.seen != round_ : !entry.live;
  };
  const auto dead = static_cast<std::size_t>(std::ranges::count_if(entries_, is_dead));
  const bool heads = entries_.size() > rules_.budget + kFewDead;
  if (dead < std::max(kFewDead, entries_.size() / 4) && !(heads && dead > 0)) return;
  std::vector<Entry> kept;
  std::vector<double> values;
  std::vector<std::int64_t> times;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    // What only names another entry, or nothing, is looked up anew when it comes again.
    if (entries_[i].kind != Kind::kSeries || is_dead(entries_[i])) continue;
    kept.push_back(entries_[i]);
    values.push_back(values_[i]);
    if (!rules_.replaces) times.push_back(times_[i]);
  }
  entries_ = std::move(kept);
  values_ = std::move(values);
  times_ = std::move(times);
  outbox_.series().give(series_ - entries_.size());
  series_ = entries_.size();
  label_units_ = 0;
  for (const Entry& entry : entries_) label_units_ += entry.label_units;
  owners_.clear();
  std::ranges::fill(slots_, 0);
  for (std::uint32_t i = 0; i < entries_.size(); ++i) {
    owners_.emplace(entries_[i].id, i);
    index(i);
  }
  std::erase_if(timed_, [this](const auto& one) { return !owners_.contains(one.first); });
}

/// Ids that name nothing any more: their heads are looked up anew.
void Intake::forget_gone() {
  for (Entry& entry : entries_) {
    if (entry.kind == Kind::kSeries && !registry_.known(entry.id)) {
      entry.live = false;
      entry.key = {};  // no head has it
      entry.seen = 0;
      owners_.erase(entry.id);
      timed_.erase(entry.id);
      entry.kind = Kind::kDropped;
      label_units_ -= entry.label_units;
      outbox_.series().give(1);
      --series_;
    }
  }
  std::ranges::fill(slots_, 0);
  for (std::uint32_t i = 0; i < entries_.size(); ++i) index(i);
}

}  // namespace nexus::monitor
