#include "nexus/config/load.hpp"

#include <fmt/core.h>

#include <filesystem>

#include "config/environment.hpp"
#include "config/files.hpp"
#include "config/loader.hpp"
#include "config/sections/sections.hpp"
#include "nexus/base/text.hpp"

namespace nexus::config {
namespace {

constexpr void (*kReaders[])(Section&, Reading&) = {
    read_agent,    read_http,     read_auth,       read_collect,     read_history,
    read_vitals,   read_forecast, read_anomaly,    read_alerts,      read_operations,
    read_commands, read_remedies, read_guardrails, read_services,    read_rule_files,
    read_postgres, read_redis,    read_docker,     read_kubernetes,  read_scrapes,
    read_push,     read_probes,   read_statsd,     read_logs,        read_allow,
    read_cleanups, read_sysctls,  read_requests,   read_maintenance, read_routing,
    read_notify,   read_fleet,
};
constexpr void (*kChecks[])(Reading&) = {check_http,     check_guardrails, check_services,
                                         check_cleanups, check_fleet,      place_rule_files};

}  // namespace

void Loader::read_tree(const Node& root, bool damaged) {
  Reading reading{options_, report_, loaded_.config};
  Section section(report_, *root.as<Table>(), root.where, "", damaged);
  for (const auto read : kReaders) read(section, reading);
  section.finish();
}

void Loader::read_text(std::string_view text, std::string_view name) {
  report_.begin_source(name);
  auto document = parse_document(text, name);
  for (auto& problem : document.problems) {
    report_.add(std::move(problem.where), std::move(problem.message));
  }
  read_tree(document.root, document.damaged);
}

void Loader::read_path(const std::string& path, Absence absence) {
  const auto file = read_file(path, kLargestFile);
  if (file) {
    loaded_.files.push_back(path);
    loaded_.digests[path] = base::fnv1a(file->text);
    read_text(file->text, path);
  } else if (absence == Absence::kIsProblem || file.error().code() != Errc::kNotFound) {
    report_.begin_source(path);
    report_.add({path, 0, 0}, fmt::format("expected a readable file: {}", file.error().message()));
  }
}

void Loader::read_files() {
  read_path(options_.file, options_.file_must_exist ? Absence::kIsProblem : Absence::kIsFine);
  const auto directory = (std::filesystem::path(options_.file).parent_path() / "conf.d").string();
  const auto files = list_toml_files(directory);
  if (!files) {
    report_.begin_source(directory);
    report_.add({directory, 0, 0},
                fmt::format("expected a readable directory: {}", files.error().message()));
    return;
  }
  for (const auto& path : *files) read_path(path, Absence::kIsProblem);
}

void Loader::read_environment_and_overrides() {
  for (const auto& settings : {environment_settings(options_), override_settings(options_)}) {
    for (const auto& setting : settings) {
      report_.begin_source(setting.source);
      read_tree(as_document(setting), false);
    }
  }
}

Loaded Loader::finish() {
  Reading reading{options_, report_, loaded_.config};
  for (const auto check : kChecks) check(reading);
  widen_windows(loaded_.config.vitals, loaded_.config.collect.interval);
  loaded_.problems = report_.take();
  return std::move(loaded_);
}

Loaded load(const LoadOptions& options) {
  Loader loader(options);
  loader.read_files();
  loader.read_environment_and_overrides();
  return loader.finish();
}

Loaded load_text(std::string_view text, std::string_view name, const LoadOptions& options) {
  Loader loader(options);
  loader.read_text(text, name);
  loader.read_environment_and_overrides();
  return loader.finish();
}

}  // namespace nexus::config
