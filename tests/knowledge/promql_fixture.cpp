#include "knowledge/promql_fixture.hpp"

#include <algorithm>
#include <stdexcept>

#include "nexus/base/text.hpp"
#include "nexus/knowledge/promql.hpp"

namespace nexus::knowledge::test {
namespace {

[[noreturn]] void bad(std::string_view what, std::string_view text) {
  throw std::runtime_error(std::string(what) + ": " + std::string(text));
}

double number(std::string_view text) {
  if (text == "stale") return stale_marker();
  const auto value = base::parse_double(text);
  if (!value) bad("not a value", text);
  return *value;
}

/// `0+10x3`, `0-10x3`, `5x3`, `_x3`.
void append_repeated(std::vector<std::optional<double>>& out, std::string_view word,
                     std::size_t x) {
  const auto times = base::parse_uint(word.substr(x + 1));
  if (!times) bad("not a repetition", word);
  const std::string_view head = word.substr(0, x);
  if (head == "_") {
    out.insert(out.end(), *times, std::nullopt);
    return;
  }
  auto sign = head.find_first_of("+-", 1);
  if (sign != std::string_view::npos && head[sign - 1] == 'e') sign = std::string_view::npos;
  const double first = number(head.substr(0, sign));
  const double step = sign == std::string_view::npos ? 0 : number(head.substr(sign));
  double value = first;
  for (std::uint64_t i = 0; i <= *times; ++i) {
    out.emplace_back(value);
    value += step;
  }
}

}  // namespace

std::vector<std::optional<double>> parse_values(std::string_view text) {
  std::vector<std::optional<double>> out;
  for (auto word = base::take_word(text); !word.empty(); word = base::take_word(text)) {
    const auto x = word.find('x');
    if (x != std::string_view::npos) {
      append_repeated(out, word, x);
    } else if (word == "_") {
      out.emplace_back(std::nullopt);
    } else {
      out.emplace_back(number(word));
    }
  }
  return out;
}

Labels parse_labels(std::string_view text) {
  if (text == "{}") return {};
  const auto matchers = promql::parse_selector(text);
  if (!matchers) bad(matchers.error().message(), text);
  std::vector<Label> labels;
  for (const Matcher& matcher : *matchers) labels.push_back({matcher.name(), matcher.value()});
  return Labels(std::move(labels));
}

std::string_view take_selector(std::string_view& line) {
  bool in_braces = false;
  bool in_quotes = false;
  std::size_t end = 0;
  for (; end < line.size(); ++end) {
    const char c = line[end];
    if (c == '"' && (end == 0 || line[end - 1] != '\\')) in_quotes = !in_quotes;
    if (!in_quotes && (c == '{' || c == '}')) in_braces = c == '{';
    if (!in_quotes && !in_braces && c == ' ') break;
  }
  const std::string_view head = line.substr(0, end);
  line.remove_prefix(end);
  return head;
}

void MemoryStore::add(const Labels& labels, std::int64_t time, double value) {
  const auto id = registry_.intern(labels);
  if (!id) bad(id.error().message(), to_string(labels));
  if (*id >= columns_.size()) columns_.resize(*id + 1);
  columns_[*id].times.push_back(time);
  columns_[*id].values.push_back(value);
}

void MemoryStore::load(std::string_view line, std::int64_t interval, std::int64_t start) {
  const Labels labels = parse_labels(take_selector(line));
  std::int64_t time = start;
  for (const auto& value : parse_values(line)) {
    if (value) add(labels, time, *value);
    time += interval;
  }
}

std::vector<SeriesId> MemoryStore::select(std::span<const Matcher> matchers, std::int64_t,
                                          std::int64_t) const {
  return registry_.select(matchers);
}

void MemoryStore::read(SeriesId id, std::int64_t start, std::int64_t end, Column& out) const {
  const Column& column = columns_[id];
  const auto first = std::ranges::upper_bound(column.times, start) - column.times.begin();
  const auto last = std::ranges::upper_bound(column.times, end) - column.times.begin();
  for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(last); ++i) {
    out.times.push_back(column.times[i]);
    out.values.push_back(column.values[i]);
  }
}

}  // namespace nexus::knowledge::test
