#include "config/document.hpp"

#include <fmt/core.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <expected>
#include <tuple>

#include "nexus/base/text.hpp"

namespace nexus::config {
namespace {

constexpr int kMostSyntaxErrors = 20;

Where place(const toml::source_region& region, const std::string& file) {
  return {file, static_cast<int>(region.begin.line), static_cast<int>(region.begin.column)};
}

Node convert(const toml::node& node, const std::string& file);

Table convert_table(const toml::table& table, const std::string& file) {
  Table out;
  out.reserve(table.size());
  for (const auto& [key, value] : table) {
    out.push_back({std::string(key.str()), place(key.source(), file), convert(value, file)});
  }
  std::ranges::sort(out, {}, [](const Entry& entry) {
    return std::tuple(entry.where.line, entry.where.column, std::string_view(entry.key));
  });
  return out;
}

Node convert(const toml::node& node, const std::string& file) {
  Node out{place(node.source(), file), Moment{}};
  if (const auto* table = node.as_table()) {
    out.value = convert_table(*table, file);
  } else if (const auto* array = node.as_array()) {
    Array items;
    items.reserve(array->size());
    for (const auto& item : *array) items.push_back(convert(item, file));
    out.value = std::move(items);
  } else if (const auto* text = node.as_string()) {
    out.value = text->get();
  } else if (const auto* integer = node.as_integer()) {
    out.value = integer->get();
  } else if (const auto* number = node.as_floating_point()) {
    out.value = number->get();
  } else if (const auto* flag = node.as_boolean()) {
    out.value = flag->get();
  }
  return out;
}

struct SyntaxError {
  int line = 0;
  int column = 0;
  std::string description;
};

std::expected<toml::table, SyntaxError> parse(std::string_view text) {
  try {
    return toml::parse(text, std::string());
  } catch (const toml::parse_error& error) {
    const auto begin = error.source().begin;
    return std::unexpected(SyntaxError{static_cast<int>(begin.line), static_cast<int>(begin.column),
                                       std::string(error.description())});
  }
}

/// The bounds of line `number` (from 1) in `text`, without its newline.
std::pair<std::size_t, std::size_t> line_bounds(std::string_view text, int number) {
  std::size_t begin = 0;
  for (int line = 1; line < number && begin < text.size(); ++line) {
    const auto end = text.find('\n', begin);
    begin = end == std::string_view::npos ? text.size() : end + 1;
  }
  return {begin, std::min(text.find('\n', begin), text.size())};
}

bool may_hold_secret(std::string_view line) {
  std::string lower(line);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  });
  return std::ranges::any_of(std::array{"token", "secret", "password"},
                             [&](std::string_view word) { return lower.contains(word); });
}

/// The library's description without its preamble, with a hint for the two mistakes that everybody
/// makes, and without any of the text itself where that may be a secret.
std::string syntax_message(const std::string& description, std::string_view line) {
  if (may_hold_secret(line)) return "not valid TOML (the line is not shown: it may hold a secret)";
  std::string_view text = description;
  constexpr std::string_view kPreamble = "Error while ";
  if (text.starts_with(kPreamble)) text.remove_prefix(kPreamble.size());
  std::string_view hint;
  if (text.contains("control characters")) hint = "; is the closing quote missing?";
  if (text.contains("expected digit") || text.contains("expected decimal digit") ||
      text.contains("determine value type")) {
    hint = "; strings, durations and sizes need quotes";
  }
  return fmt::format("not valid TOML: {}{}", printable(text), hint);
}

/// Whether the error is in a value that began on an earlier line: taking out this line would not
/// end it.
bool is_inside_longer_value(const SyntaxError& error, std::string_view line) {
  const auto before = line.substr(0, static_cast<std::size_t>(std::max(error.column - 1, 0)));
  const bool in_value =
      error.description.contains("array") || error.description.contains("parsing value");
  return base::trim(line).empty() || (in_value && !before.contains('='));
}

/// What stands before a value that never ends: lines are taken off until the rest can be read.
std::expected<toml::table, SyntaxError> parse_head(std::string_view text) {
  constexpr int kMostLines = 100;
  auto parsed = parse(text);
  for (int i = 0; i < kMostLines && !parsed && !text.empty(); ++i) {
    const auto end = text.find_last_of('\n', text.size() - 1);
    text = end == std::string_view::npos ? std::string_view() : text.substr(0, end);
    parsed = parse(text);
  }
  return parsed;
}

/// A flag has no lines.
void set_where(Node& node, const Where& where) {
  node.where = where;
  if (auto* array = std::get_if<Array>(&node.value)) {
    for (auto& item : *array) set_where(item, where);
  } else if (auto* table = std::get_if<Table>(&node.value)) {
    for (auto& entry : *table) {
      entry.where = where;
      set_where(entry.value, where);
    }
  }
}

}  // namespace

Document parse_document(std::string_view text, std::string_view name) {
  Document document{std::string(name), Node{{std::string(name), 0, 0}, Table{}}, false, {}};
  std::string rest(text);
  auto parsed = parse(rest);
  while (!parsed) {
    const auto error = parsed.error();
    const auto [begin, end] = line_bounds(rest, error.line);
    const auto line = std::string_view(rest).substr(begin, end - begin);
    document.problems.push_back(
        {{document.name, error.line, error.column}, syntax_message(error.description, line)});
    document.damaged = true;
    if (is_inside_longer_value(error, line) || document.problems.size() >= kMostSyntaxErrors) {
      parsed = parse_head(std::string_view(rest).substr(0, begin));
      break;
    }
    // Blanks keep the places of all that follows.
    std::fill_n(rest.begin() + static_cast<std::ptrdiff_t>(begin), end - begin, ' ');
    parsed = parse(rest);
  }
  if (parsed) document.root.value = convert_table(*parsed, document.name);
  return document;
}

Node parse_flag_value(std::string_view text, const Where& where) {
  Node plain{where, std::string(text)};
  if (text.contains('\n')) return plain;
  const auto parsed = parse(fmt::format("value = {}", text));
  if (!parsed || parsed->size() != 1) return plain;
  Node node = convert(parsed->begin()->second, where.file);
  set_where(node, where);
  return node;
}

}  // namespace nexus::config
