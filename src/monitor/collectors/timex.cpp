// timex: what disciplines the kernel's clock and how well, by adjtimex(2); of the running machine.
#include <sys/timex.h>

#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_timex_sync_status", MetricType::kGauge,
                     "Is clock synchronized to a reliable server (1 = yes, 0 = no)."},
    MetricDescriptor{"node_timex_offset_seconds", MetricType::kGauge,
                     "Time offset in between local system and reference clock."},
    MetricDescriptor{"node_timex_frequency_adjustment_ratio", MetricType::kGauge,
                     "Local clock frequency adjustment."},
    MetricDescriptor{"node_timex_maxerror_seconds", MetricType::kGauge,
                     "Maximum error in seconds."},
    MetricDescriptor{"node_timex_estimated_error_seconds", MetricType::kGauge,
                     "Estimated error in seconds."},
    MetricDescriptor{"node_timex_status", MetricType::kGauge, "Value of the status array bits."},
    MetricDescriptor{"node_timex_loop_time_constant", MetricType::kGauge,
                     "Phase-locked loop time constant."},
    MetricDescriptor{"node_timex_tick_seconds", MetricType::kGauge, "Seconds between clock ticks."},
    MetricDescriptor{"node_timex_pps_frequency_hertz", MetricType::kGauge,
                     "Pulse per second frequency."},
    MetricDescriptor{"node_timex_pps_jitter_seconds", MetricType::kGauge,
                     "Pulse per second jitter."},
    MetricDescriptor{"node_timex_pps_shift_seconds", MetricType::kGauge,
                     "Pulse per second interval duration."},
    MetricDescriptor{"node_timex_pps_stability_hertz", MetricType::kGauge,
                     "Pulse per second stability, average of recent frequency changes."},
    MetricDescriptor{"node_timex_pps_jitter_total", MetricType::kCounter,
                     "Pulse per second count of jitter limit exceeded events."},
    MetricDescriptor{"node_timex_pps_calibration_total", MetricType::kCounter,
                     "Pulse per second count of calibration intervals."},
    MetricDescriptor{"node_timex_pps_error_total", MetricType::kCounter,
                     "Pulse per second count of calibration errors."},
    MetricDescriptor{"node_timex_pps_stability_exceeded_total", MetricType::kCounter,
                     "Pulse per second count of stability limit exceeded events."},
    MetricDescriptor{"node_timex_tai_offset_seconds", MetricType::kGauge,
                     "International Atomic Time (TAI) offset."},
};

constexpr double kMicro = 1e6;
// Frequencies are in parts per million with a fraction of 16 bits.
constexpr double kPpm = 1e6 * 65536;
constexpr double kPpmHertz = 65536;

class TimexCollector final : public Collector {
 public:
  explicit TimexCollector(const CollectorContext& context)
      : families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    timex time{};
    const int state = ::adjtimex(&time);
    if (state < 0) return std::unexpected(Error::from_errno("adjtimex"));
    const double unit = (time.status & STA_NANO) != 0 ? 1e9 : kMicro;
    const std::array<double, kMetrics.size()> values = {
        state == TIME_ERROR ? 0.0 : 1.0,
        static_cast<double>(time.offset) / unit,
        1 + static_cast<double>(time.freq) / kPpm,
        static_cast<double>(time.maxerror) / kMicro,
        static_cast<double>(time.esterror) / kMicro,
        static_cast<double>(time.status),
        static_cast<double>(time.constant),
        static_cast<double>(time.tick) / kMicro,
        static_cast<double>(time.ppsfreq) / kPpmHertz,
        static_cast<double>(time.jitter) / unit,
        static_cast<double>(time.shift),
        static_cast<double>(time.stabil) / kPpmHertz,
        static_cast<double>(time.jitcnt),
        static_cast<double>(time.calcnt),
        static_cast<double>(time.errcnt),
        static_cast<double>(time.stbcnt),
        static_cast<double>(time.tai),
    };
    for (std::size_t i = 0; i < values.size(); ++i) sink.add(families_[i], values[i]);
    return {};
  }

 private:
  const std::array<FamilyId, kMetrics.size()> families_;
};

}  // namespace

const CollectorDescriptor kTimexCollector = {
    .name = "timex",
    .help = "What disciplines the kernel's clock, and how well.",
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<TimexCollector>(context);
    },
};

}  // namespace nexus::monitor
