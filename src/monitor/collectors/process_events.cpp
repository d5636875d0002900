// process_events: forks, execs and exits a host makes, and processes that live too short to be seen
// by a scan, from the kernel's process connector.
//
// no_data where it may not be listened to: CAP_NET_ADMIN and the first pid name space are needed.
#include "monitor/process_events.hpp"

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/tcp_sockets.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"short_life", OptionType::kDuration, "'1s'",
                     "A process that lives shorter is short-lived."},
};

enum Metric : std::size_t { kForks, kThreads, kExecs, kExits, kShort, kByName, kLost };
constexpr std::array kMetrics = {
    MetricDescriptor{"nexus_process_forks_total", MetricType::kCounter, "Processes begun."},
    MetricDescriptor{"nexus_thread_starts_total", MetricType::kCounter, "Threads begun."},
    MetricDescriptor{"nexus_process_execs_total", MetricType::kCounter, "Programs executed."},
    MetricDescriptor{"nexus_process_exits_total", MetricType::kCounter,
                     "Processes ended: ok, failed (a status other than 0), killed (by a signal)."},
    MetricDescriptor{"nexus_process_short_lived_total", MetricType::kCounter,
                     "Processes that ended soon after they had begun."},
    MetricDescriptor{"nexus_process_short_lived_by_executable_total", MetricType::kCounter,
                     "The same by executable, for the first 64 of them; \"(none)\": it executed "
                     "nothing, or was gone before it could be asked."},
    MetricDescriptor{"nexus_process_events_lost_total", MetricType::kCounter,
                     "Times that the kernel could not deliver events, for there were too many."},
};

class ProcessEventsCollector final : public Collector {
 public:
  explicit ProcessEventsCollector(const CollectorContext& context)
      : procfs_(context.roots.procfs),
        is_live_(is_live(context.roots)),
        short_life_(option_duration(context, kProcessEventsCollector, "short_life")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    if (!is_live_) return fail(Errc::kNotFound, "these are not the processes of this host");
    if (!events_) {
      auto opened = ProcessEvents::open(procfs_, short_life_);
      if (!opened) return fail(Errc::kNotFound, "{}", opened.error().message());
      events_ = std::move(*opened);
    }
    const ProcessEvents::Counts counts = events_->counts();
    const auto add = [&](Metric metric, std::uint64_t value) {
      sink.add(families_[metric], static_cast<double>(value));
    };
    const auto add_by = [&](Metric metric, std::string_view label, std::string_view name,
                            std::uint64_t value) {
      sink.add(families_[metric], {{label, name}}, static_cast<double>(value));
    };
    add(kForks, counts.forks);
    add(kThreads, counts.threads);
    add(kExecs, counts.execs);
    add_by(kExits, "result", "ok", counts.exits_ok);
    add_by(kExits, "result", "failed", counts.exits_failed);
    add_by(kExits, "result", "killed", counts.exits_killed);
    add(kShort, counts.short_lived);
    add(kLost, counts.lost);
    for (const auto& [name, count] : counts.names) add_by(kByName, "executable", name, count);
    return {};
  }

 private:
  const std::string procfs_;
  const bool is_live_;
  const Nanos short_life_;
  const std::array<FamilyId, kMetrics.size()> families_;
  std::unique_ptr<ProcessEvents> events_;
};

}  // namespace

const CollectorDescriptor kProcessEventsCollector = {
    .name = "process_events",
    .help = "Forks, execs, exits and short-lived processes, as the kernel tells them.",
    .options = kOptions,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<ProcessEventsCollector>(context);
    },
};

}  // namespace nexus::monitor
