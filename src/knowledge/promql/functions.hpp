// The table of PromQL functions: what they take, what they give, and the body that computes them.
//
// A new function is one line in functions.cpp and its body. Bodies come in three shapes: over the
// windows of one series (rate, avg_over_time, ...), over one number (abs, clamp, ...), and special
// ones that see the whole call. Thread safety: constant tables and pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

#include "knowledge/promql/block.hpp"
#include "nexus/base/result.hpp"
#include "nexus/knowledge/promql.hpp"

namespace nexus::knowledge::promql {

class Evaluator;
struct Call;

/// Samples [begin, end) of a column.
struct Window {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  [[nodiscard]] std::uint32_t size() const noexcept { return end - begin; }
};

/// One series under a range function: its samples (no stale markers) and the window of each step.
struct RangeInput {
  std::span<const std::int64_t> times;
  std::span<const double> values;
  std::span<const Window> windows;
  Steps steps;                     // as many as windows
  std::int64_t range = 0;          // ms
  std::int64_t offset = 0;         // ms
  std::span<const double> scalar;  // the scalar argument at each step; empty when there is none
};

/// Writes one cell a step; a cell that is not written stays absent.
using RangeBody = void (*)(const RangeInput& input, std::span<double> out);
/// `a` and `b` are the scalar arguments in order. May return absent().
using MathBody = double (*)(double value, double a, double b);
using SpecialBody = Result<Block> (*)(Evaluator& evaluator, const Call& call);

struct Function {
  static constexpr std::size_t kMaxArguments = 3;

  std::string_view name;
  ValueType result = ValueType::kVector;
  std::size_t min_arguments = 0;
  std::size_t max_arguments = 0;
  std::array<ValueType, kMaxArguments> arguments{};
  std::variant<RangeBody, MathBody, SpecialBody> body;
  double default_scalar = 0;  // of an optional trailing scalar argument
  bool keeps_name = false;
};

/// nullptr when there is none of that name.
[[nodiscard]] const Function* find_function(std::string_view name) noexcept;
/// A function or aggregation of Prometheus that is not built here yet.
[[nodiscard]] bool is_future_function(std::string_view name) noexcept;
[[nodiscard]] bool is_future_aggregation(std::string_view name) noexcept;

}  // namespace nexus::knowledge::promql
