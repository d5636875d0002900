#include "config/report.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <tuple>

#include "config/node.hpp"

namespace nexus::config {

void Report::claim(std::string_view kind, std::string_view name, const Where& where) {
  const auto [at, first] = names_.try_emplace({std::string(kind), std::string(name)}, where);
  if (first) return;
  add(where, fmt::format("{}: there are two of the name \"{}\"; the other is at {}", kind,
                         printable(name), to_string(at->second)));
}

Where Report::place_of(std::string_view dotted_key) const {
  const auto at = places_.find(dotted_key);
  return at == places_.end() ? Where{} : at->second;
}

std::vector<Problem> Report::take() {
  std::multimap<std::tuple<std::ptrdiff_t, int, int>, Problem> ordered;
  for (auto& problem : problems_) {
    const auto source = std::ranges::find(sources_, problem.where.file) - sources_.begin();
    const std::tuple place(source, problem.where.line, problem.where.column);
    ordered.emplace(place, std::move(problem));
  }
  problems_.clear();
  std::vector<Problem> out;
  out.reserve(ordered.size());
  for (auto& entry : ordered) out.push_back(std::move(entry.second));
  return out;
}

}  // namespace nexus::config
