#include "analyze/rules/template.hpp"

#include <optional>

#include "nexus/base/text.hpp"

namespace nexus::analyze {
namespace {

std::optional<std::string> evaluate(std::string_view expression, double value,
                                    const knowledge::Labels& labels) {
  constexpr std::string_view kLabels = "$labels.";
  if (expression == "$value") return base::format_double(value);
  if (!expression.starts_with(kLabels)) return std::nullopt;
  const std::string_view name = expression.substr(kLabels.size());
  for (const char c : name) {
    const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!word && c != '_') return std::nullopt;
  }
  return std::string(labels.get(name));
}

}  // namespace

std::string expand_template(std::string_view text, double value, const knowledge::Labels& labels) {
  std::string out;
  while (true) {
    const std::size_t open = text.find("{{");
    const std::size_t close = open == std::string_view::npos ? open : text.find("}}", open + 2);
    if (close == std::string_view::npos) break;
    const std::string_view whole = text.substr(open, close + 2 - open);
    const std::string_view inner = base::trim(whole.substr(2, whole.size() - 4));
    out += text.substr(0, open);
    const auto result = evaluate(inner, value, labels);
    out += result ? std::string_view(*result) : whole;
    text.remove_prefix(close + 2);
  }
  out += text;
  return out;
}

}  // namespace nexus::analyze
