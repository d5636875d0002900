// Binary operators: between scalars, between a vector and a scalar, and the way to those between
// vectors.
#include "knowledge/promql/evaluator.hpp"
#include "knowledge/promql/operators.hpp"
#include "knowledge/promql/vector_match.hpp"

namespace nexus::knowledge::promql {
namespace {

Block scalar_scalar(const Binary& node, Block lhs, const Block& rhs) {
  with_operator(node.op, Comparison::kBool, [&](auto operation) {
    for (std::size_t i = 0; i < lhs.cells.size(); ++i) {
      lhs.cells[i] = operation(lhs.cells[i], rhs.cells[i]);
    }
  });
  return lhs;
}

enum class Side { kLeft, kRight };

/// The vector stands at `side`. A filtering comparison keeps the vector's value, wherever it
/// stands.
void vector_scalar(const Binary& node, Block& vector, const Block& scalar, Side side) {
  const bool filter = is_comparison(node.op) && !node.returns_bool;
  with_operator(node.op, node.returns_bool ? Comparison::kBool : Comparison::kFilter,
                [&](auto operation) {
                  for (std::size_t r = 0; r < vector.rows.size(); ++r) {
                    const auto cells = vector.row(r);
                    for (std::size_t i = 0; i < cells.size(); ++i) {
                      const double cell = cells[i];
                      if (is_absent(cell)) continue;
                      const double number = scalar.cells[i];
                      if (side == Side::kLeft) {
                        cells[i] = operation(cell, number);
                      } else {
                        const double result = operation(number, cell);
                        cells[i] = filter && is_present(result) ? cell : result;
                      }
                    }
                  }
                });
}

Result<Block> with_scalar(const Binary& node, Block vector, const Block& scalar, Side side) {
  vector_scalar(node, vector, scalar, side);
  if (is_comparison(node.op) && !node.returns_bool) {
    vector.drop_empty_rows();
    return vector;
  }
  if (Status status = drop_and_merge_names(vector, false); !status) {
    return std::unexpected(std::move(status).error());
  }
  return vector;
}

}  // namespace

Result<Block> evaluate_binary(Evaluator& evaluator, const Binary& node) {
  auto lhs = evaluator.evaluate(*node.lhs);
  if (!lhs) return lhs;
  auto rhs = evaluator.evaluate(*node.rhs);
  if (!rhs) return rhs;
  if (Status status = evaluator.charge(lhs->cells.size() + rhs->cells.size()); !status) {
    return std::unexpected(std::move(status).error());
  }
  const bool scalar_lhs = node.lhs->type == ValueType::kScalar;
  const bool scalar_rhs = node.rhs->type == ValueType::kScalar;
  if (scalar_lhs && scalar_rhs) return scalar_scalar(node, std::move(*lhs), *rhs);
  if (scalar_rhs) return with_scalar(node, std::move(*lhs), *rhs, Side::kLeft);
  if (scalar_lhs) return with_scalar(node, std::move(*rhs), *lhs, Side::kRight);
  if (is_set_operator(node.op)) return combine_sets(node, std::move(*lhs), *rhs);
  return match_vectors(evaluator, node, *lhs, *rhs);
}

}  // namespace nexus::knowledge::promql
