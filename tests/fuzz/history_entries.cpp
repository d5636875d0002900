// What the history reads back from disk, and what it writes there.
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "entries.hpp"
#include "knowledge/block.hpp"
#include "knowledge/block_view.hpp"
#include "knowledge/disk/definitions.hpp"
#include "knowledge/disk/segment.hpp"
#include "knowledge/disk/tier_block.hpp"
#include "nexus/base/log.hpp"
#include "nexus/knowledge/history.hpp"
#include "promise.hpp"

namespace nexus::fuzz {
namespace {

using namespace knowledge;  // NOLINT(google-build-using-namespace)

Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// Everything that a reader may ask of a block, with the ways compared that should agree.
void look_at(const BlockView& view) {
  std::vector<std::int64_t> times(view.rows());
  view.times(times);
  promise(std::ranges::is_sorted(times, std::less_equal{}), "times of a block ascend strictly");
  const std::vector<SeriesId> ids = view.ids();
  promise(ids.size() == view.columns(), "a block has an id for each column");
  std::vector<std::uint16_t> rows(view.rows());
  std::vector<double> values(view.rows());
  for (std::uint32_t column = 0; column < view.columns(); ++column) {
    promise(view.find(ids[column]) == column, "a column is found by its id");
    const auto count = view.decode(column, rows, values);
    Column all;
    const bool read = view.read(column, INT64_MIN, INT64_MAX, all);
    promise(read == count.has_value() && (!count || all.size() == *count),
            "decode() and read() agree");
    Aggregate aggregate;
    const bool good = view.aggregate(column, INT64_MIN, INT64_MAX, aggregate);
    promise(good || !read || all.size() > 0, "a column that can be read has samples");
    if (read && good) {
      Aggregate expected;
      for (const double value : all.values) expected.add(value);
      promise(aggregate.count() == expected.count(), "aggregate() counts what read() gives");
    }
    if (all.size() > 2) {
      Column some;
      (void)view.read(column, all.times[all.size() / 3], all.times[all.size() / 3 * 2], some);
    }
  }
}

/// A directory for one process's files; removed when it ends well.
class Directory {
 public:
  Directory()
      : path_(std::filesystem::temp_directory_path() /
              ("nexus-fuzz-history-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
    log::configure(log::Level::kError, log::Format::kText);
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  [[nodiscard]] std::string write(const std::string& name, std::string_view bytes) const {
    const auto file = path_ / name;
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
    return file;
  }
  [[nodiscard]] std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Takes numbers off the front of the input; zeros when it has ended.
class Taker {
 public:
  explicit Taker(std::string_view text) : rest_(text) {}
  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const auto taken = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return taken;
  }
  std::uint64_t word() {
    std::uint64_t out = 0;
    for (int i = 0; i < 8; ++i) out |= std::uint64_t{byte()} << (8 * i);
    return out;
  }
  [[nodiscard]] bool empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

/// A column of doubles of the kind that the next byte names.
std::vector<double> make_column(Taker& taker, std::size_t rows) {
  static constexpr double kScales[] = {1, 10, 100, 1000, 1e6, 1e9};
  std::vector<double> out;
  const std::uint8_t kind = taker.byte();
  const double scale = kScales[kind / 8 % 6];
  std::int64_t sum = 0;
  std::uint64_t bits = 0;
  while (out.size() < rows) {
    switch (kind % 7) {
      case 0:  // any bits
        bits = taker.word();
        break;
      case 1:  // a counter or a gauge with few decimals
        sum += static_cast<std::int8_t>(taker.byte());
        bits = std::bit_cast<std::uint64_t>(static_cast<double>(sum) / scale);
        break;
      case 2:  // the same, multiplied
        sum += static_cast<std::int64_t>(taker.byte()) << (kind / 8 % 32);
        bits = std::bit_cast<std::uint64_t>(static_cast<double>(sum) * (1 / scale));
        break;
      case 3:  // bits that change little
        bits ^= std::uint64_t{taker.byte()} << (kind % 57);
        break;
      case 4:  // runs
        if (taker.byte() % 16 == 0) bits = taker.word();
        break;
      case 5:  // a sum of decimals, each addition rounded
        bits = std::bit_cast<std::uint64_t>(std::bit_cast<double>(bits) + taker.byte() / scale);
        break;
      default:  // numbers with exceptions
        bits = taker.byte() == 255 ? taker.word()
                                   : std::bit_cast<std::uint64_t>(static_cast<double>(sum += 3));
    }
    out.push_back(std::bit_cast<double>(bits));
  }
  return out;
}

struct Made {
  std::vector<std::int64_t> times;
  std::vector<std::vector<std::uint16_t>> rows;  // by column
  std::vector<std::vector<double>> values;
};

std::vector<std::uint8_t> encode(BlockBuilder& builder, const Made& made, std::size_t from,
                                 std::size_t to, TimeCode code) {
  builder.begin(std::span(made.times).subspan(from, to - from), code);
  bool any = false;
  for (std::size_t column = 0; column < made.rows.size(); ++column) {
    std::vector<std::uint16_t> rows;
    std::vector<double> values;
    for (std::size_t i = 0; i < made.rows[column].size(); ++i) {
      const std::size_t row = made.rows[column][i];
      if (row < from || row >= to) continue;
      rows.push_back(static_cast<std::uint16_t>(row - from));
      values.push_back(made.values[column][i]);
    }
    if (rows.empty()) continue;
    any = true;
    builder.add(static_cast<SeriesId>(column * 3 + 7), rows, values);
  }
  if (!any) return {};
  return builder.finish();
}

void compare(const Made& made, const std::vector<std::uint8_t>& bytes) {
  const auto view = BlockView::parse(bytes);
  promise(view.has_value(), "what was encoded is a block");
  look_at(*view);
  for (std::size_t column = 0; column < made.rows.size(); ++column) {
    const auto place = view->find(static_cast<SeriesId>(column * 3 + 7));
    promise(place.has_value() == !made.rows[column].empty(), "every column is there");
    if (!place) continue;
    Column read;
    promise(view->read(*place, INT64_MIN, INT64_MAX, read), "a column can be read");
    promise(read.size() == made.rows[column].size(), "every sample is there");
    for (std::size_t i = 0; i < read.size(); ++i) {
      promise(read.times[i] == made.times[made.rows[column][i]], "every time comes back");
      promise(std::bit_cast<std::uint64_t>(read.values[i]) ==
                  std::bit_cast<std::uint64_t>(made.values[column][i]),
              "every bit of every double comes back");
    }
  }
}

}  // namespace

void block(std::string_view text) {
  const std::vector<std::uint8_t> exact(text.begin(), text.end());  // so that asan sees its end
  const auto view = BlockView::parse(exact);
  if (!view) return promise(!view.error().message().empty(), "an error says why");
  look_at(*view);
  std::vector<disk::Bucket> buckets;
  (void)disk::read_buckets(*view, 0, INT64_MIN / 4, INT64_MAX / 4, buckets);
  const BlockView views[] = {*view};
  BlockBuilder builder;
  if (const auto merged = merge_blocks(views, builder, 0, UINT32_MAX)) {
    const auto again = BlockView::parse(*merged);
    promise(again && again->samples() <= view->rows() * std::uint64_t{view->columns()},
            "a merged block is a block");
  }
}

void segment(std::string_view text) {
  static const Directory directory;
  const std::string path = directory.write("data-00000001.seg", text);
  const auto health = std::make_shared<disk::Health>();
  if (const auto file = disk::SegmentFile::open(path, nullptr, health)) {
    if (const auto scan = (*file)->scan()) {
      promise(scan->end <= std::max(text.size(), sizeof(disk::FileHeader)),
              "a scan ends in the file");
      for (const disk::Entry& entry : scan->entries) {
        promise(entry.end() <= text.size(), "a record is in its file");
        (void)(*file)->read(entry);
      }
    }
  }
  (void)disk::decode_definitions(bytes_of(text));
  // The same bytes as a history of rows, and as its log and its minutes.
  (void)directory.write("wal-00000001.seg", text);
  (void)directory.write("tier60-00000001.seg", text);
  base::ManualClock clock;
  SeriesRegistry registry(1000);
  History history(registry, {});
  HistoryDisk disk{.directory = directory.path()};
  disk.by = HistoryDisk::Opened::kTool;
  promise(history.open_disk(clock, std::move(disk)).has_value(), "a damaged history is opened");
  for (const SeriesId id : registry.select({})) {
    Column column;
    history.read(id, 0, INT64_MAX / 4, column);
    promise(std::ranges::is_sorted(column.times, std::less_equal{}), "nobody reads a double");
    (void)history.aggregate(id, 0, INT64_MAX / 4);
  }
}

void codec(std::string_view text) {
  Taker taker(text);
  const std::size_t columns = 1 + taker.byte() % 6;
  const std::size_t count = 1 + (taker.byte() | (taker.byte() & 3U) << 8U);
  const std::uint8_t shape = taker.byte();
  Made made;
  std::int64_t time = static_cast<std::int64_t>(taker.word() >> 2);
  for (std::size_t row = 0; row < count; ++row) {
    made.times.push_back(time);
    time += shape % 2 == 0 ? 1000 : 1 + std::int64_t{taker.byte()} * (shape % 3 == 0 ? 1 : 5000);
  }
  for (std::size_t column = 0; column < columns; ++column) {
    std::vector<std::uint16_t> rows;
    for (std::size_t row = 0; row < count; ++row) {
      if (shape % 5 == 0 && taker.byte() % 7 == 0) continue;
      rows.push_back(static_cast<std::uint16_t>(row));
    }
    made.values.push_back(make_column(taker, rows.size()));
    made.rows.push_back(std::move(rows));
  }
  BlockBuilder builder;
  const TimeCode code = shape % 7 < 4 ? TimeCode::kDense : TimeCode::kPlain;
  const std::vector<std::uint8_t> whole = encode(builder, made, 0, count, code);
  if (whole.empty()) return;
  compare(made, whole);
  const std::size_t half = count / 2;
  if (half == 0) return;
  const std::vector<std::uint8_t> parts[] = {encode(builder, made, 0, half, code),
                                             encode(builder, made, half, count, code)};
  std::vector<BlockView> views;
  for (const auto& part : parts) {
    if (!part.empty()) views.push_back(BlockView::parse(part).value());
  }
  const auto merged = merge_blocks(views, builder, 0, UINT32_MAX);
  promise(merged.has_value(), "blocks that follow each other are merged");
  if (views.size() == 2) compare(made, *merged);
}

}  // namespace nexus::fuzz
