// What a host's tiers take: a recording (NEXUS_RECORDING, see recording.hpp) goes on for
// NEXUS_DAYS (20) days of seconds, which become buckets of a minute and of an hour, and those the
// records that the store writes (32 series and 480 buckets each). Repeated, but no repetition is
// like another: how much happens follows the time of day, a quarter at night of what it is in the
// afternoon, and differs by a fifth from what is usual; levels move from day to day, and counters
// go on from where they were. Bytes a bucket, in all and of each number that is kept of it, by what
// the series are; `year_MiB` is 30 days of minutes and 365 of hours of the recording's series.

#include <benchmark/benchmark.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <numbers>
#include <optional>
#include <random>
#include <string>

#include "knowledge/disk/format.hpp"
#include "knowledge/disk/tier_block.hpp"
#include "knowledge/references.hpp"
#include "knowledge/values.hpp"
#include "recording.hpp"

namespace nexus::knowledge {
namespace {

using disk::Bucket;

constexpr std::int64_t kSecond = 1000;
constexpr std::int64_t kMinute = 60 * kSecond;
constexpr std::int64_t kHour = 60 * kMinute;
constexpr std::int64_t kDay = 24 * kHour;
constexpr std::size_t kBuckets = 480;  // of a record
constexpr std::size_t kSeries = 32;    // of a record

std::int64_t days() {
  const char* text = std::getenv("NEXUS_DAYS");
  return text == nullptr ? 20 : std::max(1, std::atoi(text));
}

enum class Kind { kConstant, kCounter, kGauge, kDuration };
constexpr std::array<const char*, 4> kKinds = {"constant", "counter", "gauge", "duration"};

struct Series {
  Kind kind = Kind::kGauge;
  std::vector<std::optional<double>> values;  // a second each
  int decimals = -1;                          // -1: they are no decimals
};

std::optional<double> as_units(double value, int decimals) {
  const double units = std::nearbyint(value * std::pow(10, decimals));
  if (std::fabs(units) >= 0x1p50 || units / std::pow(10, decimals) != value) return std::nullopt;
  return units;
}

int decimals_of(const Series& series) {
  for (int decimals = 0; decimals <= 9; ++decimals) {
    const bool good = std::ranges::all_of(
        series.values, [&](const auto& value) { return !value || as_units(*value, decimals); });
    if (good) return decimals;
  }
  return -1;
}

std::vector<Series> series_of(const bench::Recording& recording) {
  std::vector<Series> all(recording.names.size());
  for (auto& series : all) series.values.resize(recording.scrapes.size());
  for (std::size_t row = 0; row < recording.scrapes.size(); ++row) {
    const bench::Scrape& scrape = recording.scrapes[row];
    for (std::size_t i = 0; i < scrape.names.size(); ++i) {
      all[scrape.names[i]].values[row] = scrape.values[i];
    }
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::optional<double> first;
    std::optional<double> before;
    bool same = true;
    bool rises = true;
    for (const auto& value : all[i].values) {
      if (!value) continue;
      if (!first) first = before = value;
      same = same && *value == *first;
      rises = rises && *value >= *before;
      before = value;
    }
    const bool is_duration = recording.names[i].contains("scrape_collector_duration");
    all[i].kind = same          ? Kind::kConstant
                  : is_duration ? Kind::kDuration
                  : rises       ? Kind::kCounter
                                : Kind::kGauge;
    all[i].decimals = decimals_of(all[i]);
  }
  return all;
}

/// How much happens in each repetition of a recording of so many rows.
std::vector<double> make_factors(std::size_t rows) {
  std::mt19937_64 random(1);
  std::vector<double> factors;
  for (std::int64_t begin = 0; begin < days() * kDay;
       begin += static_cast<std::int64_t>(rows) * kSecond) {
    const double hour = static_cast<double>(begin % kDay) / static_cast<double>(kHour);
    const double usual = 0.625 + 0.375 * std::cos((hour - 15) / 12 * std::numbers::pi);
    factors.push_back(usual * (0.8 + static_cast<double>(random() % 401) / 1000));
  }
  return factors;
}

/// The series for days(); `factors`: how much happens in each repetition.
Column go_on(const Series& series, const std::vector<double>& factors) {
  Column out;
  const double tens = std::pow(10, std::max(0, series.decimals));
  double least = HUGE_VAL;
  for (const auto& value : series.values) least = value ? std::min(least, *value) : least;
  double begin = least;  // of the repetition
  double last = least;
  const std::int64_t rows_of_day = kDay / kSecond;
  for (std::int64_t row = 1; row <= days() * rows_of_day; ++row) {
    const std::size_t place = static_cast<std::size_t>(row - 1) % series.values.size();
    const double factor = factors[static_cast<std::size_t>(row - 1) / series.values.size()];
    if (place == 0 && series.kind == Kind::kCounter) begin = last;
    // Up and down by a fiftieth, a step each day.
    if (row % rows_of_day == 0 && series.kind == Kind::kGauge) {
      begin = least * (1 + 0.02 * std::sin(static_cast<double>(row / rows_of_day)));
    }
    const auto& value = series.values[place];
    if (!value) continue;
    last = begin + (*value - least) * factor;
    if (series.decimals >= 0) last = std::nearbyint(last * tens) / tens;
    if (series.kind == Kind::kConstant) last = *value;
    out.times.push_back(row * kSecond);
    out.values.push_back(last);
  }
  return out;
}

double value_of(const Bucket& bucket, std::size_t kept) {
  return std::array{bucket.last, bucket.min, bucket.max, bucket.sum, bucket.count}[kept];
}

/// Bytes of each number that is kept of the buckets, as one column a record.
std::array<double, 5> bytes_of(const std::vector<Bucket>& buckets) {
  std::array<double, 5> bytes{};
  std::vector<double> values;
  std::vector<std::uint8_t> to(values_bound(kBuckets));
  for (std::size_t first = 0; first < buckets.size(); first += kBuckets) {
    References references;
    const std::size_t end = std::min(buckets.size(), first + kBuckets);
    for (std::size_t kept = 0; kept < bytes.size(); ++kept) {
      values.clear();
      for (std::size_t i = first; i < end; ++i) values.push_back(value_of(buckets[i], kept));
      const auto* last =
          encode_values(values, static_cast<std::uint32_t>(kept), references, to.data());
      bytes[kept] += static_cast<double>(last - to.data());
    }
  }
  return bytes;
}

/// Bytes of all records of the tier.
double bytes_of(const std::vector<std::vector<Bucket>>& all, std::int64_t step) {
  double bytes = 0;
  BlockBuilder builder;
  const std::int64_t rows = days() * kDay / step;
  for (std::int64_t first = 0; first < rows; first += kBuckets) {
    std::vector<std::int64_t> ends;
    for (std::int64_t i = first; i < std::min<std::int64_t>(rows, first + kBuckets); ++i) {
      ends.push_back((i + 1) * step);
    }
    for (std::size_t from = 0; from < all.size(); from += kSeries) {
      builder.begin(ends);
      for (std::size_t i = from; i < std::min(all.size(), from + kSeries); ++i) {
        const auto begin = std::ranges::lower_bound(all[i], ends.front(), {}, &Bucket::end);
        const auto end = std::ranges::upper_bound(all[i], ends.back(), {}, &Bucket::end);
        if (begin == end) continue;
        disk::add_columns(builder, static_cast<std::uint32_t>(i), {begin, end}, ends);
      }
      bytes += static_cast<double>(builder.finish().size() + sizeof(disk::RecordHeader));
    }
  }
  return bytes;
}

void tiers(benchmark::State& state) {
  const char* path = std::getenv("NEXUS_RECORDING");
  if (path == nullptr) return state.SkipWithError("NEXUS_RECORDING is not set");
  const auto series = series_of(bench::load_recording(path));
  const std::vector<double> factors = make_factors(series.front().values.size());
  std::vector<std::vector<Bucket>> minutes;
  std::vector<std::vector<Bucket>> hours;
  std::array<std::array<double, 6>, kKinds.size()> of_kind{};  // bytes of minutes, their number
  for (auto _ : state) {
    for (const Series& one : series) {
      const auto flavour =
          one.kind == Kind::kCounter ? disk::Flavour::kCounter : disk::Flavour::kGauge;
      minutes.push_back(
          disk::aggregate_samples(go_on(one, factors), kMinute, std::nullopt, flavour));
      hours.push_back(disk::aggregate_buckets(minutes.back(), kHour, std::nullopt));
      const auto bytes = bytes_of(minutes.back());
      auto& sums = of_kind[static_cast<std::size_t>(one.kind)];
      for (std::size_t kept = 0; kept < bytes.size(); ++kept) sums[kept] += bytes[kept];
      sums[5] += static_cast<double>(minutes.back().size());
    }
    const double of_minutes = bytes_of(minutes, kMinute);
    const double of_hours = bytes_of(hours, kHour);
    const auto many = static_cast<double>(series.size());
    const auto count = static_cast<double>(days());
    state.counters["minutes_B"] = of_minutes / many / (count * (kDay / kMinute));
    state.counters["hours_B"] = of_hours / many / (count * (kDay / kHour));
    state.counters["minutes_MiB"] = of_minutes * 30 / count / (1 << 20);
    state.counters["year_MiB"] = (of_minutes * 30 / count + of_hours * 365 / count) / (1 << 20);
  }
  state.counters["series"] = static_cast<double>(series.size());
  constexpr std::array kKept = {"last", "min", "max", "sum", "count"};
  for (std::size_t kind = 0; kind < kKinds.size(); ++kind) {
    for (std::size_t kept = 0; kept < kKept.size(); ++kept) {
      state.counters[std::string(kKinds[kind]) + "_" + kKept[kept]] =
          of_kind[kind][kept] / of_kind[kind][5];
    }
  }
}
BENCHMARK(tiers)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace nexus::knowledge
