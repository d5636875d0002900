// pressure: pressure stall information (Documentation/accounting/psi.rst), the time that tasks lost
// waiting for CPU, memory and I/O.
//
// no_data when the kernel has no PSI: the files are missing, or reading them fails because of
// psi=0.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_pressure_cpu_waiting_seconds_total", MetricType::kCounter,
                     "Total time in seconds that processes have waited for CPU time"},
    MetricDescriptor{"node_pressure_io_waiting_seconds_total", MetricType::kCounter,
                     "Total time in seconds that processes have waited due to IO congestion"},
    MetricDescriptor{"node_pressure_io_stalled_seconds_total", MetricType::kCounter,
                     "Total time in seconds no process could make progress due to IO congestion"},
    MetricDescriptor{"node_pressure_memory_waiting_seconds_total", MetricType::kCounter,
                     "Total time in seconds that processes have waited for memory"},
    MetricDescriptor{
        "node_pressure_memory_stalled_seconds_total", MetricType::kCounter,
        "Total time in seconds no process could make progress due to memory congestion"},
    MetricDescriptor{"node_pressure_irq_stalled_seconds_total", MetricType::kCounter,
                     "Total time in seconds no process could make progress due to IRQ congestion"},
};

constexpr std::size_t kNeeded = 3;  // without these there is nothing to tell

struct Resource {
  std::string path;
  std::optional<FamilyId> waiting;  // of the line "some"; interrupts have none
  std::optional<FamilyId> stalled;  // of the line "full"; for the CPU it means nothing on a host
  bool is_missing = false;          // this kernel does not have it
  bool seen_waiting = false;        // in this run
  bool seen_stalled = false;
};

class PressureCollector final : public Collector {
 public:
  explicit PressureCollector(const CollectorContext& context) {
    const auto families = families_of(context.registry, kMetrics);
    resources_[0] = {context.roots.proc("pressure/cpu"), families[0], std::nullopt};
    resources_[1] = {context.roots.proc("pressure/io"), families[1], families[2]};
    resources_[2] = {context.roots.proc("pressure/memory"), families[3], families[4]};
    // Since Linux 6.1, where interrupts are accounted for.
    resources_[3] = {context.roots.proc("pressure/irq"), std::nullopt, families[5]};
  }

  Status collect(Sink& sink) override {
    std::size_t absent = 0;
    for (Resource& resource : resources_) {
      if (resource.is_missing) continue;
      auto text = buffer_.read(resource.path, host::Record::kWholeFile);
      if (text) {
        add(sink, resource, *text);
      } else if (is_absence(text.error())) {
        ++absent;
        // A kernel does not learn to account for interrupts; the others are looked for again, but
        // ever more rarely.
        resource.is_missing = !resource.waiting;
      } else {
        complaints_.add(text.error());
      }
    }
    if (absent >= kNeeded) {
      return fail(Errc::kNotFound, "{}: this kernel gives no pressure stall information",
                  resources_[0].path);
    }
    return complaints_.take();
  }

 private:
  static bool is_absence(const Error& error) {
    return error.code() == Errc::kNotFound || error.system() == std::errc::operation_not_supported;
  }

  void add(Sink& sink, Resource& resource, std::string_view text) {
    resource.seen_waiting = resource.seen_stalled = false;
    Lines lines(text);
    for (std::string_view line; lines.next(line);) {
      std::string_view rest = line;
      const std::string_view kind = next_word(rest);
      if (kind == "some") {
        if (resource.waiting)
          add(sink, resource, lines.number(), rest, *resource.waiting, resource.seen_waiting);
      } else if (kind == "full") {
        if (resource.stalled) {
          add(sink, resource, lines.number(), rest, *resource.stalled, resource.seen_stalled);
        }
      } else {
        complaints_.add(resource.path, lines.number(), "\"some\" or \"full\"", kind);
      }
    }
    if (resource.waiting && !resource.seen_waiting)
      complaints_.add(resource.path, "expected a line \"some\"");
  }

  void add(Sink& sink, const Resource& resource, std::size_t number, std::string_view rest,
           FamilyId family, bool& seen) {
    if (std::exchange(seen, true)) {
      return complaints_.add(resource.path, number, "each line once", rest);
    }
    constexpr std::string_view kTotal = "total=";
    for (std::string_view word = next_word(rest); !word.empty(); word = next_word(rest)) {
      if (!word.starts_with(kTotal)) continue;
      const auto micros = base::parse_uint(word.substr(kTotal.size()));
      if (!micros) return complaints_.add(resource.path, number, "total=MICROSECONDS", word);
      return sink.add(family, static_cast<double>(*micros) / 1000.0 / 1000.0);
    }
    complaints_.add(resource.path, number, "total=MICROSECONDS", {});
  }

  std::array<Resource, 4> resources_;
  host::KeptFiles buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kPressureCollector = {
    .name = "pressure",
    .help = "Time lost waiting for CPU, memory and I/O (PSI).",
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<PressureCollector>(context);
    },
};

}  // namespace nexus::monitor
