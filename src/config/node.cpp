#include "config/node.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "nexus/base/text.hpp"

namespace nexus::config {

const Entry* find(const Table& table, std::string_view key) noexcept {
  const auto at = std::ranges::find(table, key, &Entry::key);
  return at == table.end() ? nullptr : &*at;
}

Entry& find_or_add(Table& table, std::string_view key, const Where& where) {
  const auto at = std::ranges::find(table, key, &Entry::key);
  if (at != table.end()) return *at;
  return table.emplace_back(std::string(key), where, Node{where, Table{}});
}

std::string_view describe_type(const Node& node) noexcept {
  static constexpr std::string_view kTypes[] = {
      "a boolean", "an integer", "a number", "a string", "a date or time", "an array", "a table"};
  return kTypes[node.value.index()];
}

std::string printable(std::string_view text) {
  constexpr std::size_t kLongest = 60;
  std::string out = base::sanitize_utf8(text.substr(0, kLongest));
  std::ranges::replace_if(
      out, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  if (text.size() > kLongest) out += "...";
  return out;
}

std::string describe(const Node& node) {
  if (const bool* flag = node.as<bool>()) return fmt::format("the boolean {}", *flag);
  if (const auto* integer = node.as<std::int64_t>()) return fmt::format("the integer {}", *integer);
  if (const double* number = node.as<double>()) {
    return fmt::format("the number {}", base::format_double(*number));
  }
  if (const auto* text = node.as<std::string>()) {
    return fmt::format("the string \"{}\"", printable(*text));
  }
  return std::string(describe_type(node));
}

}  // namespace nexus::config
