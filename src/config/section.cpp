#include "config/section.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "nexus/base/text.hpp"

namespace nexus::config {
namespace {

constexpr std::string_view kDurationExample = "a duration such as \"30s\"";
constexpr std::string_view kSizeExample = "a size such as \"64MiB\"";

std::string range_text(const Interval& allowed) {
  if (!std::isfinite(allowed.low) || !std::isfinite(allowed.high)) return "a finite number";
  const auto low = base::format_double(allowed.low);
  const auto high = base::format_double(allowed.high);
  if (!allowed.low_open && !allowed.high_open) {
    return fmt::format("a number from {} to {}", low, high);
  }
  return fmt::format("a number {} {} and {} {}", allowed.low_open ? "above" : "of at least", low,
                     allowed.high_open ? "below" : "at most", high);
}

bool contains(const Interval& allowed, double value) {
  return (allowed.low_open ? value > allowed.low : value >= allowed.low) &&
         (allowed.high_open ? value < allowed.high : value <= allowed.high);
}

/// Seconds as a number or Prometheus's notation; negative numbers are kept, so that the range check
/// can name them.
std::optional<Millis> to_duration(const Node& node) {
  if (const auto* text = node.as<std::string>()) {
    const auto parsed = base::parse_duration(*text);
    return parsed ? std::optional(*parsed) : std::nullopt;
  }
  double seconds = 0;
  if (const auto* integer = node.as<std::int64_t>()) {
    seconds = static_cast<double>(*integer);
  } else if (const auto* number = node.as<double>()) {
    seconds = *number;
  } else {
    return std::nullopt;
  }
  constexpr double kFar = 1e12;  // beyond every limit, inside the range of milliseconds
  if (std::isnan(seconds)) return std::nullopt;
  return Millis(std::llround(std::clamp(seconds, -kFar, kFar) * 1000.0));
}

std::optional<ParameterValue> to_parameter(const Node& node) {
  if (const auto* flag = node.as<bool>()) return *flag;
  if (const auto* integer = node.as<std::int64_t>()) return *integer;
  if (const auto* number = node.as<double>()) return *number;
  if (const auto* text = node.as<std::string>()) return *text;
  const auto* array = node.as<Array>();
  if (array == nullptr) return std::nullopt;
  std::vector<std::string> texts;
  for (const auto& item : *array) {
    const auto* text = item.as<std::string>();
    if (text == nullptr) return std::nullopt;
    texts.push_back(*text);
  }
  return texts;
}

}  // namespace

const Shape kNonEmpty{[](std::string_view text) { return !base::trim(text).empty(); },
                      "a string that is not empty"};
const Shape kAnyText{[](std::string_view) { return true; }, "a string"};

std::string Section::name_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

std::string Section::got(const Node& node) const {
  return disclosure_ == Disclosure::kValues ? describe(node) : std::string(describe_type(node));
}

void Section::expect(std::string_view key, const Node& node, std::string_view expected) {
  report_.add(node.where,
              fmt::format("{}: expected {}, got {}", name_of(key), expected, got(node)));
}

void Section::misplaced(std::string_view key, const Node& node, std::string_view expected,
                        Disclosure disclosure) {
  // What stands there was perhaps meant for a key of the table, and that may be a secret.
  const bool shown = disclosure_ == Disclosure::kValues && disclosure == Disclosure::kValues;
  report_.add(node.where, fmt::format("{}: expected {}, got {}", name_of(key), expected,
                                      shown ? describe(node) : std::string(describe_type(node))));
}

void Section::complain(std::string_view key, std::string_view message) {
  report_.add(place_of({key}), fmt::format("{}: {}", name_of(key), message));
}

Where Section::place_of(std::initializer_list<std::string_view> keys) const {
  for (const auto key : keys) {
    if (const Entry* entry = find(table_, key)) return entry->value.where;
  }
  return where_;
}

bool Section::is_known(std::string_view key) const {
  return std::ranges::find(known_, key) != known_.end();
}

const Node* Section::take(std::string_view key) {
  if (!is_known(key)) known_.emplace_back(key);
  report_.note_known(name_of(key));
  const Entry* entry = find(table_, key);
  if (entry == nullptr) return nullptr;
  report_.note_place(name_of(key), entry->value.where);
  return &entry->value;
}

bool Section::require(std::string_view key, std::string_view expected) {
  if (has(key)) return true;
  if (!damaged_) {
    report_.add(where_, fmt::format("{}: missing; expected {}", name_of(key), expected));
  }
  return false;
}

const Node* Section::boolean(std::string_view key, bool& out) {
  const Node* node = take(key);
  if (node == nullptr) return nullptr;
  const bool* flag = node->as<bool>();
  if (flag == nullptr) {
    expect(key, *node, "true or false");
    return nullptr;
  }
  out = *flag;
  return node;
}

const Node* Section::number(std::string_view key, double& out, Interval allowed) {
  const Node* node = take(key);
  if (node == nullptr) return nullptr;
  const auto* integer = node->as<std::int64_t>();
  const auto* number = node->as<double>();
  const double value = integer != nullptr  ? static_cast<double>(*integer)
                       : number != nullptr ? *number
                                           : std::nan("");
  if (!std::isfinite(value) || !contains(allowed, value)) {
    expect(key, *node, range_text(allowed));
    return nullptr;
  }
  out = value;
  return node;
}

std::optional<std::pair<const Node*, std::int64_t>> Section::integer_in(std::string_view key,
                                                                        std::int64_t least,
                                                                        std::int64_t most) {
  const Node* node = take(key);
  if (node == nullptr) return std::nullopt;
  const auto* integer = node->as<std::int64_t>();
  if (integer == nullptr || *integer < least || *integer > most) {
    expect(key, *node, fmt::format("an integer from {} to {}", least, most));
    return std::nullopt;
  }
  return std::pair(node, *integer);
}

const Node* Section::duration(std::string_view key, Millis& out, Period allowed) {
  const Node* node = take(key);
  if (node == nullptr) return nullptr;
  const auto value = to_duration(*node);
  if (!value) {
    expect(key, *node, kDurationExample);
    return nullptr;
  }
  if (*value < allowed.shortest || *value > allowed.longest) {
    expect(key, *node,
           fmt::format("a duration from \"{}\" to \"{}\"", base::format_duration(allowed.shortest),
                       base::format_duration(allowed.longest)));
    return nullptr;
  }
  out = *value;
  return node;
}

const Node* Section::bytes(std::string_view key, std::uint64_t& out, std::uint64_t least) {
  const Node* node = take(key);
  if (node == nullptr) return nullptr;
  std::optional<std::uint64_t> value;
  if (const auto* integer = node->as<std::int64_t>(); integer != nullptr && *integer >= 0) {
    value = static_cast<std::uint64_t>(*integer);
  } else if (const auto* text = node->as<std::string>()) {
    if (const auto parsed = base::parse_bytes(*text)) value = *parsed;
  }
  if (!value || *value < least) {
    expect(key, *node, fmt::format("{} of at least {} bytes", kSizeExample, least));
    return nullptr;
  }
  out = *value;
  return node;
}

const Node* Section::text(std::string_view key, std::string& out, const Shape& shape) {
  const Node* node = take(key);
  if (node == nullptr) return nullptr;
  const auto* value = node->as<std::string>();
  if (value == nullptr || value->contains('\0') || !shape.accepts(*value)) {
    expect(key, *node, shape.expected);
    return nullptr;
  }
  out = *value;
  return node;
}

const Node* Section::texts(std::string_view key, std::vector<std::string>& out,
                           const Shape& shape) {
  const Node* node = take(key);
  if (node == nullptr) return nullptr;
  const auto* array = node->as<Array>();
  if (array == nullptr) {
    expect(key, *node, "an array of strings");
    return nullptr;
  }
  std::vector<std::string> values;
  bool good = true;
  for (const auto& item : *array) {
    const auto* value = item.as<std::string>();
    if (value == nullptr || value->contains('\0') || !shape.accepts(*value)) {
      expect(key, item, shape.expected);
      good = false;
    } else {
      values.push_back(*value);
    }
  }
  if (!good) return nullptr;
  out = std::move(values);
  return node;
}

const Node* Section::expression(std::string_view key, Expression& out) {
  static constexpr Shape kExpression{
      [](std::string_view text) { return !base::trim(text).empty(); }, "a PromQL expression"};
  const Node* node = text(key, out.text, kExpression);
  if (node != nullptr) out.where = node->where;
  return node;
}

std::optional<std::pair<const Node*, std::size_t>> Section::pick(
    std::string_view key, std::span<const std::string_view> names) {
  const Node* node = take(key);
  if (node == nullptr) return std::nullopt;
  const auto* text = node->as<std::string>();
  const auto at = text == nullptr ? names.end() : std::ranges::find(names, *text);
  if (at != names.end()) return std::pair(node, static_cast<std::size_t>(at - names.begin()));
  expect(key, *node, fmt::format("one of \"{}\"", fmt::join(names, "\", \"")));
  return std::nullopt;
}

const Node* Section::choice(std::string_view key, std::string& out,
                            std::initializer_list<std::string_view> all) {
  const auto picked = pick(key, std::span(all.begin(), all.size()));
  if (!picked) return nullptr;
  out = all.begin()[picked->second];
  return picked->first;
}

bool Section::parameter(const Entry& entry, Parameters& out, Places& places) {
  auto value = to_parameter(entry.value);
  if (!value) {
    expect(entry.key, entry.value, "a boolean, a number, a string or an array of strings");
    return false;
  }
  out.insert_or_assign(entry.key, std::move(*value));
  places.insert_or_assign(entry.key, entry.value.where);
  return true;
}

const Node* Section::parameters(std::string_view key, Parameters& out, Places& places) {
  const Node* node = take(key);
  if (node == nullptr) return nullptr;
  const auto* table = node->as<Table>();
  if (table == nullptr) {
    expect(key, *node, "a table");
    return nullptr;
  }
  Section values = inner(key, *table, node->where);
  for (const auto& entry : *table) values.parameter(entry, out, places);
  return node;
}

void Section::remaining_parameters(Parameters& out, Places& places) {
  for (const auto& entry : table_) {
    if (is_known(entry.key)) continue;
    known_.push_back(entry.key);
    parameter(entry, out, places);
  }
}

Section Section::inner(std::string_view key, const Table& table, const Where& where) const {
  return {report_, table, where, name_of(key), damaged_, disclosure_};
}

void Section::table(std::string_view key, const std::function<void(Section&)>& read,
                    Disclosure disclosure) {
  const Node* node = take(key);
  if (node == nullptr) return;
  const auto* table = node->as<Table>();
  if (table == nullptr) {
    misplaced(key, *node, fmt::format("a table, [{}]", name_of(key)), disclosure);
    return;
  }
  Section section(report_, *table, node->where, name_of(key), damaged_, disclosure);
  read(section);
  section.finish();
}

void Section::tables(std::string_view key, const std::function<void(Section&)>& read,
                     Disclosure disclosure) {
  const Node* node = take(key);
  if (node == nullptr) return;
  const auto expected = fmt::format("an array of tables, [[{}]]", name_of(key));
  const auto* array = node->as<Array>();
  if (array == nullptr) {
    misplaced(key, *node, expected, disclosure);
    return;
  }
  for (const auto& item : *array) {
    const auto* table = item.as<Table>();
    if (table == nullptr) {
      misplaced(key, item, expected, disclosure);
      continue;
    }
    Section section(report_, *table, item.where, name_of(key), damaged_, disclosure);
    read(section);
    section.finish();
  }
}

void Section::remaining_tables(const std::function<void(std::string_view, Section&)>& read) {
  for (const auto& entry : table_) {
    const auto* table = entry.value.as<Table>();
    if (table == nullptr || is_known(entry.key)) continue;
    known_.push_back(entry.key);
    Section section = inner(entry.key, *table, entry.value.where);
    read(entry.key, section);
    section.finish();
  }
}

void Section::finish() {
  for (const auto& entry : table_) {
    if (is_known(entry.key)) continue;
    const auto guess = nearest(entry.key, known_);
    report_.add(
        entry.where,
        fmt::format("{}: unknown key{}", name_of(printable(entry.key)),
                    guess.empty() ? std::string() : fmt::format("; did you mean \"{}\"?", guess)));
  }
}

}  // namespace nexus::config
