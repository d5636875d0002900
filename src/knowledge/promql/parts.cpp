#include "knowledge/promql/ast.hpp"
#include "knowledge/promql/lexer.hpp"
#include "knowledge/promql/parser.hpp"
#include "nexus/knowledge/promql_parts.hpp"

namespace nexus::knowledge::promql {

std::optional<Query> compared_vector(const Query& query) {
  const auto tokens = tokenize(query.text());
  if (!tokens) return std::nullopt;
  Parser parser(query.text(), *tokens);
  const NodePtr root = parser.query();
  if (!root) return std::nullopt;
  const auto* binary = std::get_if<Binary>(&without_parens(*root).kind);
  if (binary == nullptr || !is_comparison(binary->op) || binary->returns_bool) return std::nullopt;
  const bool left = binary->lhs->type == ValueType::kVector;
  const Node& vector = left ? *binary->lhs : *binary->rhs;
  const Node& scalar = left ? *binary->rhs : *binary->lhs;
  if (vector.type != ValueType::kVector || scalar.type != ValueType::kScalar) return std::nullopt;
  auto made = Query::parse(print(vector));
  if (!made) return std::nullopt;
  return *std::move(made);
}

}  // namespace nexus::knowledge::promql
