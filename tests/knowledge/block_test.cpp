#include "knowledge/block.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <random>

#include "knowledge/golden_blocks.hpp"
#include "nexus/host/file.hpp"

namespace nexus::knowledge {
namespace {

constexpr std::uint64_t kSeed = 20261124;
constexpr std::int64_t kEver = std::numeric_limits<std::int64_t>::max();

using Samples = std::map<std::int64_t, std::uint64_t>;  // time to the bits of the value
using Series = std::map<SeriesId, Samples>;

/// One column of every kind that there is, holes among them; values depend on the row alone.
double value_at(SeriesId id, int row, std::mt19937_64& random) {
  const auto noise = [&](std::uint64_t limit) { return static_cast<double>(random() % limit); };
  switch (id % 10) {
    case 0:
      return 42;
    case 1:
      return row / 100 * 0.1;
    case 2:
      return 1e9 + row * 1000 + noise(64);
    case 3:
      return (1e9 + row * 1000) / 100;
    case 4:
      return std::bit_cast<double>(random());
    case 5:
      return row % 50 == 7 ? stale_marker() : row;
    case 6:
      return noise(1'000'000) / 1e9;
    case 7:
      return 1.0 / 3 + row / 60;
    case 8:
      return 5e12 - (1e9 + row * 1000) * 4096;
    default:
      return noise(100) < 95 ? 0 : noise(1'000'000);
  }
}

bool is_present(SeriesId id, int row) {
  if (id % 3 != 1 || row == 0) return true;
  return (row / 37 + static_cast<int>(id)) % 4 != 0;
}

struct Made {
  std::vector<std::uint8_t> bytes;
  Series series;
};

Made make_block(BlockBuilder& builder, std::int64_t start, int rows, std::span<const SeriesId> ids,
                std::uint64_t seed = kSeed, TimeCode code = TimeCode::kPlain) {
  std::mt19937_64 random(seed);
  Made made;
  std::vector<std::int64_t> times;
  for (int row = 0; row < rows; ++row) {
    times.push_back(start + row * 1000 + static_cast<std::int64_t>(random() % 20));
  }
  builder.begin(times, code);
  for (const SeriesId id : ids) {
    std::vector<std::uint16_t> at;
    std::vector<double> values;
    for (int row = 0; row < rows; ++row) {
      if (!is_present(id, row)) continue;
      at.push_back(static_cast<std::uint16_t>(row));
      values.push_back(value_at(id, row, random));
      made.series[id][times[static_cast<std::size_t>(row)]] =
          std::bit_cast<std::uint64_t>(values.back());
    }
    builder.add(id, at, values);
  }
  made.bytes = builder.finish();
  return made;
}

std::vector<SeriesId> some_ids(std::size_t count) {
  std::vector<SeriesId> ids;
  SeriesId id = 3;
  for (std::size_t i = 0; i < count; ++i) ids.push_back(id += i % 7 == 6 ? 5 : 1);
  return ids;
}

Samples samples_of(const Column& column) {
  Samples samples;
  for (std::size_t i = 0; i < column.size(); ++i) {
    samples[column.times[i]] = std::bit_cast<std::uint64_t>(column.values[i]);
  }
  return samples;
}

void check_all(Bytes bytes, const Series& expected) {
  const Result<BlockView> view = BlockView::parse(bytes);
  REQUIRE(view.has_value());
  std::uint64_t samples = 0;
  std::vector<SeriesId> ids;
  for (const auto& [id, of_id] : expected) {
    ids.push_back(id);
    samples += of_id.size();
    const auto column = view->find(id);
    REQUIRE(column);
    CHECK(view->samples_of(*column) == of_id.size());
    Column out;
    REQUIRE(view->read(*column, -kEver, kEver, out));
    REQUIRE(out.size() == of_id.size());
    REQUIRE(samples_of(out) == of_id);
  }
  CHECK(view->ids() == ids);
  CHECK(view->samples() == samples);
  CHECK(view->columns() == ids.size());
  CHECK_FALSE(view->find(1));
  CHECK_FALSE(view->find(ids.back() + 1));
}

TEST_CASE("a block gives back all of its samples, wherever its bytes lie") {
  BlockBuilder builder;
  for (const int rows : {1, 2, 100, 480, 4096}) {
    for (const std::size_t columns : {1U, 32U, 33U, 100U}) {
      const Made dense =
          make_block(builder, 1'700'000'000'000, rows, some_ids(columns), kSeed, TimeCode::kDense);
      check_all(dense.bytes, dense.series);
      Made made = make_block(builder, 1'700'000'000'000, rows, some_ids(columns));
      check_all(made.bytes, made.series);
      CHECK(dense.bytes.size() <= made.bytes.size());
      std::vector<std::uint8_t> elsewhere(made.bytes.size() + 3);
      std::ranges::copy(made.bytes, elsewhere.begin() + 3);
      made.bytes.clear();
      check_all(Bytes(elsewhere).subspan(3), made.series);
    }
  }
}

TEST_CASE("a range of a block is read open on the left") {
  BlockBuilder builder;
  const TimeCode code = GENERATE(TimeCode::kPlain, TimeCode::kDense);
  const Made made = make_block(builder, 1'700'000'000'000, 480, some_ids(40), kSeed, code);
  const BlockView view = BlockView::parse(made.bytes).value();
  std::mt19937_64 random(kSeed);
  for (int round = 0; round < 150; ++round) {
    const std::int64_t start =
        view.first_time() - 3000 + static_cast<std::int64_t>(random() % 486'000);
    const std::int64_t end = start + static_cast<std::int64_t>(random() % 300'000);
    for (const auto& [id, all] : made.series) {
      const Samples expected(all.upper_bound(start), all.upper_bound(end));
      Column out;
      REQUIRE(view.read(*view.find(id), start, end, out));
      REQUIRE(samples_of(out) == expected);
      Aggregate sum;
      REQUIRE(view.aggregate(*view.find(id), start, end, sum));
      Aggregate expected_sum;
      for (const auto& [time, bits] : expected) expected_sum.add(std::bit_cast<double>(bits));
      REQUIRE(sum.count() == expected_sum.count());
      REQUIRE(std::bit_cast<std::uint64_t>(sum.last()) ==
              std::bit_cast<std::uint64_t>(expected_sum.last()));
      REQUIRE((sum.max() == expected_sum.max() || std::isnan(expected_sum.max())));
      REQUIRE((sum.min() == expected_sum.min() || std::isnan(expected_sum.min())));
    }
  }
}

TEST_CASE("times of any kind come back") {
  const std::int64_t least = std::numeric_limits<std::int64_t>::min();
  const std::vector<std::vector<std::int64_t>> columns{
      {0},
      {1000, 2000, 3000, 4000},
      {1000, 2001, 2999, 4000},
      {0, 1, 2, 3, 1'000'000'000'000},
      {least, 0, kEver},
      {least, least + 1, kEver - 1, kEver},
      {-5, -4, 100'000, 100'001},
  };
  const TimeCode code = GENERATE(TimeCode::kPlain, TimeCode::kDense);
  BlockBuilder builder;
  for (const auto& times : columns) {
    builder.begin(times, code);
    std::vector<std::uint16_t> rows(times.size());
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::uint16_t>(i);
    builder.add(7, rows, std::vector<double>(times.size(), 1.5));
    const auto bytes = builder.finish();
    const BlockView view = BlockView::parse(bytes).value();
    std::vector<std::int64_t> back(times.size());
    view.times(back);
    CHECK(back == times);
  }
}

/// Where the columns of a block of one column begin is what its times take.
std::size_t bytes_of_times(const std::vector<std::int64_t>& times, TimeCode code) {
  BlockBuilder builder;
  builder.begin(times, code);
  const std::array<std::uint16_t, 1> row{0};
  builder.add(7, row, std::array{0.0});
  const std::vector<std::uint8_t> bytes = builder.finish();
  std::vector<std::int64_t> back(times.size());
  BlockView::parse(bytes).value().times(back);
  CHECK(back == times);
  builder.begin(std::array{times.front()});
  builder.add(7, row, std::array{0.0});
  return bytes.size() - builder.finish().size();
}

TEST_CASE("times of a clock that is late and misses ticks take few bytes on disk") {
  std::mt19937_64 random(kSeed);
  std::vector<std::int64_t> times;
  std::int64_t tick = 1'700'000'000'000;
  for (int row = 0; row < 3840; ++row) {
    tick += random() % 50 == 0 ? 3000 : 1000;
    times.push_back(tick + (random() % 4 == 0 ? static_cast<std::int64_t>(random() % 200) : 0));
  }
  CHECK(bytes_of_times(times, TimeCode::kPlain) > 3840 * 2);
  CHECK(bytes_of_times(times, TimeCode::kDense) < 3840 / 2);
  // Nobody runs by a clock: as many bits as the differences have.
  for (std::size_t i = 1; i < times.size(); ++i) {
    times[i] = times[i - 1] + 1 + static_cast<std::int64_t>(random() % 65'536);
  }
  CHECK(bytes_of_times(times, TimeCode::kDense) < 3840 * 9 / 4);
  for (int i = 0; i < 100; ++i) {  // as hostile as they come
    std::vector<std::int64_t> some(1 + random() % 300);
    const std::uint64_t spread = random() % 64;
    for (auto& time : some) time = static_cast<std::int64_t>(random() >> spread);
    std::ranges::sort(some);
    const auto doubled = std::ranges::unique(some);
    some.erase(doubled.begin(), doubled.end());
    static_cast<void>(bytes_of_times(some, TimeCode::kDense));
  }
}

TEST_CASE("merged blocks hold what they held apart, in fewer bytes") {
  BlockBuilder builder;
  std::vector<Made> made;
  Series all;
  std::size_t bytes = 0;
  for (int i = 0; i < 8; ++i) {
    std::vector<SeriesId> ids = some_ids(100);
    ids.erase(ids.begin() + i * 3, ids.begin() + i * 5);  // series come and go
    made.push_back(make_block(builder, 1'700'000'000'000 + i * 480'000, 480, ids,
                              kSeed + static_cast<unsigned>(i)));
    for (const auto& [id, samples] : made.back().series)
      all[id].insert(samples.begin(), samples.end());
    bytes += made.back().bytes.size();
  }
  std::vector<BlockView> views;
  for (const Made& one : made) views.push_back(BlockView::parse(one.bytes).value());
  const auto merged = merge_blocks(views, builder);
  REQUIRE(merged.has_value());
  check_all(*merged, all);
  CHECK(merged->size() < bytes);

  std::ranges::reverse(views);
  CHECK(merge_blocks(views, builder).error().code() == Errc::kInvalidArgument);
  CHECK(merge_blocks({}, builder).error().code() == Errc::kInvalidArgument);
  const Made large = make_block(builder, 1'600'000'000'000, 4000, some_ids(3));
  const std::vector<BlockView> too_many{BlockView::parse(large.bytes).value(), views.back()};
  CHECK(merge_blocks(too_many, builder).error().code() == Errc::kInvalidArgument);
}

/// Everything that a reader may do with bytes that may be anything.
void read_all(Bytes bytes, BlockBuilder& builder) {
  const Result<BlockView> view = BlockView::parse(bytes);
  if (!view) {
    CHECK((view.error().code() == Errc::kCorrupt || view.error().code() == Errc::kUnsupported));
    return;
  }
  const auto middle =
      static_cast<std::int64_t>(static_cast<std::uint64_t>(view->first_time()) + 300'000);
  for (std::uint32_t column = 0; column < view->columns(); ++column) {
    Column out;
    Aggregate sum;
    const bool read = view->read(column, -kEver, kEver, out);
    CHECK((read || out.size() == 0));
    CHECK(out.times.size() == out.values.size());
    static_cast<void>(view->read(column, middle, kEver, out));
    static_cast<void>(view->aggregate(column, middle, kEver, sum));
    static_cast<void>(view->samples_of(column));
  }
  for (const SeriesId id : view->ids()) static_cast<void>(view->find(id));
  static_cast<void>(merge_blocks({&*view, 1}, builder));
}

/// Exactly these bytes on the heap, so that a sanitizer sees every step beyond them.
std::vector<std::uint8_t> exact(Bytes bytes) {
  std::vector<std::uint8_t> copy(bytes.begin(), bytes.end());
  copy.shrink_to_fit();
  return copy;
}

TEST_CASE("no flipped bit makes a reader leave a block") {
  BlockBuilder builder;
  for (const int rows : {60, 300}) {
    const Made made = make_block(builder, 1'700'000'000'000, rows, some_ids(rows == 60 ? 36 : 10),
                                 kSeed, TimeCode::kDense);
    std::mt19937_64 random(kSeed);
    // Of the small block every byte; of the large one, whose columns are much alike, every fifth.
    for (std::size_t i = 0; i < made.bytes.size(); i += rows == 60 ? 1 : 5) {
      std::vector<std::uint8_t> damaged = exact(made.bytes);
      damaged[i] ^= static_cast<std::uint8_t>(1U << (random() % 8));
      read_all(damaged, builder);
      damaged[i] = static_cast<std::uint8_t>(random() % 3 == 0 ? 0xff : random());
      read_all(damaged, builder);
    }
  }
}

TEST_CASE("no cut and no noise makes a reader leave a block") {
  BlockBuilder builder;
  const TimeCode code = GENERATE(TimeCode::kPlain, TimeCode::kDense);
  const Made made = make_block(builder, 1'700'000'000'000, 300, some_ids(20), kSeed, code);
  std::mt19937_64 random(kSeed);
  for (std::size_t size = 0; size < made.bytes.size(); size += 1 + size / 40) {
    std::vector<std::uint8_t> cut = exact(Bytes(made.bytes).first(size));
    CHECK_FALSE(BlockView::parse(cut).has_value());
    if (size < sizeof(BlockHeader)) continue;
    const auto claimed = static_cast<std::uint32_t>(size);
    std::memcpy(cut.data() + 4, &claimed, sizeof claimed);  // a header that agrees with the cut
    read_all(cut, builder);
  }
  for (int round = 0; round < 1000; ++round) {
    std::vector<std::uint8_t> noisy = exact(made.bytes);
    for (std::size_t hits = 1 + random() % 40; hits > 0; --hits) {
      noisy[sizeof(BlockHeader) + random() % (noisy.size() - sizeof(BlockHeader))] =
          static_cast<std::uint8_t>(random());
    }
    read_all(noisy, builder);
  }
}

TEST_CASE("a block of the first version is read, one of a later version refused by its name") {
  BlockBuilder builder;
  Made made = make_block(builder, 1'700'000'000'000, 10, some_ids(5));
  made.bytes[3] = 1;
  check_all(made.bytes, made.series);
  for (const std::uint8_t version : std::array<std::uint8_t, 2>{0, 3}) {
    made.bytes[3] = version;
    CHECK(BlockView::parse(made.bytes).error().code() == Errc::kUnsupported);
  }
  made.bytes[0] = 'X';
  CHECK(BlockView::parse(made.bytes).error().code() == Errc::kCorrupt);
}

TEST_CASE("what the last writer of version 1 wrote is read to the bit") {
  const auto file = host::read_file(NEXUS_TEST_DATA "/knowledge/golden/blocks-v1.bin");
  REQUIRE(file);
  const auto* const begin = reinterpret_cast<const std::uint8_t*>(file->data());
  Bytes rest(begin, file->size());
  for (const test::GoldenBlock& golden : test::golden_blocks()) {
    std::uint32_t size = 0;
    REQUIRE(rest.size() > 8);
    std::memcpy(&size, rest.data() + 4, sizeof size);
    REQUIRE(size <= rest.size());
    CHECK(rest[3] == 1);
    const auto block = BlockView::parse(rest.first(size));
    REQUIRE(block);
    std::vector<std::int64_t> times(block->rows());
    block->times(times);
    CHECK(times == golden.times);
    REQUIRE(block->columns() == golden.columns.size());
    for (const test::GoldenColumn& column : golden.columns) {
      INFO("series " << column.id);
      const auto place = block->find(column.id);
      REQUIRE(place);
      std::vector<std::uint16_t> rows(block->rows());
      std::vector<double> values(block->rows());
      const auto count = block->decode(*place, rows, values);
      REQUIRE(count == column.values.size());
      rows.resize(*count);
      values.resize(*count);
      CHECK(rows == column.rows);
      CHECK(std::ranges::equal(values, column.values, {}, std::bit_cast<std::uint64_t, double>,
                               std::bit_cast<std::uint64_t, double>));
    }
    rest = rest.subspan(size);
  }
  CHECK(rest.empty());
}

}  // namespace
}  // namespace nexus::knowledge
