// Every region of every file of a history, flipped and cut.
#include <cmath>
#include <cstring>
#include <set>

#include "knowledge/disk/format.hpp"
#include "knowledge/disk/history_fixture.hpp"
#include "nexus/knowledge/backfill.hpp"

namespace nexus::knowledge::disk {
namespace {

constexpr std::int64_t kMinute = 60'000;
constexpr std::int64_t kHour = 60 * kMinute;
constexpr std::int64_t kBegin = kStart / kHour * kHour;
constexpr std::int64_t kEnd = kBegin + 9 * kHour;
constexpr int kSeries = 6;

HistoryDisk disk_of(const std::string& folder) {
  HistoryDisk disk{.directory = folder + "/history", .retention = Millis(5 * kHour)};
  disk.tiers = {{Millis(kMinute), Millis(6 * kHour)}, {Millis(kHour), Millis(365 * 24 * kHour)}};
  return disk;
}

double value_of(int series, std::int64_t time) {
  return std::floor(static_cast<double>(time - kBegin) / 1000 / (series + 1));
}

/// All kinds of files: data, past, log, minutes, hours.
void write_history(const std::string& folder) {
  Process process(disk_of(folder), kBegin, {.retention = Millis(5 * kHour), .bytes = 1 << 20});
  std::vector<SeriesId> ids;
  std::vector<double> values(kSeries);
  for (int i = 0; i < kSeries; ++i) ids.push_back(process.series("s" + std::to_string(i)));
  for (std::int64_t time = kBegin + 5000; time <= kEnd; time += 5000) {
    for (int i = 0; i < kSeries; ++i) values[static_cast<std::size_t>(i)] = value_of(i, time);
    process.append(1, time, ids, values);
    if ((time - kBegin) % (10 * kMinute) != 0) continue;
    process.history.maintain(time);
    must(process.history.checkpoint());
  }
  Backfill backfill(process.registry, process.history, 1 << 20);
  for (int i = 0; i < kSeries; ++i) {
    for (std::int64_t time = kEnd - kHour + 1000; time < kEnd; time += 1000) {
      must(backfill.add(Labels("s" + std::to_string(i), {}), 1 + static_cast<std::uint64_t>(i),
                        time, value_of(i, time)));
    }
  }
  must(backfill.flush());
}

/// How many samples there are; each of them has to be right.
std::size_t count_right(const std::string& folder) {
  Process process(disk_of(folder), kEnd, {.retention = Millis(5 * kHour), .bytes = 1 << 20});
  if (!process.opened) return 0;
  std::size_t count = 0;
  for (int i = 0; i < kSeries; ++i) {
    const std::string name = "s" + std::to_string(i);
    for (const std::int64_t start : {std::int64_t{0}, kEnd - 4 * kHour}) {
      const Column column = process.read(name, start, kEnd);
      bool right = true;
      for (std::size_t r = 0; r < column.size(); ++r) {
        right = right && column.values[r] == value_of(i, column.times[r]) &&
                (r == 0 || column.times[r] > column.times[r - 1]);
      }
      REQUIRE(right);
      count += column.size();
    }
  }
  return count;
}

/// Places in every part of a file: its header, then header, begin, middle and end of each record.
std::set<std::size_t> places_in(const std::vector<std::uint8_t>& bytes) {
  std::set<std::size_t> places = {0, 9, 17, 41, 61};
  std::vector<std::size_t> records;
  for (std::size_t at = sizeof(FileHeader); at + sizeof(RecordHeader) <= bytes.size();) {
    RecordHeader header;
    std::memcpy(&header, bytes.data() + at, sizeof(header));
    REQUIRE(is_whole(header));
    records.push_back(at);
    at += sizeof(RecordHeader) + header.size;
  }
  for (const std::size_t pick : {std::size_t{0}, records.size() / 2, records.size() - 1}) {
    const std::size_t at = records[pick];
    const std::size_t next = pick + 1 < records.size() ? records[pick + 1] : bytes.size();
    for (const std::size_t in : {std::size_t{1}, std::size_t{10}, std::size_t{46}}) {
      places.insert(at + in);
    }
    for (const std::size_t in : {at + sizeof(RecordHeader), (at + next) / 2, next - 1}) {
      places.insert(std::min(in, bytes.size() - 1));
    }
  }
  return places;
}

TEST_CASE("every region of every file, flipped, cut, and whole files lost") {
  const Quiet quiet;
  const test::TemporaryDirectory whole;
  write_history(whole.path());
  const std::size_t all = count_right(whole.path());
  std::set<std::string> kinds;
  std::size_t rounds = 0;
  for (const auto& file : std::filesystem::directory_iterator(whole.file("history"))) {
    const std::string name = file.path().filename();
    if (!kinds.insert(name.substr(0, name.find('-'))).second) continue;  // one of each kind
    const std::vector<std::uint8_t> bytes = read_bytes(file.path());
    const auto try_with = [&](const auto& change) {
      const test::TemporaryDirectory copy;
      std::filesystem::copy(whole.path(), copy.path(), std::filesystem::copy_options::recursive);
      const std::string path = copy.file("history/" + name);
      change(path);
      INFO(name << ", round " << rounds);
      const std::size_t left = count_right(copy.path());
      REQUIRE(left > all / 100);  // other files are read, finer or coarser
      ++rounds;
    };
    for (const std::size_t at : places_in(bytes)) {
      try_with([&](const std::string& path) {
        std::vector<std::uint8_t> damaged = bytes;
        damaged[at] ^= 0x10;
        write_bytes(path, damaged);
      });
      try_with([&](const std::string& path) { std::filesystem::resize_file(path, at); });
    }
    try_with([&](const std::string& path) { std::filesystem::remove(path); });
  }
  CHECK(kinds == std::set<std::string>{"data", "past", "wal", "tier60", "tier3600"});
  CHECK(rounds > 100);
}

TEST_CASE("a clock that jumps ahead and comes back: the future is void, the present goes on") {
  const test::TemporaryDirectory folder;
  const HistoryDisk disk{.directory = folder.file("history")};
  const auto append = [](Process& process, std::int64_t time, double value) {
    const std::vector<SeriesId> ids = {process.series("a")};
    process.history.append({1, time, ids, std::vector<double>{value}});
  };
  {
    Process process(disk, kBegin);
    for (int row = 0; row < 1000; ++row) append(process, kBegin + row * 1000, row);
    must(process.history.checkpoint());
    for (int row = 0; row < 600; ++row) append(process, kBegin + 500 * 24 * kHour + row * 1000, -1);
    must(process.history.checkpoint());
    for (int row = 1000; row < 2000; ++row) append(process, kBegin + row * 1000, row);
    must(process.history.checkpoint());
    const Column column = process.read("a");
    REQUIRE(column.size() >= 1000);
    CHECK(std::ranges::find(column.values, -1.0) == column.values.end());
    CHECK(column.values.back() == 1999);
  }
  Process process(disk, kBegin + 2000 * 1000);
  const Column column = process.read("a");
  REQUIRE(column.size() >= 1000);
  CHECK(std::ranges::find(column.values, -1.0) == column.values.end());
  CHECK(column.values.back() == 1999);
  CHECK(process.history.latest(process.series("a"))->time == kBegin + 1999 * 1000);
}

}  // namespace
}  // namespace nexus::knowledge::disk
