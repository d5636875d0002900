// [services] watch.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "config/sections/sections.hpp"
#include "config/shapes.hpp"
#include "nexus/config/service_name.hpp"

namespace nexus::config {
namespace {

constexpr std::string_view kWatchItem =
    "the name of a unit or container, or a table such as {name = \"db.service\", depends_on = "
    "[\"disk.mount\", \"docker:cache\"]}";
constexpr std::string_view kContainerKind = "docker";

/// "kubernetes:..." could be called a unit, and would be one that never comes.
bool can_be_watched(Section& section, std::string_view key, const std::string& name) {
  const auto kind = parse_service_name(name).kind;
  if (kind == kUnitKind || kind == kContainerKind) return true;
  section.complain(key, fmt::format("\"{}\": expected a unit of systemd or a container; workloads "
                                    "and processes are seen by their metrics, with an [[alert]]",
                                    name));
  return false;
}

/// "web" becomes "web.service", "podman:web" "docker:web".
std::string one_name(std::string_view name) {
  const auto parsed = parse_service_name(name);
  return parsed.is_unit() ? with_unit_suffix(parsed.name) : to_string(parsed);
}

void read_service_table(Section& section, ServiceConfig& service) {
  section.require("name", kServiceName.expected);
  section.text("name", service.name, kServiceName);
  service.kind.clear();
  section.choice("kind", service.kind, {kUnitKind, kContainerKind});
  const bool says_unit = service.kind == kUnitKind;
  section.texts("depends_on", service.depends_on, kServiceName);
  std::erase_if(service.depends_on,
                [&](const auto& name) { return !can_be_watched(section, "depends_on", name); });
  for (auto& name : service.depends_on) name = one_name(name);
  if (!can_be_watched(section, "name", service.name)) service.name.clear();
  const auto kind = parse_service_name(service.name).kind;
  if (service.kind == kContainerKind && kind == kUnitKind && !service.name.empty())
    service.name = fmt::format("{}:{}", kContainerKind, service.name);
  if (says_unit && kind == kContainerKind)
    section.complain("kind", fmt::format("\"{}\" is no unit of systemd: expected \"{}\", or none",
                                         service.name, kContainerKind));
  section.finish();
}

bool read_service(Section& services, const Node& item, ServiceConfig& service) {
  service.where = item.where;
  if (const auto* table = item.as<Table>()) {
    Section section = services.inner("watch", *table, item.where);
    read_service_table(section, service);
  } else if (const auto* name = item.as<std::string>();
             name != nullptr && kServiceName.accepts(*name)) {
    if (can_be_watched(services, "watch", *name)) service.name = *name;
  } else {
    services.expect("watch", item, kWatchItem);
  }
  if (service.name.empty()) return false;
  service.name = one_name(service.name);
  service.kind = parse_service_name(service.name).kind;
  return true;
}

/// Walks the dependencies of a watched service and says which path leads back to where it is
/// already standing.
class CycleSearch {
 public:
  explicit CycleSearch(Reading& reading) : reading_(reading) {}

  void visit(const ServiceConfig& service) {
    const auto on_path = std::ranges::find(path_, service.name);
    if (on_path != path_.end()) {
      std::vector<std::string> circle(on_path, path_.end());
      circle.push_back(service.name);
      reading_.report.add(service.where,
                          fmt::format("services.watch: depends_on goes in a circle: {}",
                                      fmt::join(circle, " -> ")));
      return;
    }
    if (std::ranges::find(done_, service.name) != done_.end()) return;
    path_.push_back(service.name);
    for (const auto& name : service.depends_on) {
      const auto& all = reading_.config.services;
      const auto next = std::ranges::find(all, name, &ServiceConfig::name);
      if (next != all.end()) visit(*next);
    }
    path_.pop_back();
    done_.push_back(service.name);
  }

 private:
  Reading& reading_;
  std::vector<std::string> path_;
  std::vector<std::string> done_;
};

}  // namespace

void read_services(Section& root, Reading& reading) {
  root.table("services", [&](Section& services) {
    const Node* watch = services.take("watch");
    if (watch == nullptr) return;
    const auto* items = watch->as<Array>();
    if (items == nullptr) {
      services.expect("watch", *watch, "an array of names of units and containers, or tables");
      return;
    }
    for (const auto& item : *items) {
      ServiceConfig service;
      if (!read_service(services, item, service)) continue;
      reading.report.claim("services.watch", service.name, service.where);
      reading.config.services.push_back(std::move(service));
    }
  });
}

void check_services(Reading& reading) {
  CycleSearch search(reading);
  const bool has_engine = reading.config.connections.docker.enabled;
  for (const auto& service : reading.config.services) {
    search.visit(service);
    if (has_engine) continue;
    if (service.kind == kContainerKind)
      reading.report.add(
          service.where,
          fmt::format("services.watch: \"{}\": [docker] is switched off", service.name));
    for (const auto& needed : service.depends_on) {
      if (parse_service_name(needed).kind == kContainerKind)
        reading.report.add(service.where,
                           fmt::format("services.watch: \"{}\": depends_on \"{}\": [docker] is "
                                       "switched off",
                                       service.name, needed));
    }
  }
}

}  // namespace nexus::config
