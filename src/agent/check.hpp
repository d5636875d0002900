// The whole check of a configuration: files and types (config), expressions (analyze, plan),
// routes and receivers (publish), plugins (monitor, execute).
//
// Used by `check config`, at start and by every reload, so that all three say the same. Thread
// safety: pure.
#pragma once

#include <memory>
#include <vector>

#include "nexus/analyze/rules.hpp"
#include "nexus/config/load.hpp"
#include "nexus/plan/planner.hpp"
#include "nexus/publish/routing.hpp"

namespace nexus::agent {

struct Checked {
  std::shared_ptr<const config::Config> config;
  std::shared_ptr<const analyze::RuleSet> rules;
  std::shared_ptr<const plan::RemedySet> remedies;
  std::shared_ptr<const publish::Routing> routing;
  std::vector<config::Problem>
      problems;  // by file and line; anything here and nothing else may be used
  std::vector<std::string> files;
  config::Digests digests;  // of all files that were read, rule files among them
};

[[nodiscard]] Checked check(const config::LoadOptions& options);

/// One problem a line.
[[nodiscard]] std::string describe(const std::vector<config::Problem>& problems);

}  // namespace nexus::agent
