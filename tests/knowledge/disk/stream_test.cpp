#include "knowledge/disk/stream.hpp"

#include <fcntl.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "knowledge/disk/cache.hpp"
#include "knowledge/disk/support.hpp"

namespace nexus::knowledge::disk {
namespace {

using Payload = std::vector<std::uint8_t>;

StreamOptions options(const test::TemporaryDirectory& folder) {
  return {.directory = folder.path(),
          .name = "data",
          .cipher = nullptr,
          .health = std::make_shared<Health>(),
          .segment_bytes = 1000,
          .segment_millis = 10'000};
}

SeriesDefinition series(std::uint32_t number, std::string name, std::uint32_t family = 0) {
  return {number, family, Labels({{"__name__", "m"}, {"name", std::move(name)}})};
}

RecordInfo rows(std::uint32_t group, std::int64_t first, std::int64_t last) {
  return {.group = group, .first = first, .last = last, .low = 1, .high = 9};
}

void nothing(const Segment&, const Definitions&) {}

std::vector<std::int64_t> first_times(const Stream& stream) {
  std::vector<std::int64_t> times;
  const auto segments = stream.segments();
  for (const auto& segment : *segments) {
    for (const Entry& entry : segment->entries) {
      if (entry.kind == Kind::kBlock) times.push_back(entry.first);
    }
  }
  return times;
}

std::shared_ptr<const Names> names(const Stream& stream, std::size_t place) {
  return stream.names_of(*stream.segments()->at(place));
}

TEST_CASE("definitions come back, and nothing else is taken for them") {
  Definitions out;
  out.add({"a", MetricType::kCounter, "Help of a."});
  REQUIRE(out.add({"b", MetricType::kHistogram, ""}) == 1);
  REQUIRE(out.add({"a", MetricType::kCounter, "Help of a."}) == 0);
  out.series = {series(7, "x"), series(4'000'000'000, "y", 1)};
  const Payload bytes = encode(out);
  const Definitions in = must(decode_definitions(bytes));
  REQUIRE(in.families.size() == 2);
  REQUIRE(in.families[1].type == MetricType::kHistogram);
  REQUIRE(in.families[0].help == "Help of a.");
  REQUIRE(in.series.size() == 2);
  REQUIRE(in.series[1].number == 4'000'000'000);
  REQUIRE(in.series[1].family == 1);
  REQUIRE(in.series[1].labels == out.series[1].labels);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    REQUIRE(!decode_definitions(Bytes(bytes).first(size)));
  }
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    Payload other = bytes;
    other[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    (void)decode_definitions(other);  // anything but leaving the bytes
  }
}

TEST_CASE("a stream rotates by size and by age, and is read by the next process") {
  const test::TemporaryDirectory folder;
  Stream stream(options(folder));
  must(stream.load(nothing));
  std::size_t definitions = 0;
  for (std::int64_t i = 0; i < 20; ++i) {
    must(stream.prepare(i * 100));
    if (!stream.defines(3)) {
      ++definitions;
      must(stream.define({{{"m", MetricType::kGauge, ""}}, {series(3, "a")}}));
    }
    must(stream.append(rows(1, i, i), Payload(200, 1)));
  }
  must(stream.prepare(19 * 100 + 9'000));
  const std::size_t before = stream.segments()->size();
  REQUIRE(before > 3);
  must(stream.prepare(19 * 100 + 20'000));
  REQUIRE(stream.segments()->size() == before + 1);
  must(stream.sync());
  REQUIRE(first_times(stream).size() == 20);
  const std::uint64_t hash = series(3, "a").labels.hash();
  REQUIRE(names(stream, 0)->find(hash).front().number == 3);

  Stream next(options(folder));
  std::size_t defined = 0;
  must(next.load([&](const Segment&, const Definitions& read) { defined += read.series.size(); }));
  REQUIRE(definitions > 3);
  REQUIRE(defined == definitions);
  REQUIRE(first_times(next) == first_times(stream));
  REQUIRE(next.bytes() == stream.bytes());
  REQUIRE(names(next, 0)->find(hash).front().number == 3);
  REQUIRE(names(next, 0)->find(hash + 1).empty());
  must(next.prepare(0));
  REQUIRE(next.segments()->back()->number == stream.segments()->back()->number + 1);
}

TEST_CASE("what a group had is void after the clock was set back, here and in the next process") {
  const test::TemporaryDirectory folder;
  Stream stream(options(folder));
  for (const std::int64_t first : {0, 10, 20, 30}) {
    must(stream.rotate(0));  // over several files
    must(stream.append(rows(1, first, first + 9), Payload(10, 1)));
    must(stream.append(rows(2, first, first + 9), Payload(10, 1)));
  }
  must(stream.append({.kind = Kind::kRewind, .group = 1, .first = 15, .last = 15}, {}));
  must(stream.append(rows(1, 15, 18), Payload(10, 1)));
  const std::vector<std::int64_t> left = {0, 0, 10, 20, 30, 15};
  REQUIRE(first_times(stream) == left);
  Stream next(options(folder));
  must(next.load(nothing));
  REQUIRE(first_times(next) == left);
}

TEST_CASE("a torn end is cut off when the stream is opened") {
  const Quiet quiet;
  const test::TemporaryDirectory folder;
  {
    Stream stream(options(folder));
    must(stream.prepare(0));
    must(stream.append(rows(1, 0, 0), Payload(100, 1)));
    must(stream.append(rows(1, 1, 1), Payload(100, 2)));
  }
  const std::string path = folder.file("data-00000001.seg");
  const Payload bytes = read_bytes(path);
  const std::size_t second = sizeof(FileHeader) + sizeof(RecordHeader) + 100;
  for (std::size_t size = second; size < bytes.size(); ++size) {
    write_bytes(path, {bytes.begin(), bytes.begin() + static_cast<long>(size)});
    Stream stream(options(folder));
    must(stream.load(nothing));
    REQUIRE(first_times(stream) == std::vector<std::int64_t>{0});
    REQUIRE(std::filesystem::file_size(path) == second);
  }
}

TEST_CASE("dropping takes whole segments, oldest first, and never from a reader") {
  const test::TemporaryDirectory folder;
  Stream stream(options(folder));
  for (std::int64_t i = 0; i < 4; ++i) {
    must(stream.rotate(0));
    must(stream.append(rows(1, i * 10, i * 10 + 9), Payload(100, std::uint8_t(i))));
  }
  const auto held = stream.segments();
  REQUIRE(stream.drop_before(20) == 2);
  REQUIRE(first_times(stream) == std::vector<std::int64_t>{20, 30});
  const Segment& gone = *held->front();
  REQUIRE(!std::filesystem::exists(gone.file->path()));
  REQUIRE(must(gone.file->read(gone.entries[0])) == Payload(100, 0));
  REQUIRE(stream.drop_oldest());
  REQUIRE(!stream.drop_oldest());  // the active one stays
  REQUIRE(stream.drop_before(1000) == 0);
  REQUIRE(first_times(stream) == std::vector<std::int64_t>{30});
}

TEST_CASE("a file of another key or of none of ours is left out, and the others are read") {
  const test::TemporaryDirectory folder;
  const auto health = std::make_shared<Health>();
  StreamOptions with_key = options(folder);
  with_key.health = health;
  with_key.cipher = std::make_shared<const Cipher>(Cipher::Key{1});
  {
    Stream stream(with_key);
    must(stream.prepare(0));
    must(stream.define({{{"m", MetricType::kGauge, ""}}, {series(1, "a")}}));
    must(stream.append(rows(1, 0, 0), Payload(10, 1)));
    must(stream.rotate(0));
    must(stream.append(rows(1, 1, 1), Payload(10, 1)));
  }
  write_bytes(folder.file("data-00000001.seg"), Payload(5000, 7));
  with_key.cipher = std::make_shared<const Cipher>(Cipher::Key{2});
  Stream stream(with_key);
  must(stream.load(nothing));
  REQUIRE(health->unusable_files == 1);
  REQUIRE(health->damaged_records == 2);  // the header of the first file, and what follows
  REQUIRE(stream.segments()->size() == 2);
  REQUIRE(!stream.segments()->back()->usable);
}

TEST_CASE("a file of a later format is not touched") {
  const Quiet quiet;
  const test::TemporaryDirectory folder;
  {
    Stream stream(options(folder));
    must(stream.prepare(0));
    must(stream.append(rows(1, 0, 0), Payload(100, 1)));
  }
  const std::string path = folder.file("data-00000001.seg");
  Payload bytes = read_bytes(path);
  FileHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  header.version = kFileVersion + 1;
  header.checksum = checksum_of(header);
  std::memcpy(bytes.data(), &header, sizeof(header));
  // What follows would be a torn end of ours; the last bytes mean nothing to us at all.
  for (const std::size_t size : {bytes.size() - 1, bytes.size() - 120, sizeof(FileHeader) + 3}) {
    write_bytes(path, {bytes.begin(), bytes.begin() + static_cast<long>(size)});
    StreamOptions later = options(folder);
    Stream stream(later);
    must(stream.load(nothing));
    REQUIRE(later.health->unusable_files == 1);
    REQUIRE(later.health->damaged_records == 0);
    REQUIRE(std::filesystem::file_size(path) == size);
  }
}

TEST_CASE("a series that was defined for a group is looked for there, in the next process too") {
  const test::TemporaryDirectory folder;
  StreamOptions wide = options(folder);
  wide.segment_bytes = 1 << 20;
  const Definitions one{{{"m", MetricType::kGauge, ""}}, {series(3, "a")}};
  const std::uint64_t hash = one.series[0].labels.hash();
  Stream stream(wide);
  must(stream.prepare(0));
  REQUIRE(!stream.defines(3, 5));
  must(stream.define(one, 5));
  REQUIRE(stream.defines(3, 5));
  REQUIRE(!stream.defines(3, 6));
  REQUIRE(!stream.defines(3));
  must(stream.define(one, 6));
  must(stream.define({one.families, {series(4, "b")}}));
  must(stream.sync());
  Stream next(wide);
  must(next.load(nothing));
  for (const Stream* either : {&stream, &next}) {
    const auto found = names(*either, either->segments()->size() - 1);
    REQUIRE(std::ranges::equal(found->find(hash),
                               std::vector<Names::Name>{{hash, 3, 5}, {hash, 3, 6}}));
    const std::uint64_t other = series(4, "b").labels.hash();
    REQUIRE(
        std::ranges::equal(found->find(other), std::vector<Names::Name>{{other, 4, kAnyGroup}}));
  }
}

TEST_CASE("names of files that nobody asked for of late are read from them again") {
  const test::TemporaryDirectory folder;
  StreamOptions narrow = options(folder);
  narrow.names = std::make_shared<NameCache>(1);
  Stream stream(narrow);
  const auto define = [&](std::uint32_t number, std::uint32_t group) {
    return stream.define({{{"m", MetricType::kGauge, ""}}, {series(number, "a")}}, group);
  };
  for (const std::uint32_t number : {3, 4, 5}) {
    must(stream.rotate(0));
    must(define(number, 5));
    // What a reader holds stays what it is.
    const auto before = names(stream, stream.segments()->size() - 1);
    must(define(number + 10, kAnyGroup));
    REQUIRE(before->size() == 1);
  }
  const std::uint64_t hash = series(3, "a").labels.hash();
  for (int again = 0; again < 2; ++again) {
    for (const std::uint32_t number : {3, 4, 5}) {
      REQUIRE(std::ranges::equal(
          names(stream, number - 3)->find(hash),
          std::vector<Names::Name>{{hash, number, 5}, {hash, number + 10, kAnyGroup}}));
      REQUIRE(narrow.names->size() <= 2);
    }
  }
}

/// What went through a number of files, each with one series, some series one after the other.
struct Passed {
  std::uint64_t asked = 0;
  std::uint64_t read = 0;
};

TEST_CASE("of files that are more than fit, names that a query comes by again and again are held") {
  const test::TemporaryDirectory folder;
  StreamOptions narrow = options(folder);
  narrow.names = std::make_shared<NameCache>(4);
  Stream stream(narrow);
  constexpr std::size_t kFiles = 40;
  for (std::uint32_t file = 0; file < kFiles; ++file) {
    must(stream.rotate(0));
    must(stream.define({{{"m", MetricType::kGauge, ""}}, {series(file, "a")}}));
  }
  const std::uint64_t hash = series(0, "a").labels.hash();
  const auto pass = [&](std::size_t first, std::size_t files, int times) {
    Passed out{0, narrow.names->files_read()};
    for (int i = 0; i < times; ++i) {
      for (std::size_t file = first; file < first + files; ++file, ++out.asked) {
        const auto found = names(stream, file)->find(hash);
        REQUIRE(found.size() == 1);
        REQUIRE(found[0].number == file);
        REQUIRE(narrow.names->size() <= 4);
      }
    }
    out.read = narrow.names->files_read() - out.read;
    return out;
  };
  // One more than fit: of four questions three are answered. By which is asked for last: none.
  const Passed five = pass(0, 5, 200);
  REQUIRE(five.read > five.asked / 5);
  REQUIRE(five.read <= five.asked / 4 + 5);
  // The query's next slice is about others: those that it had are not held for ever.
  const Passed next = pass(5, 5, 200);
  REQUIRE(next.read <= next.asked / 4 + 70);
  // Three of seventeen.
  const Passed many = pass(10, 18, 200);
  REQUIRE(many.read <= many.asked * 14 / 17 + 70);
  // What fits is read once each, when what was before has aged.
  REQUIRE(pass(30, 4, 200).read <= 70);
  REQUIRE(pass(30, 4, 200).read == 0);
}

TEST_CASE("names that could not all be read are read again; a damaged record is counted once") {
  const test::TemporaryDirectory folder;
  StreamOptions wide = options(folder);
  wide.names = std::make_shared<NameCache>(100);
  Stream stream(wide);
  must(stream.rotate(0));
  must(stream.define({{{"m", MetricType::kGauge, ""}}, {series(1, "a")}}));
  must(stream.define({{{"m", MetricType::kGauge, ""}}, {series(2, "b")}}));
  stream.close();
  const auto segment = stream.segments()->at(0);
  const Entry& second = segment->entries.at(1);
  auto bytes = read_bytes(segment->file->path());
  bytes.at(second.end() - 1) ^= 3U;  // one bit would be turned back
  write_bytes(segment->file->path(), bytes);
  const Quiet quiet;
  NameCache fresh(100);
  for (int again = 0; again < 3; ++again) {
    const auto found = fresh.get(*segment->file, segment->entries);
    REQUIRE(found->size() == 1);
  }
  REQUIRE(fresh.files_read() == 1);
  REQUIRE(wide.health->damaged_records == 1);
  // One that cannot be read now, but perhaps later.
  const std::string path = segment->file->path();
  const SegmentFile unreadable(host::Fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC)), path, nullptr,
                               wide.health);
  for (int again = 0; again < 2; ++again) {
    REQUIRE(fresh.get(unreadable, segment->entries)->size() == 0);
  }
  REQUIRE(fresh.files_read() == 3);
  REQUIRE(fresh.size() == 1);
}

TEST_CASE("nobody asks for the names of a stream that is not indexed, and they are not held") {
  const test::TemporaryDirectory folder;
  StreamOptions log = options(folder);
  log.indexed = false;
  log.names = std::make_shared<NameCache>(100);
  Stream stream(log);
  must(stream.rotate(0));
  must(stream.define({{{"m", MetricType::kGauge, ""}}, {series(1, "a")}}));
  must(stream.sync());
  Stream next(log);
  std::size_t visited = 0;
  must(next.load([&](const Segment&, const Definitions& one) { visited += one.series.size(); }));
  REQUIRE(visited == 1);
  REQUIRE(log.names->size() == 0);
}

TEST_CASE("a segment ends when it has defined very many series") {
  const test::TemporaryDirectory folder;
  StreamOptions wide = options(folder);
  wide.segment_bytes = 64 << 20;
  Stream stream(wide);
  must(stream.prepare(0));
  Definitions many{{{"m", MetricType::kGauge, ""}}, {}};
  for (std::uint32_t i = 0; i < (1U << 17); ++i) many.series.push_back(series(i, "a"));
  const std::uint64_t first = stream.active();
  must(stream.define({many.families, {many.series.begin(), many.series.end() - 1}}));
  must(stream.prepare(0));
  REQUIRE(stream.active() == first);
  must(stream.define({many.families, {many.series.back()}}));
  must(stream.prepare(0));
  REQUIRE(stream.active() != first);
}

TEST_CASE("a stream goes on in a new segment when the disk can be written again") {
  const test::TemporaryDirectory folder;
  StreamOptions wide = options(folder);
  wide.segment_bytes = 1 << 20;
  std::int64_t written = 0;
  bool dropped = false;
  bool read_only_refused = false;
  std::vector<std::int64_t> times;
  const auto write = [](Stream& stream, std::int64_t time) {
    return stream.prepare(0) && stream.append(rows(1, time, time), Payload(4000, 1)) &&
           stream.sync();
  };
  must(on_small_disk(folder, 128 << 10, [&] {
    Stream stream(wide);
    while (written < 1000 && write(stream, written)) ++written;
    dropped = stream.drop_oldest();  // the full one, which is active no more
    if (!set_read_only(folder, true)) return;
    read_only_refused = !write(stream, 4000);
    if (!set_read_only(folder, false) || !write(stream, 5000)) return;
    Stream next(wide);
    if (next.load(nothing)) times = first_times(next);
  }));
  REQUIRE(written > 10);
  REQUIRE(written < 1000);
  REQUIRE(dropped);
  REQUIRE(read_only_refused);
  REQUIRE(times == std::vector<std::int64_t>{5000});
}

TEST_CASE("readers go on while segments are appended and dropped") {
  const test::TemporaryDirectory folder;
  StreamOptions small = options(folder);
  small.segment_bytes = 5000;
  Stream stream(small);
  must(stream.prepare(0));
  must(stream.append(rows(0, 0, 0), Payload(100, 0)));
  Cache cache(3000);
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<std::uint64_t> reads{0};
  std::vector<std::thread> readers;
  for (int r = 0; r < 2; ++r) {
    readers.emplace_back([&] {
      while (!done.load()) {
        const auto segments = stream.segments();
        for (const auto& segment : *segments) {
          for (const Entry& entry : segment->entries) {
            const auto payload = cache.get(*segment->file, entry);
            ++reads;
            if (payload == nullptr || *payload != Payload(100, std::uint8_t(entry.first))) ++wrong;
          }
        }
      }
    });
  }
  for (std::int64_t i = 1; i < 3000 || reads < 1000; ++i) {
    must(stream.prepare(0));
    must(stream.append(rows(0, i, i), Payload(100, std::uint8_t(i))));
    if (stream.segments()->size() > 3) stream.drop_oldest();
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  REQUIRE(wrong == 0);
}

}  // namespace
}  // namespace nexus::knowledge::disk
