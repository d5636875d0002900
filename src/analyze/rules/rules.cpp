#include "nexus/analyze/rules.hpp"

#include <mutex>
#include <set>

#include "analyze/rules/alert_series.hpp"
#include "analyze/rules/alerts.hpp"
#include "analyze/rules/groups.hpp"
#include "analyze/rules/reports.hpp"
#include "analyze/rules/vitals.hpp"

namespace nexus::analyze {
namespace {

/// Sources of rules that are not in `rules` any more.
bool is_gone(const RuleSet& rules, std::string_view source) {
  constexpr std::string_view kVital = "vital:";
  constexpr std::string_view kAlert = "alert:";
  if (source.starts_with(kVital)) {
    const std::string_view name = source.substr(kVital.size());
    for (const auto& vital : rules.vitals) {
      const config::VitalConfig& definition = vital.definition;
      if (definition.name == name) return !definition.warning && !definition.critical;
    }
    return true;
  }
  if (source.starts_with(kAlert)) {
    const std::string_view name = source.substr(kAlert.size());
    for (const auto& alert : rules.alerts) {
      if (alert.definition.name == name) return false;
    }
    return true;
  }
  return source.starts_with(kRuleSource) && Groups::is_gone(rules, source);
}

}  // namespace

struct Rules::Impl {
  Impl(Clock& c, const knowledge::Queryable& data, knowledge::SeriesRegistry& registry,
       std::shared_ptr<knowledge::SampleRing> ring, Book& b, knowledge::SelfMetrics& self)
      : clock(c),
        book(b),
        vitals(c, data, registry, ring, b, self),
        alerts(c, data, b, self),
        alert_series(registry, ring, self),
        groups(c, data, registry, ring, b, self) {}

  /// Takes up what set() has left.
  void adopt() {
    std::shared_ptr<const RuleSet> rules;
    {
      const std::lock_guard guard(mutex);
      rules.swap(next);
    }
    if (!rules) return;
    vitals.adopt(rules);
    alerts.adopt(rules);
    groups.adopt(*rules);
    {
      const std::lock_guard guard(mutex);
      current = rules;
    }
    book.retire([&](std::string_view source) { return is_gone(*rules, source); });
  }

  /// What the rules of agent.toml have found, as the API shows it.
  [[nodiscard]] GroupReport alert_report(const RuleSet& rules) {
    return report_alerts(rules, alerts.status(), *book.snapshot());
  }

  Clock& clock;
  Book& book;
  Vitals vitals;
  Alerts alerts;
  AlertSeries alert_series;
  Groups groups;
  std::mutex mutex;
  std::shared_ptr<const RuleSet> next;     // guarded by mutex
  std::shared_ptr<const RuleSet> current;  // guarded by mutex
};

Rules::Rules(Clock& clock, const knowledge::Queryable& data, knowledge::SeriesRegistry& registry,
             std::shared_ptr<knowledge::SampleRing> ring, Book& book, knowledge::SelfMetrics& self)
    : impl_(std::make_unique<Impl>(clock, data, registry, std::move(ring), book, self)) {}

Rules::~Rules() = default;

void Rules::set(std::shared_ptr<const RuleSet> rules) {
  const std::lock_guard guard(impl_->mutex);
  impl_->next = std::move(rules);
}

void Rules::tick_vitals() {
  impl_->adopt();
  impl_->vitals.tick();
}

void Rules::tick_alerts() {
  impl_->adopt();
  impl_->alerts.tick();
  std::shared_ptr<const RuleSet> rules;
  {
    const std::lock_guard guard(impl_->mutex);
    rules = impl_->current;
  }
  if (rules && impl_->alert_series.is_due(*impl_->book.snapshot(), impl_->clock.steady()))
    impl_->alert_series.write(impl_->alert_report(*rules), impl_->clock.wall());
  impl_->groups.tick();
}

std::shared_ptr<const VitalsSnapshot> Rules::vitals() const {
  return impl_->vitals.snapshot();
}

std::vector<RuleStatus> Rules::status() const {
  std::vector<RuleStatus> all = impl_->vitals.status();
  for (RuleStatus& status : impl_->alerts.status()) all.push_back(std::move(status));
  return all;
}

GroupReports Rules::groups() const {
  GroupReports all = impl_->groups.reports();
  std::shared_ptr<const RuleSet> rules;
  {
    const std::lock_guard guard(impl_->mutex);
    rules = impl_->current;
  }
  if (rules) {
    all.push_back(report_vitals(*rules, impl_->vitals.status()));
    all.push_back(impl_->alert_report(*rules));
  }
  return all;
}

}  // namespace nexus::analyze
