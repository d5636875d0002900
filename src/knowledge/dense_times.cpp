#include "knowledge/dense_times.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "knowledge/limits.hpp"

namespace nexus::knowledge {
namespace {

/// Beyond that, rounding to ticks could overflow.
constexpr std::uint64_t kMostSpan = std::uint64_t{1} << 61;

using Integers = std::array<std::int64_t, kMaxBlockRows>;

/// The usual distance of two rows.
std::int64_t step_of(std::span<const std::int64_t> times) noexcept {
  Integers steps;
  const std::span<std::int64_t> used(steps.data(), times.size() - 1);
  for (std::size_t i = 0; i < used.size(); ++i) used[i] = times[i + 1] - times[i];
  const auto middle = used.begin() + static_cast<std::ptrdiff_t>(used.size() / 2);
  std::ranges::nth_element(used, middle);
  return *middle;
}

}  // namespace

std::uint8_t* put_dense_times(std::span<const std::int64_t> times, std::uint8_t* to) noexcept {
  const std::uint64_t span =
      static_cast<std::uint64_t>(times.back()) - static_cast<std::uint64_t>(times.front());
  if (span > kMostSpan) return nullptr;
  const std::int64_t step = step_of(times);
  Integers ticks;
  Integers late;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const std::int64_t since = times[i] - times.front();
    ticks[i] = (since + step / 2) / step;
    late[i] = since - ticks[i] * step;
  }
  to = put_varint(to, static_cast<std::uint64_t>(step));
  // The length of the ticks stands before them and is known after them.
  constexpr std::size_t kMostOfLength = 5;
  std::uint8_t* const part = to + kMostOfLength;
  const std::uint8_t* const end = encode_integers({ticks.data(), times.size()}, {}, part);
  const auto size = static_cast<std::size_t>(end - part);
  to = put_varint(to, size);
  std::memmove(to, part, size);
  return encode_integers({late.data(), times.size()}, {}, to + size);
}

bool get_dense_times(Bytes bytes, std::int64_t first, std::span<std::int64_t> times) noexcept {
  ByteReader from(bytes);
  const std::uint64_t step = from.get_varint();
  const std::uint64_t size = from.get_varint();
  if (!from.ok() || size > from.rest().size() || times.size() > kMaxBlockRows) return false;
  Integers ticks;
  const std::span<std::int64_t> used(ticks.data(), times.size());
  if (!decode_integers(from.rest().first(static_cast<std::size_t>(size)), {}, used)) return false;
  from.skip(static_cast<std::size_t>(size));
  if (!decode_integers(from.rest(), {}, times)) return false;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const std::uint64_t tick =
        static_cast<std::uint64_t>(first) + static_cast<std::uint64_t>(ticks[i]) * step;
    times[i] = static_cast<std::int64_t>(tick + static_cast<std::uint64_t>(times[i]));
  }
  return true;
}

}  // namespace nexus::knowledge
