// [collect], [collect.NAME] and [history].
#include "config/sections/sections.hpp"
#include "config/shapes.hpp"

namespace nexus::config {
namespace {

constexpr Period kCollectInterval{100ms, 1h};
constexpr Period kCollectDeadline{10ms, 1h};
constexpr std::uint64_t kLeastDisk = 16ULL << 20;
constexpr std::int64_t kMostSeries = 100'000'000;

void read_collector(std::string_view name, Section& section, CollectSection& out) {
  if (!kPlainName.accepts(name)) {
    section.report().add(section.where(),
                         "collect: expected the name of a collector in [collect.NAME]");
    return;
  }
  CollectorConfig& collector = out.collectors[std::string(name)];
  collector.where = section.where();
  section.optional(&Section::boolean, "enabled", collector.enabled);
  section.optional(&Section::duration, "interval", collector.interval, kCollectInterval);
  section.optional(&Section::duration, "deadline", collector.deadline, kCollectDeadline);
  section.remaining_parameters(collector.options, collector.option_places);
}

void read_tiers(Section& history, std::vector<TierConfig>& out) {
  if (!history.has("tiers")) return;
  std::vector<TierConfig> tiers;
  history.tables("tiers", [&](Section& tier) {
    TierConfig& one = tiers.emplace_back();
    tier.require("step", "a duration such as \"1m\"");
    tier.duration("step", one.step, {10s, 24h});
    tier.duration("retention", one.retention, {1h, kLongest});
    const bool multiple = tiers.size() == 1 || (one.step > tiers[tiers.size() - 2].step &&
                                                one.step % tiers[tiers.size() - 2].step == 0ms);
    if (one.step % 1s != 0ms) tier.complain("step", "expected whole seconds");
    if (!multiple) tier.complain("step", "expected a multiple of the step of the tier before");
  });
  out = std::move(tiers);
}

}  // namespace

void read_collect(Section& root, Reading& reading) {
  CollectSection& out = reading.config.collect;
  root.table("collect", [&](Section& collect) {
    collect.duration("interval", out.interval, kCollectInterval);
    collect.duration("deadline", out.deadline, kCollectDeadline);
    collect.integer("threads", out.threads, 1, 64);
    collect.integer("max_series", out.max_series, 1, kMostSeries);
    collect.integer("max_series_per_collector", out.max_series_per_collector, 1, kMostSeries);
    collect.text("procfs", out.procfs, kAbsolutePath);
    collect.text("sysfs", out.sysfs, kAbsolutePath);
    collect.text("rootfs", out.rootfs, kAbsolutePath);
    collect.remaining_tables(
        [&](std::string_view name, Section& section) { read_collector(name, section, out); });
  });
}

void read_history(Section& root, Reading& reading) {
  HistorySection& out = reading.config.history;
  root.table("history", [&](Section& history) {
    history.duration("retention", out.retention, {1min, kLongest});
    history.bytes("memory", out.memory, 1ULL << 20);
    const Node* disk = history.bytes("disk", out.disk, 0);
    if (disk != nullptr && out.disk > 0 && out.disk < kLeastDisk) {
      history.complain("disk", "expected 0 (nothing on disk) or at least \"16MiB\"");
    }
    history.duration("checkpoint", out.checkpoint, {1s, 10min});
    history.text("key_file", out.key_file, kAnyText);
    if (!out.key_file.empty() && !out.key_file.starts_with('/')) {
      history.complain("key_file", "expected an absolute path");
    }
    read_tiers(history, out.tiers);
  });
}

}  // namespace nexus::config
