#include "knowledge/ans.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "knowledge/limits.hpp"
#include "knowledge/rice.hpp"

namespace nexus::knowledge {
namespace {

constexpr unsigned kMaxPrecision = 3;
constexpr std::size_t kMaxBuckets = std::size_t{62} << kMaxPrecision;  // bucket_of(2^64 - 1) + 1
constexpr unsigned kLeastTableLog = 9;                                 // 512 shares
constexpr unsigned kMostTableLog = 11;
constexpr std::size_t kMaxTableSize = std::size_t{1} << kMostTableLog;
constexpr std::uint32_t kStateLow = 1U << 16;  // states lie in [2^16, 2^32)

/// A bucket holds the numbers low << extra ... (low << extra) + 2^extra - 1.
struct Bucket {
  unsigned low = 0;
  unsigned extra = 0;
};

std::size_t bucket_of(std::uint64_t value, unsigned precision) noexcept {
  const auto length = static_cast<unsigned>(std::bit_width(value));
  const unsigned extra = length > precision + 1 ? length - 1 - precision : 0;
  return (std::size_t{extra} << precision) + static_cast<std::size_t>(value >> extra);
}

Bucket bucket_at(std::size_t index, unsigned precision) noexcept {
  const std::size_t octave = index >> precision;
  const auto extra = static_cast<unsigned>(octave > 1 ? octave - 1 : 0);
  return {static_cast<unsigned>(index - (std::size_t{extra} << precision)), extra};
}

/// Shares of the table: finer for longer columns, which have more to gain and the time to read it.
unsigned table_log_for(std::size_t values) noexcept {
  return values < 1024 ? kLeastTableLog : kMostTableLog;
}

using Counts = std::array<std::uint32_t, kMaxBuckets>;

std::size_t buckets_of(unsigned precision) noexcept {
  return bucket_of(~0ULL, precision) + 1;
}

Counts count_buckets(std::span<const std::uint64_t> values, unsigned precision) noexcept {
  Counts counts{};
  for (const std::uint64_t value : values) ++counts[bucket_of(value, precision)];
  return counts;
}

/// The counts with half as many buckets for each power of two.
Counts coarser(const Counts& counts, unsigned precision) noexcept {
  Counts half{};
  for (std::size_t i = 0; i < buckets_of(precision); ++i) {
    const Bucket bucket = bucket_at(i, precision);
    half[bucket_of(std::uint64_t{bucket.low} << bucket.extra, precision - 1)] += counts[i];
  }
  return half;
}

// What the table's frequencies are made from: a class in steps of half a power of two, which is as
// exact as it pays to be. Class 0 is a bucket without numbers.
constexpr unsigned kMaxClass = 26;

std::uint32_t weight_of(std::uint64_t weight_class) noexcept {
  if (weight_class == 0) return 0;
  const auto step = static_cast<unsigned>(weight_class - 1);
  return (2 + (step & 1)) << (step >> 1);
}

std::uint64_t class_of(std::uint32_t count) noexcept {
  std::uint64_t best = 1;
  while (best < kMaxClass && weight_of(best) + weight_of(best + 1) <= 4 * count) ++best;
  return count == 0 ? 0 : best;
}

struct Table {
  std::array<std::uint64_t, kMaxBuckets> classes;  // from `first` on
  std::array<std::uint16_t, kMaxBuckets> starts;   // likewise
  std::array<std::uint16_t, kMaxBuckets> widths;   // shares of 2^log, at least 1 if used
  std::size_t first = 0;
  std::size_t size = 0;
  unsigned precision = 0;
  unsigned log = kLeastTableLog;

  /// From the classes; false when there is nothing to share among.
  bool share() noexcept {
    std::uint64_t total = 0;
    std::uint32_t used = 0;
    for (std::size_t i = 0; i < size; ++i) {
      if (classes[i] > kMaxClass) return false;
      total += weight_of(classes[i]);
      used += classes[i] != 0 ? 1 : 0;
    }
    const std::uint32_t shares = 1U << log;
    if (used == 0 || used > shares) return false;
    std::uint64_t sum = 0;
    std::uint32_t seen = 0;
    std::uint32_t start = 0;
    for (std::size_t i = 0; i < size; ++i) {
      sum += weight_of(classes[i]);
      seen += classes[i] != 0 ? 1 : 0;
      // Exact: below 2^34 over below 2^23 lies further from the next integer than doubles round,
      // and dividing 64-bit integers took a tenth of all decoding.
      const auto end = static_cast<std::uint32_t>(static_cast<double>(sum * (shares - used)) /
                                                  static_cast<double>(total)) +
                       seen;
      starts[i] = static_cast<std::uint16_t>(start);
      widths[i] = static_cast<std::uint16_t>(end - start);
      start = end;
    }
    return true;
  }
};

using Deltas = std::array<std::uint64_t, kMaxBuckets>;

std::uint8_t* put_table(std::uint8_t* to, const Table& table) noexcept {
  Deltas deltas;
  std::int64_t previous = 0;
  for (std::size_t i = 0; i < table.size; ++i) {
    const auto here = static_cast<std::int64_t>(table.classes[i]);
    deltas[i] = zigzag(here - previous);
    previous = here;
  }
  *to++ = static_cast<std::uint8_t>(table.precision | (table.log << 4));
  to = put_varint(to, table.first);
  to = put_varint(to, table.size);
  return encode_rice({deltas.data(), table.size}, 1, to);
}

bool get_table(ByteReader& from, Table& table) noexcept {
  const std::uint8_t head = from.get_byte();
  table.precision = head & 0x0f;
  table.log = head >> 4;
  table.first = from.get_varint();
  table.size = from.get_varint();
  if (!from.ok() || table.precision > kMaxPrecision || table.log < kLeastTableLog ||
      table.log > kMostTableLog || table.size > kMaxBuckets || table.first > kMaxBuckets ||
      table.first + table.size > buckets_of(table.precision)) {
    return false;
  }
  Deltas deltas;
  from.skip(decode_rice(from.rest(), 1, {deltas.data(), table.size}));
  if (!from.ok()) return false;
  std::uint64_t here = 0;
  for (std::size_t i = 0; i < table.size; ++i) {
    here += static_cast<std::uint64_t>(unzigzag(deltas[i]));
    table.classes[i] = here;
  }
  return table.share();
}

double cost_of(const Counts& counts, std::size_t total, unsigned precision) noexcept {
  constexpr double kBitsOfClass = 3.5;
  constexpr double kBitsOfHead = 120;
  double bits = kBitsOfHead;
  const double log_total = std::log2(static_cast<double>(total));
  for (std::size_t i = 0; i < buckets_of(precision); ++i) {
    if (counts[i] == 0) continue;
    const auto count = static_cast<double>(counts[i]);
    bits += kBitsOfClass + count * (log_total - std::log2(count) + bucket_at(i, precision).extra);
  }
  return bits;
}

// One entry of the decoder's table is one word, so that filling and reading it are single steps:
// width (16 bits), offset in it (16), bits that follow (8), leading bits (8).
using Slots = std::array<std::uint64_t, kMaxTableSize>;

void fill_slots(const Table& table, Slots& slots) noexcept {
  for (std::size_t i = 0; i < table.size; ++i) {
    const Bucket bucket = bucket_at(table.first + i, table.precision);
    const std::uint64_t width = table.widths[i];
    const std::uint64_t first =
        width | (std::uint64_t{bucket.extra} << 32) | (std::uint64_t{bucket.low} << 40);
    std::uint64_t* const slot = slots.data() + table.starts[i];
    for (std::uint64_t offset = 0; offset < width; ++offset) slot[offset] = first | (offset << 16);
  }
}

// Two states read from one row of words, so that the steps of one hide the waiting of the other.
// All is kept in registers and nothing but the loop branches: whether a word is due is as good as
// random. Words and extras lie in one buffer with kBitPadding bytes behind it, so a word may be
// looked at before it is known whether there is one. `most` bits follow a bucket at most.
template <bool kWide>
bool decode_pairs(const Slots& slots, unsigned log, unsigned most, Bytes words, Bytes extras,
                  std::array<std::uint32_t, 2> states, std::span<std::uint64_t> values) noexcept {
  const std::uint32_t mask = (1U << log) - 1;
  const std::uint8_t* word = words.data();
  const std::uint8_t* const end = word + words.size();
  BitReader bits(extras);
  /// `kEnough`: there are more words and bits than this value takes.
  const auto next = [&]<bool kEnough>(std::uint32_t state, std::uint64_t& value,
                                      std::bool_constant<kEnough>) {
    const std::uint64_t slot = slots[state & mask];
    state = static_cast<std::uint32_t>(slot & 0xffff) * (state >> log) +
            static_cast<std::uint16_t>(slot >> 16);
    std::uint16_t low = 0;
    std::memcpy(&low, word, sizeof low);
    const auto due = static_cast<std::uint32_t>((state < kStateLow) & (kEnough || word != end));
    word += due * sizeof low;
    state = (state << (due * 16)) | (low & (0U - due));
    const auto extra = static_cast<std::uint8_t>(slot >> 32);
    if constexpr (kEnough && !kWide) {
      value = ((slot >> 40) << extra) | bits.get_unchecked(extra);
    } else {
      value = ((slot >> 40) << extra) | (kWide ? bits.get_wide(extra) : bits.get(extra));
    }
    return state;
  };
  std::uint32_t even = states[0];
  std::uint32_t odd = states[1];
  std::size_t i = 0;
  constexpr std::size_t kWorthwhile = 16;
  while (true) {
    // So many values take no more than there is, whatever they are.
    const auto words_left = static_cast<std::size_t>(end - word) / sizeof(std::uint16_t);
    const std::size_t enough =
        std::min({words_left, most == 0 ? words_left : bits.left() / most, values.size() - i});
    if (enough < kWorthwhile) break;
    for (const std::size_t stop = i + (enough & ~std::size_t{1}); i < stop; i += 2) {
      even = next(even, values[i], std::true_type());
      odd = next(odd, values[i + 1], std::true_type());
    }
  }
  for (; i + 1 < values.size(); i += 2) {
    even = next(even, values[i], std::false_type());
    odd = next(odd, values[i + 1], std::false_type());
  }
  if (i < values.size()) next(even, values[i], std::false_type());
  return bits.ok();
}

}  // namespace

double ans_cost(std::span<const std::uint64_t> values, unsigned& precision) noexcept {
  Counts counts = count_buckets(values, kMaxPrecision);
  precision = kMaxPrecision;
  double best = cost_of(counts, values.size(), kMaxPrecision);
  for (unsigned next = kMaxPrecision; next > 0; --next) {
    counts = coarser(counts, next);
    const double cost = cost_of(counts, values.size(), next - 1);
    if (cost >= best) continue;
    best = cost;
    precision = next - 1;
  }
  return best;
}

std::uint8_t* encode_ans(std::span<const std::uint64_t> values, unsigned precision,
                         std::uint8_t* to) noexcept {
  const Counts counts = count_buckets(values, precision);
  Table table;
  table.precision = precision;
  table.log = table_log_for(values.size());
  while (counts[table.first] == 0) ++table.first;
  std::size_t end = buckets_of(precision);
  while (counts[end - 1] == 0) --end;
  table.size = end - table.first;
  for (std::size_t i = 0; i < table.size; ++i) table.classes[i] = class_of(counts[table.first + i]);
  table.share();
  to = put_table(to, table);

  // The last value is encoded first, so that the decoder meets the first one first.
  std::array<std::uint16_t, kMaxBlockRows> words;
  std::size_t word = words.size();
  std::array<std::uint32_t, 2> states{kStateLow, kStateLow};
  for (std::size_t i = values.size(); i-- > 0;) {
    std::uint32_t& state = states[i & 1];
    const std::size_t bucket = bucket_of(values[i], precision) - table.first;
    const std::uint32_t width = table.widths[bucket];
    if (state >= std::uint64_t{width} << (32 - table.log)) {
      words[--word] = static_cast<std::uint16_t>(state);
      state >>= 16;
    }
    state = ((state / width) << table.log) + state % width + table.starts[bucket];
  }
  to = put_varint(to, words.size() - word);
  to = put_fixed(to, states[0]);
  to = put_fixed(to, states[1]);
  const std::size_t word_bytes = (words.size() - word) * sizeof(std::uint16_t);
  std::memcpy(to, words.data() + word, word_bytes);

  BitWriter extras(to + word_bytes);
  for (const std::uint64_t value : values) {
    const unsigned extra = bucket_at(bucket_of(value, precision), precision).extra;
    extras.put_wide(value & ((1ULL << extra) - 1), extra);
  }
  return extras.end();
}

bool decode_ans(Bytes bytes, std::span<std::uint64_t> values) noexcept {
  ByteReader from(bytes);
  Table table;
  if (!get_table(from, table)) return false;
  const std::uint64_t word_count = from.get_varint();
  const auto even = from.get_fixed<std::uint32_t>();
  const auto odd = from.get_fixed<std::uint32_t>();
  const Bytes words = from.rest();
  if (word_count > kMaxBlockRows) return false;
  from.skip(word_count * sizeof(std::uint16_t));
  if (!from.ok()) return false;
  Slots slots;
  fill_slots(table, slots);
  const Bytes used = words.first(word_count * sizeof(std::uint16_t));
  // The last bucket has the most bits that follow.
  const unsigned most = bucket_at(table.first + table.size - 1, table.precision).extra;
  const auto decode = most > 56 ? decode_pairs<true> : decode_pairs<false>;
  return decode(slots, table.log, most, used, from.rest(), {even, odd}, values);
}

}  // namespace nexus::knowledge
