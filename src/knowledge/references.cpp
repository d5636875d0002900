#include "knowledge/references.hpp"

#include <algorithm>
#include <bit>

namespace nexus::knowledge {
namespace {

constexpr std::size_t kEvery = 8;

std::uint64_t bits_for(std::uint64_t difference) noexcept {
  return static_cast<std::uint64_t>(std::bit_width(zigzag(static_cast<std::int64_t>(difference))));
}

/// The bits of own - base and of own + base; stops when both are more than `limit`.
std::pair<std::uint64_t, std::uint64_t> compare(std::span<const std::int64_t> own,
                                                std::span<const std::int64_t> base,
                                                std::uint64_t limit) noexcept {
  std::uint64_t less = 0;
  std::uint64_t more = 0;
  for (std::size_t i = 0; i < own.size() && std::min(less, more) < limit; ++i) {
    const auto a = static_cast<std::uint64_t>(own[i]);
    const auto b = static_cast<std::uint64_t>(base[i]);
    less += bits_for(a - b);
    more += bits_for(a + b);
  }
  return {less, more};
}

}  // namespace

std::vector<std::int64_t> References::few_steps_of(std::span<const std::int64_t> integers,
                                                   unsigned shift) {
  std::vector<std::int64_t> steps;
  steps.reserve(integers.size() / kEvery + 1);
  for (std::size_t i = 1; i < integers.size(); i += kEvery) {
    const std::uint64_t step =
        static_cast<std::uint64_t>(integers[i]) - static_cast<std::uint64_t>(integers[i - 1]);
    steps.push_back(static_cast<std::int64_t>(step) >> shift);
  }
  return steps;
}

std::optional<Reference> References::find(std::span<const std::int64_t> integers) const {
  const unsigned shift = step_shift(integers);
  const std::vector<std::int64_t> own = few_steps_of(integers, shift);
  std::uint64_t best = 0;
  for (const std::int64_t step : own) best += bits_for(static_cast<std::uint64_t>(step));
  best -= best / 8;  // a reference has to pay for its own decoding
  std::optional<Reference> found;
  for (const Base& base : bases_) {
    if (base.integers.size() != integers.size()) continue;
    const auto [less, more] = compare(own, base.few_steps, best);
    if (std::min(less, more) >= best) continue;
    best = std::min(less, more);
    found = Reference{
        base.column,
        {static_cast<std::uint8_t>(base.shift), static_cast<std::uint8_t>(shift), more < less}};
  }
  return found;
}

std::span<const std::int64_t> References::integers(std::uint32_t column) const {
  return std::ranges::lower_bound(bases_, column, {}, &Base::column)->integers;
}

void References::keep(std::uint32_t column, std::span<const std::int64_t> integers) {
  const unsigned shift = step_shift(integers);
  bases_.push_back({column, shift, std::vector<std::int64_t>(integers.begin(), integers.end()),
                    few_steps_of(integers, shift)});
}

}  // namespace nexus::knowledge
