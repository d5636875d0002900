// boottime: when the kernel was started, of the line btime of /proc/stat.
//
// node_exporter has a collector of that name for the BSDs and Solaris; on Linux the metric comes
// with stat. This one is for who switches stat off: while stat runs it does not (scheduler.cpp).
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "monitor/small_files.hpp"
#include "nexus/host/kept_files.hpp"
#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_boot_time_seconds", MetricType::kGauge, "Node boot time, in unixtime."},
};

class BoottimeCollector final : public Collector {
 public:
  explicit BoottimeCollector(const CollectorContext& context)
      : path_(context.roots.proc("stat")), families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    auto text = file_.read(path_, host::Record::kWholeFile);
    if (!text) return propagate(std::move(text));
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      std::string_view rest = line;
      if (next_word(rest) != "btime") continue;
      const std::string_view word = next_word(rest);
      if (const auto value = base::parse_uint(word)) {
        sink.add(families_[0], static_cast<double>(*value));
      } else {
        complaints_.add(path_, lines.number(), "a number", word);
      }
      return complaints_.take();
    }
    return fail(Errc::kCorrupt, "{}: expected a line \"btime\"", path_);
  }

 private:
  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles file_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kBoottimeCollector = {
    .name = "boottime",
    .help = "When the host was started; for who switches stat off, which tells it too.",
    .enabled_by_default = false,
    .default_interval = Millis(60'000),
    .metrics = kMetrics,
    .make = make_plain<BoottimeCollector>,
};

}  // namespace nexus::monitor
