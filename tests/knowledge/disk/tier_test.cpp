#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "knowledge/disk/history_fixture.hpp"
#include "knowledge/disk/tier_block.hpp"
#include "nexus/knowledge/promql.hpp"

namespace nexus::knowledge::disk {
namespace {

constexpr std::int64_t kMinute = 60'000;
constexpr std::int64_t kHour = 60 * kMinute;
constexpr std::int64_t kBegin = kStart / kHour * kHour;

/// What PromQL's increase() sums up, without its extrapolation.
double increase(const Column& samples, std::int64_t until) {
  double sum = 0;
  for (std::size_t i = 1; i < samples.size() && samples.times[i] <= until; ++i) {
    const double step = samples.values[i] - samples.values[i - 1];
    sum += step < 0 ? samples.values[i] : step;
  }
  return sum;
}

/// A counter that is reset at random, sometimes twice a minute, and is away for a while.
Column make_counter(std::uint32_t seed, int rows) {
  std::mt19937 random(seed);
  Column column;
  double value = 5;
  for (int row = 1; row <= rows; ++row) {
    value += static_cast<double>(random() % 1000);
    if (random() % 97 == 0) value = static_cast<double>(random() % 50);
    if (row % 3000 > 2700) continue;
    column.times.push_back(kBegin + row * 1000);
    column.values.push_back(value);
  }
  return column;
}

TEST_CASE("a bucket has what its samples had") {
  Column samples;
  const std::vector<double> values = {3, stale_marker(), 9, -1, 4};
  for (std::size_t i = 0; i < values.size(); ++i) {
    samples.times.push_back(kBegin + 20'000 * static_cast<std::int64_t>(i + 1));
    samples.values.push_back(values[i]);
  }
  const auto buckets = aggregate_samples(samples, kMinute, {}, Flavour::kGauge);
  REQUIRE(buckets.size() == 2);
  REQUIRE(buckets[0].end == kBegin + kMinute);  // closed on the right
  REQUIRE((buckets[0].min == 3 && buckets[0].max == 9 && buckets[0].sum == 12));
  REQUIRE((buckets[0].count == 2 && buckets[0].last == 9 && !buckets[0].peak));
  REQUIRE((buckets[1].min == -1 && buckets[1].count == 2 && buckets[1].last == 4));
  REQUIRE(bucket_end(-1, kMinute) == 0);
}

TEST_CASE("the sum of decimals is the decimal, and any other sum is as it was") {
  const auto sum_of = [](const std::vector<double>& values) {
    Column samples;
    for (std::size_t i = 0; i < values.size(); ++i) {
      samples.times.push_back(kBegin + static_cast<std::int64_t>(i) + 1);
      samples.values.push_back(values[i]);
    }
    const auto buckets = aggregate_samples(samples, kMinute, {}, Flavour::kGauge);
    return buckets.empty() ? 0 : buckets.front().sum;
  };
  REQUIRE(0.1 + 0.2 != 0.3);
  REQUIRE(sum_of({0.1, 0.2}) == 0.3);
  REQUIRE(sum_of(std::vector<double>(60, 0.000000001)) == 0.00000006);
  REQUIRE(sum_of({3 * 0.001, 7 * 0.001}) == 0.01);  // as node_exporter multiplies
  std::mt19937_64 random(5);
  for (int round = 0; round < 20'000; ++round) {
    std::vector<double> values;
    std::vector<double> rough;
    std::int64_t units = 0;
    const double tens = std::pow(10, static_cast<double>(random() % 10));
    for (std::size_t left = 1 + random() % 100; left > 0; --left) {
      const auto one = static_cast<std::int64_t>(random() >> (20 + random() % 40)) - 1000;
      units += one;
      values.push_back(static_cast<double>(one) / tens);
      rough.push_back(std::bit_cast<double>(random()));
    }
    REQUIRE(sum_of(values) == static_cast<double>(units) / tens);
    Aggregate plain;
    double largest = 0;
    for (double& value : rough) {
      if (!std::isfinite(value) || std::fabs(value) > 1e30) value = std::ldexp(value, -600);
      if (!std::isfinite(value)) value = 1.0 / 3;
      plain.add(value);
      largest = std::max(largest, std::fabs(value));
    }
    const double error = std::fabs(sum_of(rough) - plain.sum());
    REQUIRE(error <= largest * 0x1p-52 * static_cast<double>(rough.size()));
  }
  REQUIRE(std::isnan(sum_of({1, std::numeric_limits<double>::quiet_NaN()})));
  REQUIRE(std::isinf(sum_of({1, std::numeric_limits<double>::infinity()})));
}

TEST_CASE("counters keep their increase through resets, in minutes and in hours of minutes") {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    const Column raw = make_counter(seed, 20'000);
    const auto minutes = aggregate_samples(raw, kMinute, {}, Flavour::kCounter);
    const auto hours = aggregate_buckets(minutes, kHour, {});
    Column of_minutes;
    Column of_hours;
    append_samples(minutes, kMinute, 0, kBegin * 2, of_minutes);
    append_samples(hours, kHour, 0, kBegin * 2, of_hours);
    // The first bucket begins where its samples do, not at its end.
    const double before_minutes = increase(raw, minutes[0].end);
    const double before_hours = increase(raw, hours[0].end);
    for (std::int64_t end = kBegin + kHour; end < kBegin + 20'000'000; end += kHour) {
      REQUIRE(increase(of_minutes, end) - increase(of_minutes, minutes[0].end) ==
              increase(raw, end) - before_minutes);
      REQUIRE(increase(of_hours, end) - increase(of_hours, hours[0].end) ==
              increase(raw, end) - before_hours);
    }
  }
}

TEST_CASE("buckets come back from a block, and its damage is noticed or harmless") {
  const auto buckets = aggregate_samples(make_counter(1, 9000), kMinute, {}, Flavour::kCounter);
  std::vector<std::int64_t> ends;
  for (const Bucket& bucket : buckets) ends.push_back(bucket.end);
  BlockBuilder builder;
  builder.begin(ends);
  add_columns(builder, 5, buckets, ends);
  add_columns(builder, 9, std::span(buckets).subspan(10, 50), ends);
  std::vector<std::uint8_t> bytes = builder.finish();
  const BlockView view = must(BlockView::parse(bytes));
  std::vector<Bucket> read;
  REQUIRE(read_buckets(view, 5, 0, kBegin * 2, read));
  REQUIRE(read.size() == buckets.size());
  for (std::size_t i = 0; i < read.size(); ++i) {
    REQUIRE((read[i].end == buckets[i].end && read[i].last == buckets[i].last));
    REQUIRE((read[i].min == buckets[i].min && read[i].max == buckets[i].max));
    REQUIRE((read[i].sum == buckets[i].sum && read[i].count == buckets[i].count));
    REQUIRE(read[i].peak == buckets[i].peak);
  }
  read.clear();
  REQUIRE(read_buckets(view, 9, ends[19], ends[29], read));
  REQUIRE(read.size() == 10);
  REQUIRE(read[0].end == ends[20]);
  read.clear();
  REQUIRE(read_buckets(view, 7, 0, kBegin * 2, read));
  REQUIRE(read.empty());
  for (std::size_t bit = 0; bit < bytes.size() * 8; bit += 7) {
    bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    if (const auto damaged = BlockView::parse(bytes)) {
      read.clear();
      (void)read_buckets(*damaged, 5, 0, kBegin * 2, read);
    }
    bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
  }
}

TEST_CASE("what is older than the rows is read from the finest tier that has it") {
  const test::TemporaryDirectory folder;
  HistoryDisk disk{.directory = folder.file("history"), .retention = Millis(2 * kHour)};
  disk.tiers = {{Millis(kMinute), Millis(24 * kHour)}, {Millis(kHour), Millis(365 * 24 * kHour)}};
  constexpr int kRows = 40 * 3600;
  const Column counter = make_counter(3, kRows);
  const auto open = [&](std::int64_t now) {
    auto process = std::make_unique<Process>(
        disk, now, HistoryLimits{.retention = disk.retention, .bytes = 1 << 20});
    must(process->opened);
    return process;
  };
  auto process = open(kBegin);
  std::size_t next = 0;
  for (int row = 1; row <= kRows; ++row) {
    const std::int64_t time = kBegin + row * 1000;
    std::vector<SeriesId> ids = {process->series("gauge")};
    std::vector<double> values = {std::sin(row * 0.001)};
    if (next < counter.size() && counter.times[next] == time) {
      ids.push_back(process->series("counter", MetricType::kCounter));
      values.push_back(counter.values[next++]);
    }
    process->append(1, time, ids, values);
    if (row % 600 != 0) continue;
    process->history.maintain(time);
    must(process->history.checkpoint());
    if (row % (9 * 3600) != 0) continue;
    process.reset();  // a tier goes on where the last process was
    process = open(time);
  }
  const std::int64_t end = kBegin + kRows * 1000;
  REQUIRE(process->history.step_for(end - kHour) == 0);
  REQUIRE(process->history.step_for(end - 20 * kHour) == kMinute);
  REQUIRE(process->history.step_for(kBegin) == kHour);

  const Column fine = process->read("gauge", end - kHour, end);
  REQUIRE(fine.size() == 3600);
  const std::int64_t day = bucket_end(end - 20 * kHour, kMinute);
  const Column minutes = process->read("gauge", day, end);
  REQUIRE(minutes.times.front() == day + kMinute);
  REQUIRE(minutes.times.back() == end);  // the newest are rows
  for (std::size_t i = 1; i < minutes.size(); ++i) {
    REQUIRE(minutes.times[i] > minutes.times[i - 1]);
    REQUIRE(minutes.times[i] - minutes.times[i - 1] <= kMinute);
    const auto row = static_cast<double>((minutes.times[i] - kBegin) / 1000);
    REQUIRE(minutes.values[i] == std::sin(row * 0.001));  // the last of its bucket
  }
  const Column hours = process->read("counter", kBegin, end);
  REQUIRE(hours.times.front() <= kBegin + kHour);
  const double before = increase(counter, kBegin + kHour);
  const double first = increase(hours, kBegin + kHour);
  for (std::int64_t time = kBegin + 2 * kHour; time <= end; time += kHour) {
    REQUIRE(increase(hours, time) - first == increase(counter, time) - before);
  }
  const Column day_of_counter = process->read("counter", day, end);
  REQUIRE(increase(day_of_counter, end) - increase(day_of_counter, day + kMinute) ==
          increase(counter, end) - increase(counter, day + kMinute));
  REQUIRE(process->history.stats().disk_damaged == 0);
}

TEST_CASE("functions of windows see all samples of a bucket, not only its last") {
  const test::TemporaryDirectory folder;
  HistoryDisk disk{.directory = folder.file("history"), .retention = Millis(2 * kHour)};
  disk.tiers = {{Millis(kMinute), Millis(12 * kHour)}, {Millis(kHour), Millis(365 * 24 * kHour)}};
  Process process(disk, kBegin, HistoryLimits{.retention = disk.retention, .bytes = 1 << 20});
  must(process.opened);
  // Whole numbers, so that sums do not depend on their order. The last of a minute is always 0.
  constexpr int kRows = 30 * 3600 + 30;
  const auto value_at = [](std::int64_t row) {
    return row % 60 == 0 ? 0.0 : static_cast<double>(row * 7919 % 1013 - 500);
  };
  const SeriesId id = process.series("gauge");
  for (int row = 1; row <= kRows; ++row) {
    const std::int64_t time = kBegin + row * 1000;
    process.append(1, time, {id}, {row % 7000 == 0 ? stale_marker() : value_at(row)});
    if (row % 600 != 0) continue;
    process.history.maintain(time);
    must(process.history.checkpoint());
  }
  const std::int64_t end = kBegin + kRows * 1000;
  const auto expected = [&](std::int64_t from, std::int64_t to) {
    Aggregate all;
    for (std::int64_t row = (from - kBegin) / 1000 + 1; row <= (to - kBegin) / 1000; ++row) {
      if (row % 7000 != 0) all.add(value_at(row));
    }
    return all;
  };
  const auto ask = [&](const std::string& expression, std::int64_t at) {
    const auto value = must(must(promql::Query::parse(expression)).instant(process.history, at));
    const auto& vector = std::get<promql::Vector>(value);
    REQUIRE(vector.size() == 1);
    return vector[0].value;
  };
  struct Case {
    std::int64_t at, range, step;
  };
  // Minutes and hours that are there; a window that begins in minutes and ends in rows; all hours.
  for (const Case& one :
       {Case{kBegin + 22 * kHour, kHour, kMinute}, Case{kBegin + 10 * kHour, 3 * kHour, kHour},
        Case{end / kMinute * kMinute, 9 * kHour, kMinute},
        Case{kBegin + 30 * kHour, 30 * kHour, kHour}}) {
    CAPTURE(one.at - kBegin, one.range);
    REQUIRE(process.history.step_for(one.at - one.range) == one.step);
    const Aggregate all = expected(one.at - one.range, one.at);
    const std::string window = "_over_time(gauge[" + std::to_string(one.range / 1000) + "s])";
    REQUIRE(ask("max" + window, one.at) == all.max());
    REQUIRE(ask("min" + window, one.at) == all.min());
    REQUIRE(ask("sum" + window, one.at) == all.sum());
    REQUIRE(ask("count" + window, one.at) == static_cast<double>(all.count()));
    REQUIRE(ask("avg" + window, one.at) == all.sum() / static_cast<double>(all.count()));
    REQUIRE(ask("last" + window, one.at) == 0);
  }
  // Steps of a range query that begin, as the last one ends, within a bucket.
  const promql::Matrix matrix =
      must(must(promql::Query::parse("sum_over_time(gauge[1h])"))
               .range(process.history, end - 7 * kHour, end, kMinute * 10));
  REQUIRE(matrix.size() == 1);
  REQUIRE(matrix[0].samples.size() == 43);
  for (std::size_t i = 0; i < matrix[0].samples.size(); ++i) {
    const std::int64_t until = matrix[0].samples.times[i];
    const auto whole = [&](std::int64_t time) { return bucket_end(time - kMinute + 1, kMinute); };
    const bool newest = until == end;
    CAPTURE(until - kBegin);
    REQUIRE(matrix[0].samples.values[i] ==
            expected(whole(until - kHour), newest ? end : whole(until)).sum());
  }
}

TEST_CASE("years without rows cost nothing when rows become buckets") {
  const test::TemporaryDirectory folder;
  HistoryDisk disk{.directory = folder.file("history"), .retention = Millis(2 * kHour)};
  disk.tiers = {{Millis(kMinute), Millis(std::numeric_limits<std::int64_t>::max() / 4)}};
  constexpr std::int64_t kLongAgo = -9'000'000'000'000'000;  // what import takes at most
  {
    Process process(disk);
    must(process.opened);
    const SeriesId id = process.series("old");
    must(process.history.store_past(
        {{kLongAgo, kLongAgo + 1000, kStart - 3 * kHour}, {{id, {1, 2, 3}}}}));
    must(process.history.finish_past());
    process.append(1, 1000, {process.series("booted_in_1970")}, {1});
    process.append(1, kStart, {process.series("booted_in_1970")}, {2});
    process.append(1, kStart + 5 * kHour, {process.series("booted_in_1970")}, {3});
    process.history.maintain(kStart + 5 * kHour);
    must(process.history.checkpoint());
  }
  Process process(disk, kStart + 6 * kHour);
  must(process.opened);
  must(process.history.checkpoint());
  const Column old = process.read("old", std::numeric_limits<std::int64_t>::min() / 4);
  REQUIRE(old.times == std::vector<std::int64_t>{bucket_end(kLongAgo, kMinute),
                                                 bucket_end(kLongAgo + 1000, kMinute),
                                                 bucket_end(kStart - 3 * kHour, kMinute)});
}

}  // namespace
}  // namespace nexus::knowledge::disk
