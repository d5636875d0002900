#include "publish/inhibitor.hpp"

#include <algorithm>

namespace nexus::publish {
namespace {

/// 0xff is in no UTF-8: no two different lists of values give the same text.
std::string key_of(const std::vector<std::string>& names, const StringMap& labels) {
  std::string out;
  for (const auto& name : names) {
    out += value_of(labels, name);
    out += '\xff';
  }
  return out;
}

}  // namespace

Inhibitor::Inhibitor(const Routing& routing) {
  for (const auto& rule : routing.inhibitions()) rules_.push_back({&rule, {}});
}

void Inhibitor::put(const Alert& alert) {
  for (auto& [rule, sources] : rules_) {
    if (!all_match(rule->source, alert.labels)) continue;
    const auto key = key_of(rule->equal, alert.labels);
    if (!alert.resolved()) {
      sources[key][alert.fingerprint] = all_match(rule->target, alert.labels);
      continue;
    }
    const auto found = sources.find(key);
    if (found == sources.end()) continue;
    found->second.erase(alert.fingerprint);
    if (found->second.empty()) sources.erase(found);
  }
}

bool Inhibitor::mutes(const StringMap& labels) const {
  return std::ranges::any_of(rules_, [&](const Rule& one) {
    if (one.sources.empty() || !all_match(one.rule->target, labels)) return false;
    const auto found = one.sources.find(key_of(one.rule->equal, labels));
    if (found == one.sources.end()) return false;
    if (!all_match(one.rule->source, labels)) return true;
    return std::ranges::any_of(found->second, [](const auto& entry) { return !entry.second; });
  });
}

}  // namespace nexus::publish
