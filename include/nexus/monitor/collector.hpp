// The contract of a collector: one file, one descriptor, one class, one method; one line in
// src/monitor/table.cpp.
//
// A collector reads the host below its roots and adds samples to a Sink. It is run by the
// scheduler, never twice at once, possibly on different threads from run to run. It keeps what it
// needs between runs (buffers, family ids) so that the steady state allocates next to nothing. It
// does not sleep, log or look at the clock except through its context.
//
// Outcomes: ok (something was added or nothing is wrong); no_data: return Errc::kNotFound, this
// host does not have it (no PSI, no swap, ...); failed: any other error, samples added so far still
// count; stuck: the scheduler's verdict.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/collect.hpp"
#include "nexus/host/roots.hpp"
#include "nexus/knowledge/self_metrics.hpp"
#include "nexus/knowledge/series.hpp"

namespace nexus::drivers {
class Systemd;
}

namespace nexus::config {
struct Connections;
}

namespace nexus::monitor {

class Observed;

using knowledge::FamilyId;
using knowledge::LabelView;
using knowledge::MetricType;

enum class OptionType { kBool, kInteger, kNumber, kDuration, kString, kStrings, kRegex };

struct OptionDescriptor {
  std::string_view name;
  OptionType type;
  std::string_view
      default_value;  // as it would be written in agent.toml; strings in 'single quotes'
  std::string_view help;
};

struct MetricDescriptor {
  std::string_view name;  // ends in * when the names are made at run time (node_memory_*)
  MetricType type;
  std::string_view help;
};

struct CollectorContext {
  const host::Roots& roots;
  Clock& clock;
  knowledge::SeriesRegistry& registry;
  const config::Parameters& options;       // validated against the descriptor
  knowledge::SelfMetrics* self = nullptr;  // only the agent collector reads it
  drivers::Systemd* systemd = nullptr;     // null where there is no bus, e.g. for a recorded tree
  Observed* observed = nullptr;  // snapshots for other rooms; null where nobody reads them
  const config::Connections* connections = nullptr;  // null: to nothing; gone after `make`
};

/// Takes the samples of one run.
class Sink {
 public:
  virtual ~Sink() = default;
  /// `labels` without __name__; at most the collector's series budget is taken, the rest is counted
  /// as dropped.
  virtual void add(FamilyId family, std::span<const LabelView> labels, double value) = 0;
  /// The same for a series whose name is not the family's: the _bucket, _sum and _count of a
  /// histogram or summary. A sink that does not tell them apart takes them as the family's.
  virtual void add_named(FamilyId family, std::string_view metric,
                         std::span<const LabelView> labels, double value) {
    static_cast<void>(metric);
    add(family, labels, value);
  }
  void add(FamilyId family, double value) { add(family, std::span<const LabelView>{}, value); }
  void add(FamilyId family, std::initializer_list<LabelView> labels, double value) {
    add(family, std::span<const LabelView>(labels.begin(), labels.size()), value);
  }
};

class Collector {
 public:
  virtual ~Collector() = default;
  [[nodiscard]] virtual Status collect(Sink& sink) = 0;
};

struct CollectorDescriptor {
  std::string_view name;
  std::string_view help;
  bool enabled_by_default = true;
  std::optional<Millis> default_interval =
      std::nullopt;     // unset: [collect] interval; for what is dear to read
  bool remote = false;  // waits for the answers of others: its runs never hold up a collector of
                        // the host
  std::span<const OptionDescriptor> options = {};
  std::span<const MetricDescriptor> metrics = {};
  Result<std::unique_ptr<Collector>> (*make)(const CollectorContext& context);
};

/// All collectors, by name. One line each in src/monitor/table.cpp.
[[nodiscard]] std::span<const CollectorDescriptor* const> collectors();
[[nodiscard]] const CollectorDescriptor* find_collector(std::string_view name);

/// Checks [collect.NAME] tables: unknown collectors, unknown options, wrong types, bad regular
/// expressions.
[[nodiscard]] std::vector<config::Problem> check_collectors(const config::CollectSection& collect);

/// Typed access to a validated option, falling back to the descriptor's default.
[[nodiscard]] bool option_bool(const CollectorContext& context,
                               const CollectorDescriptor& descriptor, std::string_view name);
[[nodiscard]] std::int64_t option_integer(const CollectorContext& context,
                                          const CollectorDescriptor& descriptor,
                                          std::string_view name);
[[nodiscard]] Millis option_duration(const CollectorContext& context,
                                     const CollectorDescriptor& descriptor, std::string_view name);
/// Of kString and kRegex options.
[[nodiscard]] std::string option_string(const CollectorContext& context,
                                        const CollectorDescriptor& descriptor,
                                        std::string_view name);

[[nodiscard]] std::vector<std::string> option_strings(const CollectorContext& context,
                                                      const CollectorDescriptor& descriptor,
                                                      std::string_view name);

}  // namespace nexus::monitor
