#include "analyze/rules/test_text.hpp"

#include <fmt/format.h>

#include <utility>

#include "nexus/base/go_text.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze {
namespace {

/// As Go prints labels: {a="b", c="d"}.
template <typename Pairs>
std::string shown(const Pairs& pairs) {
  std::string out = "{";
  for (const auto& [name, value] : pairs)
    out += fmt::format("{}{}={}", out.size() > 1 ? ", " : "", name, base::go_quoted(value));
  return out + "}";
}

}  // namespace

std::string go_duration(Millis duration) {
  const auto millis = duration.count();
  if (millis == 0) return "0s";
  if (millis < 1000) return fmt::format("{}ms", millis);
  std::string out;
  const auto hours = millis / 3'600'000;
  const auto minutes = millis / 60'000 % 60;
  if (hours > 0) out += fmt::format("{}h", hours);
  if (hours > 0 || minutes > 0) out += fmt::format("{}m", minutes);
  base::append_go_fixed(out, static_cast<double>(millis % 60'000) / 1000);
  return out + "s";
}

std::string indented(std::string_view text, std::string_view indent) {
  std::string out;
  bool first = true;
  for (const auto line : base::split(text, '\n')) {
    if (!std::exchange(first, false)) out += fmt::format("\n{}", indent);
    out += line;
  }
  return out;
}

std::string shown(const std::vector<ShownAlert>& alerts) {
  if (alerts.empty()) return "[]";
  std::string out = "[";
  for (std::size_t i = 0; i < alerts.size(); ++i) {
    const auto text = fmt::format("\nLabels:{}\nAnnotations:{}", shown(alerts[i].labels),
                                  shown(alerts[i].annotations));
    out += fmt::format("{}\n{}:{}", i > 0 ? "," : "", i, indented(text, "  "));
  }
  return out + "\n]";
}

std::string shown(const std::vector<ShownSample>& samples) {
  std::string out;
  for (const auto& sample : samples) {
    std::vector<std::pair<std::string, std::string>> pairs;
    for (const auto& label : sample.labels) pairs.emplace_back(label.name, label.value);
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", shown(pairs),
                       base::go_scientific(sample.value));
  }
  return out.empty() ? "nil" : out;
}

}  // namespace nexus::analyze
