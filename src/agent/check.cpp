#include "agent/check.hpp"

#include <algorithm>
#include <tuple>

#include "nexus/config/config.hpp"
#include "nexus/execute/step.hpp"
#include "nexus/monitor/collector.hpp"
#include "nexus/monitor/sources.hpp"
#include "nexus/publish/receiver.hpp"

namespace nexus::agent {

Checked check(const config::LoadOptions& options) {
  auto loaded = config::load(options);
  Checked out;
  out.files = std::move(loaded.files);
  out.problems = std::move(loaded.problems);
  auto config = std::make_shared<config::Config>(std::move(loaded.config));
  const auto take = [&](std::vector<config::Problem> more) {
    std::ranges::move(more, std::back_inserter(out.problems));
  };
  out.rules = analyze::RuleSet::compile(*config, out.problems);
  out.digests = std::move(loaded.digests);
  out.digests.insert(out.rules->digests.begin(), out.rules->digests.end());
  out.remedies = plan::RemedySet::compile(*config, out.problems);
  take(monitor::check_collectors(config->collect));
  take(monitor::check_sources(config->sources));
  take(execute::check_remedies(*config));
  out.routing = publish::Routing::compile(*config, out.problems);
  take(publish::check_receivers(*config));
  out.config = std::move(config);
  std::ranges::stable_sort(out.problems, {}, [](const config::Problem& problem) {
    return std::tie(problem.where.file, problem.where.line, problem.where.column);
  });
  return out;
}

std::string describe(const std::vector<config::Problem>& problems) {
  std::string out;
  for (const auto& problem : problems) {
    if (!out.empty()) out += '\n';
    out += config::to_string(problem);
  }
  return out;
}

}  // namespace nexus::agent
