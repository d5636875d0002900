#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "agent/commands.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/config/config.hpp"
#include "nexus/config/load.hpp"
#include "nexus/drivers/systemd.hpp"
#include "nexus/knowledge/exposition.hpp"
#include "nexus/monitor/scheduler.hpp"

namespace nexus::agent {
namespace {

struct CollectFlags {
  bool once = false;
  std::vector<std::string> collectors;
  std::string config;
  host::Roots roots;
};

/// Keeps what the collectors add, for one exposition.
class Gather final : public monitor::Sink {
 public:
  explicit Gather(knowledge::SeriesRegistry& registry) : registry_(registry) {}
  using Sink::add;
  void add(knowledge::FamilyId family, std::span<const knowledge::LabelView> labels,
           double value) override {
    if (const auto id = registry_.intern(family, labels)) samples.push_back({*id, value});
  }
  void add_named(knowledge::FamilyId family, std::string_view metric,
                 std::span<const knowledge::LabelView> labels, double value) override {
    if (const auto id = registry_.intern(family, labels, metric)) samples.push_back({*id, value});
  }
  std::vector<knowledge::ExposedSample> samples;

 private:
  knowledge::SeriesRegistry& registry_;
};

bool is_live(const host::Roots& roots) {
  return roots.procfs == "/proc" && roots.sysfs == "/sys" && roots.rootfs == "/";
}

int collect(const CollectFlags& flags) {
  base::SystemClock clock;
  const auto loaded = config::load({.file = flags.config.empty() ? "/dev/null" : flags.config,
                                    .environment = config::process_environment});
  for (const auto& problem : loaded.problems)
    fmt::print(stderr, "{}\n", config::to_string(problem));
  if (!loaded.problems.empty()) return 1;
  const config::CollectSection& section = loaded.config.collect;
  knowledge::SeriesRegistry registry(section.max_series);
  knowledge::Rings rings(1U << 16);
  knowledge::SelfMetrics self;
  drivers::Systemd systemd(clock);
  const monitor::SchedulerContext context{
      .roots = flags.roots,
      .clock = clock,
      .registry = registry,
      .rings = rings,
      .self = self,
      .systemd = is_live(flags.roots) ? &systemd : nullptr,
      .connections = is_live(flags.roots) ? &loaded.config.connections : nullptr};
  Gather gather(registry);
  std::vector<std::string> names = flags.collectors;
  if (names.size() == 1 && names[0] == "all") {
    names.clear();
    for (const auto* descriptor : monitor::collectors()) names.emplace_back(descriptor->name);
  }
  const auto result = monitor::collect_once(context, section, names, gather);
  if (!result) {
    fmt::print(stderr, "{}\n", result.error().message());
    return 2;
  }
  knowledge::Exposition exposition(registry);
  const auto& text = exposition.render(gather.samples);
  std::fwrite(text.data(), 1, text.size(), stdout);
  int code = 0;
  for (const auto& status : result->collectors) {
    if (status.outcome != "failed") continue;
    fmt::print(stderr, "collector {}: {}\n", status.name, status.error);
    code = 1;
  }
  return code;
}

}  // namespace

void add_collect(CLI::App& app, CommandContext& context) {
  auto* command = app.add_subcommand(
      "collect", "Run collectors and print one exposition (Prometheus text format)");
  auto flags = std::make_shared<CollectFlags>();
  command->add_flag("--once", flags->once, "Collect once and exit")->required();
  command->add_option("--collector", flags->collectors, "Only these collectors, or \"all\" of them")
      ->take_all()
      ->type_name("NAME");
  command
      ->add_option("--config", flags->config,
                   "Configuration file with the options of collectors and [postgres], [redis], ...")
      ->type_name("FILE");
  command->add_option("--procfs", flags->roots.procfs, "Root of procfs")->capture_default_str();
  command->add_option("--sysfs", flags->roots.sysfs, "Root of sysfs")->capture_default_str();
  command->add_option("--rootfs", flags->roots.rootfs, "Root of the file system")
      ->capture_default_str();
  command->callback([flags, &context] { context.code = collect(*flags); });
}

}  // namespace nexus::agent
