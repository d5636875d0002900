// Query: the public face over lexer, parser and evaluator.
#include <algorithm>
#include <cmath>

#include "knowledge/promql/ast.hpp"
#include "knowledge/promql/evaluator.hpp"
#include "knowledge/promql/parser.hpp"
#include "knowledge/promql/signature.hpp"
#include "nexus/knowledge/promql.hpp"

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

Matrix to_matrix(const Block& block, const Steps& steps) {
  Matrix matrix;
  matrix.reserve(block.rows.size());
  for (std::size_t r = 0; r < block.rows.size(); ++r) {
    const auto cells = block.row(r);
    const auto count = static_cast<std::size_t>(std::ranges::count_if(cells, is_present));
    if (count == 0) continue;
    MatrixSeries& series = matrix.emplace_back();
    series.labels = labels_of(block.rows[r]);
    series.samples.times.reserve(count);
    series.samples.values.reserve(count);
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (is_absent(cells[i])) continue;
      series.samples.times.push_back(steps.at(i));
      series.samples.values.push_back(cells[i]);
    }
  }
  std::ranges::sort(matrix, {}, &MatrixSeries::labels);
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

Result<Query> Query::parse(std::string_view text) {
  if (Status length = check_length(text); !length) return std::unexpected(length.error());
  auto tokens = tokenize(text);
  if (!tokens) return propagate(std::move(tokens));
  Parser parser(text, *tokens);
  NodePtr root = parser.query();
  if (!root) return std::unexpected(parser.error());
  return Query(std::string(text), std::move(root));
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

Result<Matrix> Query::range(const Queryable& data, std::int64_t start, std::int64_t end,
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
  return to_matrix(*block, steps);
}

bool is_true(const Value& value) noexcept {
  const auto holds = [](double number) { return number != 0 && !std::isnan(number); };
  if (const auto* scalar = std::get_if<Scalar>(&value)) return holds(scalar->value);
  const auto* vector = std::get_if<Vector>(&value);
  return vector != nullptr && std::ranges::any_of(*vector, holds, &VectorElement::value);
}

}  // namespace nexus::knowledge::promql
