#include "execute/names.hpp"

#include <algorithm>

#include "execute/unit_instances.hpp"
#include "nexus/base/away.hpp"
#include "nexus/base/log.hpp"
#include "nexus/config/config.hpp"
#include "nexus/config/service_name.hpp"
#include "nexus/drivers/systemd.hpp"
#include "nexus/plan/planner.hpp"

namespace nexus::execute {
namespace {

/// Whether systemd can be asked which unit it is: a container is none, nor is a template.
bool can_be_unit(std::string_view name) {
  return config::parse_service_name(name).is_unit() && template_of(name).empty();
}

}  // namespace

std::string UnitNames::resolve(std::string_view name) {
  if (!can_be_unit(name)) return std::string(name);
  auto unit = drivers::normalize_unit_name(name);
  if (!unit) return std::string(name);
  const auto now = clock_.steady();
  const std::lock_guard guard(mutex_);
  const auto known = known_.find(*unit);
  if (known == known_.end() || now >= known->second.until) want(*unit);
  return known == known_.end() ? *std::move(unit) : known->second.unit;
}

bool UnitNames::is_known(std::string_view name) const {
  if (!can_be_unit(name)) return true;
  const auto unit = drivers::normalize_unit_name(name);
  if (!unit) return true;
  const std::lock_guard guard(mutex_);
  return known_.contains(*unit);
}

bool UnitNames::stands_for(std::string_view name, std::string_view unit) const {
  const std::lock_guard guard(mutex_);
  const auto known = known_.find(name);
  return known != known_.end() && known->second.unit == unit;
}

void UnitNames::learn(const std::string& unit, const std::vector<std::string>& names) {
  const std::lock_guard guard(mutex_);
  keep(unit, unit);
  for (const auto& name : names) keep(name, unit);
}

void UnitNames::learn_run(const std::string& unit, const std::string& invocation_id) {
  const std::lock_guard guard(mutex_);
  if (runs_.size() >= kMaxNames && !runs_.contains(unit)) runs_.erase(runs_.begin());
  runs_.insert_or_assign(unit, invocation_id);
}

std::string UnitNames::run_of(std::string_view unit) const {
  const std::lock_guard guard(mutex_);
  const auto known = runs_.find(unit);
  return known == runs_.end() ? std::string() : known->second;
}

void UnitNames::expect(const config::Config& config) {
  for (const auto& service : config.services) {
    if (service.kind == "systemd") std::ignore = resolve(service.name);
  }
  for (const auto& remedy : config.remedies) {
    const bool fixed = !remedy.target.empty() && !remedy.target.contains("${");
    if (fixed && plan::is_unit_action(remedy.action)) std::ignore = resolve(remedy.target);
  }
}

void UnitNames::refresh(const Ask& ask) {
  auto names = take_wanted();
  while (!names.empty()) {
    const std::string name = *names.begin();
    const auto unit = ask(name);
    const std::lock_guard guard(mutex_);
    if (!unit && is_away(unit.error())) {
      log::info("executor", "the names of units are not known: {}", unit.error().message());
      // Counted from now: the question itself may have taken its time.
      quiet_until_ = clock_.steady() + kAskAgain;
      for (const auto& left : names) want(left);
      return;
    }
    // Only that there is no such unit tells that the name is no other's; anything else tells
    // nothing.
    if (unit || unit.error().code() == Errc::kNotFound) keep(name, unit.value_or(name));
    names.erase(names.begin());
  }
}

std::set<std::string> UnitNames::take_wanted() {
  const std::lock_guard guard(mutex_);
  if (clock_.steady() < quiet_until_) return {};
  return std::exchange(wanted_, {});
}

void UnitNames::want(const std::string& name) {
  if (wanted_.size() < kMaxNames) wanted_.insert(name);
}

void UnitNames::keep(const std::string& name, const std::string& unit) {
  if (known_.size() >= kMaxNames && !known_.contains(name)) {
    // The one that was learned the longest ago: the others stay good.
    known_.erase(
        std::ranges::min_element(known_, {}, [](const auto& known) { return known.second.until; }));
  }
  known_.insert_or_assign(name, Known{unit, clock_.steady() + kAskAgain});
}

}  // namespace nexus::execute
