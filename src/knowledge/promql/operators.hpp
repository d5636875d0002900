// The arithmetic of binary operators, chosen once for a whole row instead of once a cell.
// Thread safety: pure functions.
#pragma once

#include <cmath>

#include "knowledge/promql/ast.hpp"
#include "knowledge/promql/block.hpp"
#include "knowledge/promql/prometheus_math.hpp"

namespace nexus::knowledge::promql {

/// What a comparison gives: the kept operand or nothing, or with `bool` one or zero.
enum class Comparison { kFilter, kBool };

/// Calls `body` with a function (a, b) -> value. For a filter it gives `a` or absent(); arithmetic
/// ignores `comparison`. Set operators have no arithmetic and give absent().
template <typename Body>
void with_operator(BinaryOp op, Comparison comparison, Body&& body) {
  const auto compare = [&](auto holds) {
    if (comparison == Comparison::kBool) {
      body([=](double a, double b) { return holds(a, b) ? 1.0 : 0.0; });
    } else {
      body([=](double a, double b) { return holds(a, b) ? a : absent(); });
    }
  };
  switch (op) {
    case BinaryOp::kAdd:
      return body([](double a, double b) { return a + b; });
    case BinaryOp::kSub:
      return body([](double a, double b) { return a - b; });
    case BinaryOp::kMul:
      return body([](double a, double b) { return a * b; });
    case BinaryOp::kDiv:
      return body([](double a, double b) { return a / b; });
    case BinaryOp::kMod:
      return body([](double a, double b) { return std::fmod(a, b); });
    case BinaryOp::kPow:
      return body([](double a, double b) { return prometheus::pow(a, b); });
    case BinaryOp::kAtan2:
      return body([](double a, double b) { return prometheus::atan2(a, b); });
    case BinaryOp::kEqual:
      return compare([](double a, double b) { return a == b; });
    case BinaryOp::kNotEqual:
      return compare([](double a, double b) { return a != b; });
    case BinaryOp::kGreater:
      return compare([](double a, double b) { return a > b; });
    case BinaryOp::kLess:
      return compare([](double a, double b) { return a < b; });
    case BinaryOp::kGreaterEqual:
      return compare([](double a, double b) { return a >= b; });
    case BinaryOp::kLessEqual:
      return compare([](double a, double b) { return a <= b; });
    case BinaryOp::kAnd:
    case BinaryOp::kOr:
    case BinaryOp::kUnless:
      return body([](double, double) { return absent(); });
  }
}

}  // namespace nexus::knowledge::promql
