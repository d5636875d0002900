#include "analyze/anomaly/host_watch.hpp"

#include <algorithm>
#include <limits>

namespace nexus::analyze {
namespace {

constexpr std::uint64_t kSettle = 3;      // minutes until the columns are taken as known
constexpr std::uint64_t kYoung = 60;      // rows that may be given up for a new column
constexpr std::uint64_t kRebuild = 1440;  // minutes between later changes
constexpr std::size_t kParts = 5;
constexpr double kHostShare = 0.25;  // of the budget; as much for all subsystems together

}  // namespace

void HostWatch::set_budget(double alarms_a_day) {
  alarms_a_day_ = alarms_a_day;
  for (auto& [name, scope] : scopes_) {
    const double groups = std::max(1.0, static_cast<double>(scopes_.size()) - 1);
    scope.detector->set_budget(alarms_a_day * kHostShare / (name == "host" ? 1 : groups));
  }
}

void HostWatch::put(const std::string& metric, const knowledge::Labels& labels, std::uint32_t order,
                    double value) {
  const std::string key = metric + to_string(labels);
  auto place = columns_.find(key);
  if (place == columns_.end()) {
    if (columns_.size() >= kMost) return;
    place = columns_.try_emplace(key).first;
    place->second.metric = metric;
    place->second.labels = labels;
  }
  place->second.order = order;
  place->second.value = value;
  place->second.fresh = true;
}

std::string HostWatch::key_of(const std::string& scope, const Scope& of) {
  std::string out = "host " + scope;
  for (const auto& column : of.columns) out += '\n' + column;
  return out;
}

void HostWatch::build(const Load& load) {
  std::map<std::string, std::vector<std::string>> members;
  for (const auto& [key, column] : columns_) {
    members["host"].push_back(key);
    members[column.metric.substr(0, column.metric.find('_'))].push_back(key);
  }
  std::erase_if(members, [](const auto& item) { return item.second.size() < 2; });
  std::erase_if(scopes_, [&](const auto& item) { return !members.contains(item.first); });
  for (auto& [name, keys] : members) {
    Scope& scope = scopes_[name];
    if (scope.detector && scope.columns == keys) continue;
    scope.columns = std::move(keys);
    scope.detector = std::make_unique<HostDetector>(scope.columns.size());
    if (const auto saved = load(key_of(name, scope)); !saved.empty())
      refused_ += scope.detector->load(saved) ? 0 : 1;
  }
  built_columns_ = columns_.size();
  built_at_ = minutes_;
  set_budget(alarms_a_day_);
}

std::vector<HostWatch::Alarm> HostWatch::close(std::int64_t time, const Load& load) {
  std::vector<Alarm> out;
  ++minutes_;
  if (minutes_ < kSettle) return out;
  if (columns_.size() != built_columns_ &&
      (minutes_ - built_at_ >= kRebuild || minutes_ < kYoung || built_columns_ == 0))
    build(load);
  for (auto& [name, scope] : scopes_) {
    scope.row.clear();
    for (const auto& key : scope.columns) {
      const Column& column = columns_.at(key);
      scope.row.push_back(column.fresh ? column.value : std::numeric_limits<double>::quiet_NaN());
    }
    const auto score = scope.detector->push(time, scope.row);
    if (!score) continue;
    if (!score->flag) continue;
    Alarm alarm{name, *score, scope.columns.size(), {}};
    for (const Contribution& c : scope.detector->contributions(kParts)) {
      const Column& column = columns_.at(scope.columns[c.column]);
      alarm.parts.push_back({column.metric, column.labels, c.share, c.usual, c.present});
    }
    out.push_back(std::move(alarm));
  }
  for (auto& [key, column] : columns_) column.fresh = false;
  return out;
}

double HostWatch::judge(const std::string& scope, bool real, double before) {
  const auto place = scopes_.find(scope);
  return place == scopes_.end() ? before : place->second.detector->judge(real, before);
}

std::vector<std::pair<std::string, std::string>> HostWatch::save() {
  std::vector<std::pair<std::string, std::string>> out;
  for (auto& [name, scope] : scopes_) out.emplace_back(key_of(name, scope), scope.detector->save());
  return out;
}

std::vector<HostWatch::Status> HostWatch::status() const {
  std::vector<Status> out;
  for (const auto& [name, scope] : scopes_) {
    const auto rows = scope.detector->rows();
    out.push_back({name, rows, std::min(1.0, static_cast<double>(rows) / HostDetector::kTrusted),
                   rows > HostDetector::kTrusted});
  }
  return out;
}

bool HostWatch::warming_up() const {
  return scopes_.empty() || std::ranges::any_of(scopes_, [](const auto& item) {
           return item.second.detector->rows() <= HostDetector::kTrusted + 1;
         });
}

std::size_t HostWatch::bytes() const {
  std::size_t out = 0;
  for (const auto& [name, scope] : scopes_) out += scope.detector->bytes();
  return out;
}

}  // namespace nexus::analyze
