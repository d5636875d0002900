#include "knowledge/disk/tier_block.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

namespace nexus::knowledge::disk {
namespace {

/// Follows a counter through a bucket.
class Counter {
 public:
  explicit Counter(std::optional<double> before) : before_(before), now_(before) {}

  void begin() noexcept {
    before_ = now_;
    increase_ = 0;
    reset_ = false;
  }
  void see(double value) noexcept {
    if (!before_) before_ = now_ = value;
    add(value < *now_ ? value : value - *now_, value < *now_, value);
  }
  /// A whole bucket, whose peak says that it was reset in there.
  void see(const Bucket& bucket) noexcept {
    if (bucket.peak) {
      if (!before_) before_ = now_ = *bucket.peak;
      add(*bucket.peak - *now_ + bucket.last, true, bucket.last);
    } else {
      see(bucket.last);
    }
  }
  /// After the samples of the bucket.
  [[nodiscard]] std::optional<double> peak() const noexcept {
    return reset_ ? std::optional(*before_ + increase_ - *now_) : std::nullopt;
  }

 private:
  void add(double increase, bool reset, double now) noexcept {
    increase_ += increase;
    reset_ = reset_ || reset;
    now_ = now;
  }

  std::optional<double> before_;  // the last value before the bucket
  std::optional<double> now_;
  double increase_ = 0;
  bool reset_ = false;
};

/// Sums of numbers with few decimals have as few, but for the rounding of each addend; without
/// that they take half the bytes, and are nearer to the sum of what was written. The sum itself
/// where the samples are no such numbers, which shows when the nearest one is farther away than
/// rounding explains.
double without_rounding(const Aggregate& of) noexcept {
  constexpr std::array<double, 10> kTens = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
  constexpr double kMostUnits = 0x1p45;  // of a sample; beyond, everything looks like an integer
  constexpr double kMostOfSum = 0x1p53;
  constexpr double kUlp = 0x1p-52;
  const double largest = std::max(std::fabs(of.min()), std::fabs(of.max()));
  for (const double tens : kTens) {
    const double most = largest * tens;
    if (!(most < kMostUnits)) break;  // NaN and infinities too
    const auto fits = [&](double value) {
      const double units = value * tens;
      return std::fabs(units - std::nearbyint(units)) <= std::fabs(units) * kUlp;
    };
    if (!fits(of.min()) || !fits(of.max()) || !fits(of.last())) continue;
    const double units = std::nearbyint(of.sum() * tens);
    if (!(std::fabs(units) < kMostOfSum)) break;
    const double rounded = units / tens;
    const double explained = largest * kUlp * static_cast<double>(of.count());
    if (std::fabs(rounded - of.sum()) <= explained) return rounded;
  }
  return of.sum();
}

void put(Bucket& bucket, const Aggregate& of) {
  bucket.last = of.last();
  bucket.min = of.min();
  bucket.max = of.max();
  bucket.sum = without_rounding(of);
  bucket.count = static_cast<double>(of.count());
}

double value_of(const Bucket& bucket, Kept kept) noexcept {
  switch (kept) {
    case Kept::kLast:
      return bucket.last;
    case Kept::kMin:
      return bucket.min;
    case Kept::kMax:
      return bucket.max;
    case Kept::kSum:
      return bucket.sum;
    case Kept::kCount:
      return bucket.count;
    case Kept::kPeak:
      return bucket.peak.value_or(0);
  }
  return 0;
}

void set(Bucket& bucket, Kept kept, double value) noexcept {
  switch (kept) {
    case Kept::kLast:
      bucket.last = value;
      break;
    case Kept::kMin:
      bucket.min = value;
      break;
    case Kept::kMax:
      bucket.max = value;
      break;
    case Kept::kSum:
      bucket.sum = value;
      break;
    case Kept::kCount:
      bucket.count = value;
      break;
    case Kept::kPeak:
      bucket.peak = value;
      break;
  }
}

}  // namespace

Flavour flavour_of(const Family& family, const Labels& labels) {
  switch (family.type) {
    case MetricType::kCounter:
    case MetricType::kHistogram:
      return Flavour::kCounter;
    case MetricType::kSummary:  // quantiles are gauges, _sum and _count are counters
      return labels.metric() == family.name ? Flavour::kGauge : Flavour::kCounter;
    case MetricType::kUntyped:
      return labels.metric().ends_with("_total") ? Flavour::kCounter : Flavour::kGauge;
    case MetricType::kGauge:
      return Flavour::kGauge;
  }
  return Flavour::kGauge;
}

std::vector<Bucket> aggregate_samples(const Column& samples, std::int64_t step,
                                      std::optional<double> before, Flavour flavour) {
  std::vector<Bucket> buckets;
  Counter counter(before);
  for (std::size_t i = 0; i < samples.size();) {
    const std::int64_t end = bucket_end(samples.times[i], step);
    Aggregate of;
    counter.begin();
    for (; i < samples.size() && samples.times[i] <= end; ++i) {
      if (is_stale_marker(samples.values[i])) continue;
      of.add(samples.values[i]);
      counter.see(samples.values[i]);
    }
    if (of.count() == 0) continue;
    Bucket& bucket = buckets.emplace_back();
    bucket.end = end;
    put(bucket, of);
    if (flavour == Flavour::kCounter) bucket.peak = counter.peak();
  }
  return buckets;
}

std::vector<Bucket> aggregate_buckets(std::span<const Bucket> finer, std::int64_t step,
                                      std::optional<double> before) {
  std::vector<Bucket> buckets;
  Counter counter(before);
  for (std::size_t i = 0; i < finer.size();) {
    const std::int64_t end = bucket_end(finer[i].end, step);
    Aggregate of;
    bool reset = false;
    counter.begin();
    for (; i < finer.size() && finer[i].end <= end; ++i) {
      const Bucket& one = finer[i];
      of.add(one.min, one.max, one.sum, one.last, static_cast<std::uint64_t>(one.count));
      reset = reset || one.peak.has_value();
      counter.see(one);
    }
    Bucket& bucket = buckets.emplace_back();
    bucket.end = end;
    put(bucket, of);
    if (reset) bucket.peak = counter.peak();  // a gauge has none
  }
  return buckets;
}

void settle(std::vector<Bucket>& buckets) {
  if (std::ranges::adjacent_find(buckets, std::greater_equal{}, &Bucket::end) == buckets.end()) {
    return;
  }
  std::ranges::stable_sort(buckets, [](const Bucket& a, const Bucket& b) {
    return a.end != b.end ? a.end < b.end : a.count > b.count;
  });
  const auto doubled = std::ranges::unique(buckets, {}, &Bucket::end);
  buckets.erase(doubled.begin(), doubled.end());
}

void add_columns(BlockBuilder& builder, std::uint32_t number, std::span<const Bucket> buckets,
                 std::span<const std::int64_t> ends) {
  std::vector<std::uint16_t> rows;
  std::vector<double> values;
  for (std::uint32_t k = 0; k < kKept; ++k) {
    const auto kept = static_cast<Kept>(k);
    rows.clear();
    values.clear();
    for (const Bucket& bucket : buckets) {
      if (kept == Kept::kPeak && !bucket.peak) continue;
      const auto row = std::ranges::lower_bound(ends, bucket.end) - ends.begin();
      rows.push_back(static_cast<std::uint16_t>(row));
      values.push_back(value_of(bucket, kept));
    }
    if (!rows.empty()) builder.add(column_id(number, kept), rows, values);
  }
}

bool read_buckets(const BlockView& block, std::uint32_t number, std::int64_t start,
                  std::int64_t end, std::vector<Bucket>& out) {
  const std::size_t before = out.size();
  Column column;
  for (std::uint32_t k = 0; k < kKept; ++k) {
    const auto kept = static_cast<Kept>(k);
    const auto place = block.find(column_id(number, kept));
    if (!place) {
      if (kept == Kept::kPeak || k == 0) break;
      out.resize(before);
      return false;
    }
    column.clear();
    bool good = block.read(*place, start, end, column);
    if (good && k == 0) {
      for (const std::int64_t time : column.times) out.emplace_back().end = time;
    }
    auto bucket = out.begin() + static_cast<std::ptrdiff_t>(before);
    for (std::size_t i = 0; good && i < column.size(); ++i, ++bucket) {
      while (bucket != out.end() && bucket->end < column.times[i]) ++bucket;
      good = bucket != out.end() && bucket->end == column.times[i];
      if (good) set(*bucket, kept, column.values[i]);
    }
    if (!good) {
      out.resize(before);
      return false;
    }
  }
  return true;
}

void append_samples(std::span<const Bucket> buckets, std::int64_t step, std::int64_t start,
                    std::int64_t end, Column& out) {
  const auto put_one = [&](std::int64_t time, double value) {
    if (time <= start || time > end) return;
    out.times.push_back(time);
    out.values.push_back(value);
  };
  for (const Bucket& bucket : buckets) {
    if (bucket.peak) {
      put_one(bucket.end - step / 2, *bucket.peak);
      put_one(bucket.end - step / 2 + 1, bucket.min);
    }
    put_one(bucket.end, bucket.last);
  }
}

void condense(const Column& samples, std::int64_t step, Flavour flavour, Column& out) {
  const auto keep = [&](std::size_t i) {
    out.times.push_back(samples.times[i]);
    out.values.push_back(samples.values[i]);
  };
  const bool counts = flavour == Flavour::kCounter;
  const auto falls = [&](std::size_t i) {  // against the sample before it
    return counts && i > 0 && i < samples.size() && samples.values[i] < samples.values[i - 1];
  };
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const bool last =
        i + 1 == samples.size() || samples.times[i + 1] > bucket_end(samples.times[i], step);
    if (last || falls(i) || falls(i + 1)) keep(i);
  }
}

}  // namespace nexus::knowledge::disk
