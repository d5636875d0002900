#include "knowledge/disk/segment.hpp"

#include <algorithm>
#include <map>
#include <random>

#include "knowledge/disk/cache.hpp"
#include "knowledge/disk/support.hpp"

namespace nexus::knowledge::disk {
namespace {

using Payload = std::vector<std::uint8_t>;

std::shared_ptr<const Cipher> cipher(std::uint8_t seed) {
  Cipher::Key key{};
  key.fill(seed);
  return std::make_shared<const Cipher>(key);
}

/// A segment of a few small records, one of them compressed.
struct Sample {
  explicit Sample(std::shared_ptr<const Cipher> with = nullptr) : key(std::move(with)) {
    auto writer = must(SegmentWriter::create(folder.path(), "data", 1, 1000, key, health));
    path = writer->file()->path();
    for (std::uint8_t i = 0; i < 6; ++i) {
      const RecordInfo info{
          .group = i, .first = i * 10, .last = i * 10 + 9, .low = 1, .high = i + 1U};
      const Payload payload(5U + 3U * i, i);
      const auto packing = i == 2 ? SegmentWriter::Packing::kZstd : SegmentWriter::Packing::kPlain;
      entries.push_back(must(writer->append(info, payload, packing)));
      payloads[i] = payload;
    }
    must(writer->sync());
    bytes = read_bytes(path);
  }
  [[nodiscard]] std::shared_ptr<const SegmentFile> open() const {
    return must(SegmentFile::open(path, key, health));
  }

  test::TemporaryDirectory folder;
  std::shared_ptr<const Cipher> key;
  std::shared_ptr<Health> health = std::make_shared<Health>();
  std::string path;
  std::vector<Entry> entries;
  std::map<std::uint32_t, Payload> payloads;  // by group
  Payload bytes;
};

/// The groups of the records that can be read, all of whose payloads are right.
std::vector<std::uint32_t> readable(const Sample& sample, const SegmentFile& file) {
  std::vector<std::uint32_t> groups;
  for (const Entry& entry : must(file.scan()).entries) {
    const auto payload = file.read(entry);
    if (!payload) continue;
    REQUIRE(sample.payloads.contains(entry.group));
    REQUIRE(*payload == sample.payloads.at(entry.group));
    REQUIRE(entry.first == entry.group * 10);
    groups.push_back(entry.group);
  }
  return groups;
}

TEST_CASE("CRC32C is Castagnoli's, whole or in parts") {
  const std::string text = "123456789";
  const Bytes bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  REQUIRE(crc32c(bytes) == 0xe3069283);
  REQUIRE(crc32c(bytes.subspan(4), crc32c(bytes.first(4))) == 0xe3069283);
  REQUIRE(crc32c({}) == 0);
}

TEST_CASE("the bit whose turning gives a checksum is found, whichever it is, and only one") {
  std::mt19937 random(7);
  for (const std::size_t size : {1UL, 2UL, 31UL, 1000UL}) {
    Payload bytes(size);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
    const std::uint32_t checksum = crc32c(bytes);
    CHECK(!flipped_bit(bytes, checksum));
    for (std::size_t bit = 0; bit < size * 8; bit += size < 100 ? 1 : 97) {
      bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
      REQUIRE(flipped_bit(bytes, checksum) == bit);
      const std::size_t other = (bit + 3) % (size * 8);
      bytes[other / 8] ^= static_cast<std::uint8_t>(1U << (other % 8));
      REQUIRE(!flipped_bit(bytes, checksum));
      bytes[other / 8] ^= static_cast<std::uint8_t>(1U << (other % 8));
      bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    }
  }
}

TEST_CASE("names of segments") {
  REQUIRE(segment_name("tier60", 7) == "tier60-00000007.seg");
  REQUIRE(segment_number("tier60", "tier60-00000007.seg") == 7U);
  REQUIRE(segment_number("data", "data-123456789.seg") == 123456789U);
  for (const char* other : {"data-1.seg", "data-0000000x.seg", "data-00000001.idx",
                            "data00000001.seg", "wal-00000001.seg", "data-99999999999.seg"}) {
    REQUIRE(!segment_number("data", other));
  }
}

TEST_CASE("records come back as they were written, plain and encrypted") {
  const Sample sample(GENERATE(false, true) ? cipher(1) : nullptr);
  const Scan scan = must(sample.open()->scan());
  REQUIRE(scan.entries.size() == 6);
  REQUIRE(scan.end == sample.bytes.size());
  REQUIRE((scan.damaged == 0 && !scan.torn && !scan.unusable));
  REQUIRE(readable(sample, *sample.open()).size() == 6);
  const Payload secret(8, 5);  // of the last record
  const bool plain = std::ranges::search(sample.bytes, secret).begin() != sample.bytes.end();
  REQUIRE(plain == (sample.key == nullptr));
}

TEST_CASE("a file that is cut anywhere has all records before the cut") {
  const Sample sample(GENERATE(false, true) ? cipher(1) : nullptr);
  for (std::size_t size = 0; size < sample.bytes.size(); ++size) {
    write_bytes(sample.path,
                {sample.bytes.begin(), sample.bytes.begin() + static_cast<long>(size)});
    const auto whole = static_cast<std::size_t>(std::ranges::count_if(
        sample.entries, [&](const Entry& entry) { return entry.end() <= size; }));
    const auto file = sample.open();
    REQUIRE(readable(sample, *file).size() == whole);
    const Scan scan = must(file->scan());
    const std::size_t end = whole == 0 ? sizeof(FileHeader) : sample.entries[whole - 1].end();
    REQUIRE(scan.damaged == 0);
    REQUIRE(scan.torn == (size < sizeof(FileHeader) || size > end));
    REQUIRE(scan.end == std::min(size, end));
  }
}

TEST_CASE("a flipped bit anywhere costs the record that it is in, and is counted") {
  const Quiet quiet;
  const Sample sample(GENERATE(false, true) ? cipher(1) : nullptr);
  for (std::size_t bit = 0; bit < sample.bytes.size() * 8; ++bit) {
    Payload bytes = sample.bytes;
    bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    write_bytes(sample.path, bytes);
    const auto before = sample.health->damaged_records.load() + sample.health->unusable_files;
    const auto groups = readable(sample, *sample.open());
    REQUIRE(sample.health->damaged_records + sample.health->unusable_files == before + 1);
    std::vector<std::uint32_t> others;
    for (const Entry& entry : sample.entries) {
      if (bit / 8 < entry.offset || bit / 8 >= entry.end()) others.push_back(entry.group);
    }
    REQUIRE(groups == others);
  }
}

TEST_CASE(
    "a flipped bit in definitions is turned back and counted, more damage is none of theirs") {
  const Quiet quiet;
  const auto key = GENERATE(false, true) ? cipher(1) : nullptr;
  const test::TemporaryDirectory folder;
  const auto health = std::make_shared<Health>();
  const auto writer = must(SegmentWriter::create(folder.path(), "data", 1, 1000, key, health));
  const std::string text = "instance=a,b,c;job=node;device=eth0,eth1,lo;mode=idle,user,system";
  const Payload payload(text.begin(), text.end());
  const RecordInfo info{.kind = Kind::kSeries, .group = 7, .low = 3, .high = 40};
  const Entry entry = must(writer->append(info, payload, SegmentWriter::Packing::kZstd));
  must(writer->append({.group = 7, .low = 3, .high = 3}, payload, SegmentWriter::Packing::kPlain));
  const std::string path = writer->file()->path();
  const Payload whole = read_bytes(path);
  const auto read = [&](const Payload& bytes) {
    write_bytes(path, bytes);
    const auto file = must(SegmentFile::open(path, key, health));
    const Scan scan = must(file->scan());
    REQUIRE(!scan.entries.empty());
    REQUIRE(scan.entries.back().kind == Kind::kBlock);
    std::optional<Payload> out;
    if (const auto got = file->read(scan.entries.front()); got && scan.entries.size() == 2)
      out = *got;
    return out;
  };
  const auto flip = [](Payload& bytes, std::size_t bit) {
    bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
  };
  std::uint64_t counted = 0;
  for (std::size_t bit = entry.offset * 8; bit < entry.end() * 8; ++bit) {
    Payload bytes = whole;
    flip(bytes, bit);
    REQUIRE(read(bytes) == payload);
    REQUIRE(health->damaged_records == ++counted);
    flip(bytes, bit == entry.offset * 8 ? bit + 1 : entry.offset * 8);  // a second one
    const bool both_in_header = bit < (entry.offset + sizeof(RecordHeader)) * 8;
    REQUIRE((read(bytes) == payload) == !both_in_header);
    counted = health->damaged_records;
  }
  Payload bytes = whole;
  flip(bytes, entry.end() * 8 - 1);
  flip(bytes, entry.end() * 8 - 9);
  CHECK(read(bytes) == std::nullopt);
}

TEST_CASE("no bytes whatever make the reader leave them or give what was not written") {
  const Quiet quiet;
  const Sample sample;
  std::mt19937 random(20261124);
  const auto below = [&](std::size_t n) { return random() % n; };
  for (int round = 0; round < 3000; ++round) {
    Payload bytes = sample.bytes;
    for (std::size_t changes = 1 + below(4); changes > 0; --changes) {
      const auto at = static_cast<long>(below(bytes.size()));
      const auto many = static_cast<long>(below(200));
      switch (below(4)) {
        case 0:
          bytes[static_cast<std::size_t>(at)] = static_cast<std::uint8_t>(random());
          break;
        case 1:
          bytes.erase(bytes.begin() + at,
                      bytes.begin() + std::min<long>(at + many, std::ssize(bytes)));
          break;
        case 2:  // a part a second time
          bytes.insert(bytes.begin() + at, sample.bytes.begin(), sample.bytes.begin() + many);
          break;
        default:
          bytes.insert(bytes.begin() + at, static_cast<std::size_t>(many), std::uint8_t(random()));
      }
      if (bytes.empty()) bytes.push_back(0);
    }
    write_bytes(sample.path, bytes);
    (void)readable(sample, *sample.open());
  }
}

TEST_CASE("another key is said so, with the file, and keeps the headers readable") {
  const Sample sample(cipher(1));
  const auto other = GENERATE(0, 2);
  const auto file = must(SegmentFile::open(
      sample.path, other == 0 ? nullptr : cipher(static_cast<std::uint8_t>(other)), sample.health));
  const Scan scan = must(file->scan());
  REQUIRE(scan.entries.size() == 6);
  REQUIRE(scan.unusable);
  REQUIRE(scan.unusable->message().find("history.key_file") != std::string::npos);
  const auto payload = file->read(scan.entries[0]);
  REQUIRE(!payload);
  REQUIRE(payload.error().message().find(sample.path) != std::string::npos);
}

TEST_CASE("what was written without a key is read with one") {
  const Sample sample;
  const auto file = must(SegmentFile::open(sample.path, cipher(3), sample.health));
  REQUIRE(readable(sample, *file).size() == 6);
}

TEST_CASE("an encrypted payload under another header is refused") {
  Sample sample(cipher(1));
  // The payload of record 0 below the header of a record with other times, checksums made right.
  RecordHeader header;
  std::memcpy(&header, sample.bytes.data() + sample.entries[0].offset, sizeof(header));
  header.first -= 1;
  header.checksum = checksum_of(header);
  std::memcpy(sample.bytes.data() + sample.entries[0].offset, &header, sizeof(header));
  write_bytes(sample.path, sample.bytes);
  const auto file = sample.open();
  const Scan scan = must(file->scan());
  REQUIRE(scan.entries.size() == 6);
  REQUIRE(!file->read(scan.entries[0]));
  REQUIRE(file->read(scan.entries[1]));
}

TEST_CASE("a later format is left alone") {
  Sample sample;
  FileHeader header;
  std::memcpy(&header, sample.bytes.data(), sizeof(header));
  header.version = kFileVersion + 1;
  header.checksum = checksum_of(header);
  std::memcpy(sample.bytes.data(), &header, sizeof(header));
  write_bytes(sample.path, sample.bytes);
  REQUIRE(must(sample.open()->scan()).unusable->code() == Errc::kUnsupported);
}

TEST_CASE("keys in files: bytes or digits, and nothing else") {
  const test::TemporaryDirectory folder;
  const std::string path = folder.file("key");
  write_bytes(path, Payload(32, 0xab));
  const auto raw = must(Cipher::from_file(path));
  std::string digits(64, 'a');
  for (std::size_t i = 1; i < digits.size(); i += 2) digits[i] = 'B';
  write_bytes(path, {digits.begin(), digits.end()});
  REQUIRE(must(Cipher::from_file(path))->id() == raw->id());
  digits += '\n';
  write_bytes(path, {digits.begin(), digits.end()});
  REQUIRE(must(Cipher::from_file(path))->id() == raw->id());
  for (const std::string& bad : {std::string(31, 'x'), std::string(64, 'g'), std::string()}) {
    write_bytes(path, {bad.begin(), bad.end()});
    const auto refused = Cipher::from_file(path);
    REQUIRE(!refused);
    REQUIRE(refused.error().message().find(path) != std::string::npos);
  }
  REQUIRE(!Cipher::from_file(folder.file("none")));
  write_bytes(path, Payload(32, 1));
  std::filesystem::permissions(path, std::filesystem::perms(0604));
  REQUIRE(Cipher::from_file(path).error().code() == Errc::kPermissionDenied);
}

TEST_CASE("a full disk fails the write and leaves the file whole") {
  const test::TemporaryDirectory folder;
  const auto health = std::make_shared<Health>();
  std::size_t written = 0;
  std::vector<Entry> found;
  std::optional<Error> error;
  bool torn = true;
  must(on_small_disk(folder, 256 << 10, [&] {
    auto writer = SegmentWriter::create(folder.path(), "data", 1, 1, nullptr, health);
    if (!writer) return;
    for (; written < 1000; ++written) {
      const auto entry = (*writer)->append({}, Payload(5000, 1), SegmentWriter::Packing::kPlain);
      if (!entry) {
        error = entry.error();
        break;
      }
    }
    const auto scan = (*writer)->file()->scan();
    if (!scan) return;
    found = scan->entries;
    torn = scan->torn;
  }));
  REQUIRE(error);
  REQUIRE(error->system() == std::errc::no_space_on_device);
  REQUIRE(written > 40);
  REQUIRE(found.size() == written);
  REQUIRE(!torn);
}

TEST_CASE("the cache holds what was used last, within its bytes") {
  const test::TemporaryDirectory folder;
  const auto health = std::make_shared<Health>();
  auto writer = must(SegmentWriter::create(folder.path(), "data", 1, 1, nullptr, health));
  std::vector<Entry> entries;
  for (std::uint8_t i = 0; i < 10; ++i) {
    entries.push_back(must(writer->append({}, Payload(1000, i), SegmentWriter::Packing::kPlain)));
  }
  Cache cache(4000);
  const Cache::Payload first = cache.get(*writer->file(), entries[0]);
  for (const Entry& entry : entries) {
    REQUIRE(cache.get(*writer->file(), entries[0]) == first);  // stays: it is used all the time
    REQUIRE(cache.get(*writer->file(), entry)->front() ==
            *first->data() + (&entry - entries.data()));
    REQUIRE(cache.bytes() <= 4000);
  }
  const Cache::Payload second = cache.get(*writer->file(), entries[1]);
  REQUIRE(cache.get(*writer->file(), entries[1]) == second);
  Cache none(10);
  REQUIRE(none.get(*writer->file(), entries[3])->size() == 1000);
  REQUIRE(none.bytes() == 0);
}

TEST_CASE("a damaged record is read once") {
  Sample sample;
  sample.bytes[sample.entries[1].end() - 1] ^= 1;
  write_bytes(sample.path, sample.bytes);
  const auto file = sample.open();
  Cache cache(100'000);
  for (int i = 0; i < 3; ++i) REQUIRE(cache.get(*file, sample.entries[1]) == nullptr);
  REQUIRE(sample.health->damaged_records == 1);
}

}  // namespace
}  // namespace nexus::knowledge::disk
