// Inhibitor: which alerts are not told because another one fires.
//
// For each rule the firing alerts of its source side are kept by the values of its `equal` labels,
// so that a question costs one look-up and not a walk over all of them. Thread safety: one thread.
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "nexus/publish/routing.hpp"

namespace nexus::publish {

class Inhibitor {
 public:
  explicit Inhibitor(const Routing& routing);

  void put(const Alert& alert);
  /// One that is alike on both sides of a rule is not inhibited by others that are too.
  [[nodiscard]] bool mutes(const StringMap& labels) const;

 private:
  struct Rule {
    const Inhibition* rule;
    // By the values of `equal`; then by fingerprint, with whether the alert is a target as well.
    std::unordered_map<std::string, std::map<std::uint64_t, bool>> sources;
  };
  std::vector<Rule> rules_;
};

}  // namespace nexus::publish
