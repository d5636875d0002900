// The table of PromQL functions: what they take, what they give, and the body that computes them.
//
// A new function is one line in functions.cpp and its body. Bodies come in three shapes: over the
// windows of one series (rate, avg_over_time, ...), over one number (abs, clamp, ...), and special
// ones that see the whole call. Thread safety: constant tables and pure functions.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "knowledge/promql/block.hpp"
#include "nexus/base/result.hpp"
#include "nexus/knowledge/promql.hpp"

namespace nexus::knowledge {
class Models;
}

namespace nexus::knowledge::promql {

class Evaluator;
struct Call;

/// Samples [begin, end) of a column.
struct Window {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  [[nodiscard]] std::uint32_t size() const noexcept { return end - begin; }
};

/// An edge of windows that slides along ascending times. Steps are mostly regular: the next place
/// is guessed from the last move and looked for from there.
class Edge {
 public:
  /// How many of `times` are at most `time`, which does not descend from call to call.
  std::uint32_t move(std::span<const std::int64_t> times, std::int64_t time) noexcept {
    const auto size = static_cast<std::uint32_t>(times.size());
    std::uint32_t low = at_;  // at_ of them are known to be
    std::uint32_t high = std::min(size, at_ + std::max(moved_, 1U));
    std::uint32_t stride = 1;
    while (high < size && times[high] <= time) {
      low = high + 1;
      high = std::min(size, low + stride);
      stride *= 2;
    }
    // The guess itself is mostly right: times[high - 1] <= time < times[high].
    if (high > low && times[high - 1] <= time) low = high;
    while (low < high) {
      const std::uint32_t middle = low + (high - low) / 2;
      if (times[middle] <= time) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    moved_ = low - at_;
    at_ = low;
    return at_;
  }

 private:
  std::uint32_t at_ = 0;
  std::uint32_t moved_ = 0;
};

/// One series under a range function: its samples (no stale markers) and the window of each step.
struct RangeInput {
  std::span<const std::int64_t> times;
  std::span<const double> values;
  std::span<const Window> windows;
  Steps steps;  // the times of evaluation, as many as windows
  Steps ends;   // the right edges of the windows: those times, moved by offset or fixed by @
  std::int64_t range = 0;                          // ms
  std::array<std::span<const double>, 2> scalars;  // the scalar arguments at each step, in order
  const Models* models = nullptr;                  // of the data; only for functions that ask them
  std::string* problem = nullptr;                  // an argument that the function cannot take
};

/// Writes one cell a step; a cell that is not written stays absent.
using RangeBody = void (*)(const RangeInput& input, std::span<double> out);
/// `a` and `b` are the scalar arguments in order. May return absent().
using MathBody = double (*)(double value, double a, double b);
using SpecialBody = Result<Block> (*)(Evaluator& evaluator, const Call& call);

struct Function {
  static constexpr std::size_t kMaxArguments = 12;
  static constexpr std::size_t kVariadic = SIZE_MAX;  // max_arguments: the last type repeats

  std::string_view name;
  ValueType result = ValueType::kVector;
  std::size_t min_arguments = 0;
  std::size_t max_arguments = 0;
  std::array<ValueType, kMaxArguments> arguments{};
  std::variant<RangeBody, MathBody, SpecialBody> body;
  double default_scalar = 0;  // of an optional trailing scalar argument
  bool keeps_name = false;
  /// How much work a window is besides its samples; only functions that ask models have any.
  std::uint32_t cost = 0;

  /// How many of `arguments` mean something.
  [[nodiscard]] constexpr std::size_t listed_arguments() const noexcept {
    return max_arguments == kVariadic ? min_arguments + 1 : max_arguments;
  }
};

/// nullptr when there is none of that name.
[[nodiscard]] const Function* find_function(std::string_view name) noexcept;
/// Why a function of Prometheus is none here; empty for names that Prometheus does not know either.
[[nodiscard]] std::string_view why_unsupported(std::string_view name) noexcept;

}  // namespace nexus::knowledge::promql
