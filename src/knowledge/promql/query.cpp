// Query: the public face over lexer, parser and evaluator.
#include <algorithm>
#include <cmath>

#include "knowledge/promql/ast.hpp"
#include "knowledge/promql/evaluator.hpp"
#include "knowledge/promql/parser.hpp"
#include "knowledge/promql/rows.hpp"
#include "knowledge/promql/signature.hpp"
#include "nexus/knowledge/promql.hpp"
#include "nexus/knowledge/promql_rows.hpp"

namespace nexus::knowledge::promql {
namespace {

constexpr std::int64_t kMaxSteps =
    11'000;  // from one point to the last: one point more, as in Prometheus
// Far beyond any calendar, and far enough from overflow for every offset, range and step.
constexpr std::int64_t kMaxTime = std::int64_t{1} << 60;

Status check_length(std::string_view text) {
  if (text.size() <= kMaxQueryBytes) return {};
  return fail(Errc::kInvalidArgument,
              "1:1: parse error: the query is {} bytes long, at most {} are allowed", text.size(),
              kMaxQueryBytes);
}

/// Whether what is left of it is what holds, whatever its value: of `x == 0` a series with 0.
bool selects(const Node& node) {
  const Node& inner = without_parens(node);
  const auto* binary = std::get_if<Binary>(&inner.kind);
  if (binary == nullptr) return false;
  if (is_comparison(binary->op)) return !binary->returns_bool;
  if (!is_set_operator(binary->op)) return false;
  return selects(*binary->lhs) && (binary->op != BinaryOp::kOr || selects(*binary->rhs));
}

bool is_time(std::int64_t time) {
  return time >= -kMaxTime && time <= kMaxTime;
}

Status check_span(std::int64_t start, std::int64_t end, std::int64_t step) {
  if (!is_time(start) || !is_time(end)) {
    return fail(Errc::kInvalidArgument, "start or end of the query is out of range");
  }
  if (step <= 0)
    return fail(Errc::kInvalidArgument, "step must be greater than 0, got {} ms", step);
  if (end < start) return fail(Errc::kInvalidArgument, "end of the query is before its start");
  if ((end - start) / step > kMaxSteps) {
    return fail(Errc::kInvalidArgument,
                "{} steps are more than the {} allowed for one series; use a longer step",
                (end - start) / step + 1, kMaxSteps + 1);
  }
  return {};
}

Vector to_vector(const Block& block, std::int64_t time) {
  Vector vector;
  vector.reserve(block.rows.size());
  for (std::size_t r = 0; r < block.rows.size(); ++r) {
    if (is_present(block.cells[r]))
      vector.push_back({labels_of(block.rows[r]), time, block.cells[r]});
  }
  return vector;
}

Matrix to_matrix(const Rows& rows, std::size_t steps) {
  Matrix matrix(rows.size());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const auto [labels, nameless] = rows.labels(r);
    matrix[r].labels = labels_of({&labels, nameless});
    NEXUS_CHECK(rows.read(r, 0, steps, matrix[r].samples) == 0);
  }
  return matrix;
}

}  // namespace

std::string_view to_string(ValueType type) noexcept {
  switch (type) {
    case ValueType::kScalar:
      return "scalar";
    case ValueType::kVector:
      return "vector";
    case ValueType::kMatrix:
      return "matrix";
    case ValueType::kString:
      return "string";
  }
  return "";
}

ValueType type_of(const Value& value) noexcept {
  static constexpr ValueType kTypes[] = {ValueType::kScalar, ValueType::kVector, ValueType::kMatrix,
                                         ValueType::kString};
  return kTypes[value.index()];
}

Result<NodePtr> parse_tree(std::string_view text) {
  if (Status length = check_length(text); !length) return std::unexpected(length.error());
  auto tokens = tokenize(text);
  if (!tokens) return propagate(std::move(tokens));
  Parser parser(text, *tokens);
  NodePtr root = parser.query();
  if (!root) return std::unexpected(parser.error());
  return root;
}

Result<Query> Query::parse(std::string_view text) {
  auto root = parse_tree(text);
  if (!root) return propagate(std::move(root));
  return Query(std::string(text), std::move(*root));
}

Result<std::vector<Matcher>> parse_selector(std::string_view text) {
  if (Status length = check_length(text); !length) return std::unexpected(length.error());
  auto tokens = tokenize(text);
  if (!tokens) return propagate(std::move(tokens));
  Parser parser(text, *tokens);
  VectorSelector selector;
  if (!parser.selector_only(selector)) return std::unexpected(parser.error());
  return std::move(selector.matchers);
}

ValueType Query::type() const noexcept {
  return root_->type;
}

std::string Query::to_string() const {
  return print(*root_);
}

std::string Query::format() const {
  return pretty_print(*root_);
}

Result<Value> Query::instant(const Queryable& data, std::int64_t time, const Limits& limits) const {
  if (!is_time(time)) return fail(Errc::kInvalidArgument, "time of the query is out of range");
  const Node& root = without_parens(*root_);
  if (const auto* literal = std::get_if<StringLiteral>(&root.kind)) {
    if (limits.account != nullptr) *limits.account = {};
    return Value(literal->value);
  }
  Evaluator evaluator(data, {time, 1, 1}, 0, limits, text_);
  if (root.type == ValueType::kMatrix) {
    auto matrix = evaluator.samples(root);
    if (!matrix) return propagate(std::move(matrix));
    if (limits.account != nullptr) *limits.account = evaluator.account();
    return Value(std::move(*matrix));
  }
  auto block = evaluator.evaluate(root);
  if (!block) return propagate(std::move(block));
  if (limits.account != nullptr) *limits.account = evaluator.account();
  if (root.type == ValueType::kScalar) return Value(Scalar{time, block->cells.front()});
  return Value(to_vector(*block, time));
}

Result<std::variant<Scalar, Rows, std::string>> Query::instant_rows(const Queryable& data,
                                                                    std::int64_t time,
                                                                    const Limits& limits) const {
  using Held = std::variant<Scalar, Rows, std::string>;
  if (type() != ValueType::kVector) {
    auto value = instant(data, time, limits);
    if (!value) return propagate(std::move(value));
    if (auto* matrix = std::get_if<Matrix>(&*value)) return Held(make_rows(std::move(*matrix)));
    if (auto* text = std::get_if<std::string>(&*value)) return Held(std::move(*text));
    return Held(std::get<Scalar>(*value));
  }
  if (!is_time(time)) return fail(Errc::kInvalidArgument, "time of the query is out of range");
  Evaluator evaluator(data, {time, 1, 1}, 0, limits, text_);
  auto block = evaluator.evaluate(without_parens(*root_));
  if (!block) return propagate(std::move(block));
  if (limits.account != nullptr) *limits.account = evaluator.account();
  return Held(
      make_rows(evaluator.take_labels(), {time, 1, 1}, std::move(*block), RowOrder::kAsMade));
}

Result<Rows> Query::range_rows(const Queryable& data, std::int64_t start, std::int64_t end,
                               std::int64_t step, const Limits& limits) const {
  if (Status span = check_span(start, end, step); !span) return std::unexpected(span.error());
  if (type() != ValueType::kScalar && type() != ValueType::kVector) {
    return fail(Errc::kInvalidArgument, "a range query needs a scalar or instant vector, got {}",
                describe(type()));
  }
  const Steps steps{start, step, static_cast<std::size_t>((end - start) / step) + 1};
  Evaluator evaluator(data, steps, step, limits, text_);
  auto block = evaluator.evaluate(*root_);
  if (!block) return propagate(std::move(block));
  if (limits.account != nullptr) *limits.account = evaluator.account();
  return make_rows(evaluator.take_labels(), steps, std::move(*block), RowOrder::kByLabels);
}

Result<Matrix> Query::range(const Queryable& data, std::int64_t start, std::int64_t end,
                            std::int64_t step, const Limits& limits) const {
  const auto rows = range_rows(data, start, end, step, limits);
  if (!rows) return std::unexpected(rows.error());
  return to_matrix(*rows, static_cast<std::size_t>((end - start) / step) + 1);
}

bool Query::holds(const Value& value) const noexcept {
  const auto* vector = std::get_if<Vector>(&value);
  if (vector == nullptr || !selects(*root_)) return is_true(value);
  return std::ranges::any_of(*vector,
                             [](const VectorElement& one) { return !std::isnan(one.value); });
}

bool is_true(const Value& value) noexcept {
  const auto holds = [](double number) { return number != 0 && !std::isnan(number); };
  if (const auto* scalar = std::get_if<Scalar>(&value)) return holds(scalar->value);
  const auto* vector = std::get_if<Vector>(&value);
  return vector != nullptr && std::ranges::any_of(*vector, holds, &VectorElement::value);
}

}  // namespace nexus::knowledge::promql
