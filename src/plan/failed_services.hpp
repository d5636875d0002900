// FailedServices: which services have failed, by the subjects of firing findings and by the one
// name of each. Thread safety: one thread at a time (the planner's mutex).
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace nexus::plan {

class FailedServices {
 public:
  /// True when that is news.
  bool add(const std::string& subject, const std::string& unit) {
    const auto known = by_subject_.find(subject);
    if (known != by_subject_.end() && known->second == unit) return false;
    remove(subject);
    by_subject_.emplace(subject, unit);
    ++units_[unit];
    return true;
  }
  bool remove(std::string_view subject) {
    const auto known = by_subject_.find(subject);
    if (known == by_subject_.end()) return false;
    if (const auto unit = units_.find(known->second); --unit->second == 0) units_.erase(unit);
    by_subject_.erase(known);
    return true;
  }
  /// By either name.
  [[nodiscard]] bool contains(std::string_view name) const {
    return units_.contains(name) || by_subject_.contains(name);
  }
  [[nodiscard]] bool empty() const noexcept { return by_subject_.empty(); }
  bool operator==(const FailedServices&) const = default;

 private:
  std::map<std::string, std::string, std::less<>> by_subject_;
  std::map<std::string, std::size_t, std::less<>> units_;  // how many subjects stand for each
};

}  // namespace nexus::plan
