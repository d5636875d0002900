// tapestats: what every tape drive did, from /sys/class/scsi_tape/st*/stats (since Linux 4.2).
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/name_filter.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"ignored_devices", OptionType::kRegex, "'^$'", "Drives that are left out."},
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_tape_io_now", MetricType::kGauge,
                     "The number of I/Os currently in progress on this tape drive."},
    MetricDescriptor{"node_tape_io_time_seconds_total", MetricType::kCounter,
                     "The amount of time spent waiting for all I/O to complete."},
    MetricDescriptor{"node_tape_io_others_total", MetricType::kCounter,
                     "The number of I/Os issued to the drive other than reads and writes."},
    MetricDescriptor{"node_tape_read_bytes_total", MetricType::kCounter,
                     "The number of bytes read from the tape drive."},
    MetricDescriptor{"node_tape_reads_completed_total", MetricType::kCounter,
                     "The number of read requests issued to the tape drive."},
    MetricDescriptor{"node_tape_read_time_seconds_total", MetricType::kCounter,
                     "The amount of time spent waiting for reads to complete."},
    MetricDescriptor{"node_tape_written_bytes_total", MetricType::kCounter,
                     "The number of bytes written to the tape drive."},
    MetricDescriptor{"node_tape_writes_completed_total", MetricType::kCounter,
                     "The number of write requests issued to the tape drive."},
    MetricDescriptor{"node_tape_write_time_seconds_total", MetricType::kCounter,
                     "The amount of time spent waiting for writes to complete."},
    MetricDescriptor{"node_tape_residual_total", MetricType::kCounter,
                     "The number of times a read or write found the residual amount to be "
                     "non-zero."},
};
constexpr double kNanos = 1e9;
constexpr std::array kFiles = {
    NumberFile{"in_flight", 0},
    NumberFile{"io_ns", 1, 1, kNanos},
    NumberFile{"other_cnt", 2},
    NumberFile{"read_byte_cnt", 3},
    NumberFile{"read_cnt", 4},
    NumberFile{"read_ns", 5, 1, kNanos},
    NumberFile{"write_byte_cnt", 6},
    NumberFile{"write_cnt", 7},
    NumberFile{"write_ns", 8, 1, kNanos},
    NumberFile{"resid_cnt", 9},
};

class TapestatsCollector final : public Collector {
 public:
  TapestatsCollector(const CollectorContext& context, NameFilter ignored)
      : path_(context.roots.sys("class/scsi_tape")),
        ignored_(std::move(ignored)),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    bool any = false;
    for (const char* name : names_.names()) {
      // st0 is the drive, nst0, st0a, st0l, st0m are other ways to use it.
      const std::string_view text = name;
      if (!text.starts_with("st") || !base::parse_uint(text.substr(2))) continue;
      any = true;
      const auto drive = ignored_.accepts(text) ? root->child(name) : std::nullopt;
      const auto stats = drive ? drive->child("stats") : std::nullopt;
      const LabelView label{"device", text};
      if (stats) files_.add_numbers(sink, *stats, kFiles, families_, std::span(&label, 1));
    }
    if (!any) return fail(Errc::kNotFound, "{}: no drive", path_);
    return complaints_.take();
  }

 private:
  const std::string path_;
  const NameFilter ignored_;
  const std::array<FamilyId, kMetrics.size()> families_;
  NameList names_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  auto ignored =
      NameFilter::make({}, option_string(context, kTapestatsCollector, "ignored_devices"));
  if (!ignored) return propagate(std::move(ignored), "ignored_devices");
  return std::make_unique<TapestatsCollector>(context, std::move(*ignored));
}

}  // namespace

const CollectorDescriptor kTapestatsCollector = {
    .name = "tapestats",
    .help = "Reads, writes and their times of every tape drive.",
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
