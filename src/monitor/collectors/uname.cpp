// uname: node_uname_info, from procfs/sys/kernel so that a recorded tree tells its own name and not
// ours.
#include <sys/utsname.h>

#include <array>
#include <string>

#include "monitor/collectors.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_uname_info", MetricType::kGauge,
                     "Labeled system information as provided by the uname system call."},
};

class UnameCollector final : public Collector {
 public:
  explicit UnameCollector(const CollectorContext& context)
      : directory_(context.roots.proc("sys/kernel/")),
        info_(context.registry.family(kMetrics[0].name, kMetrics[0].type, kMetrics[0].help)) {}

  Status collect(Sink& sink) override {
    struct Part {
      std::string_view label;
      std::string_view file;
      std::string value;
    };
    std::array parts = {Part{"sysname", "ostype", {}}, Part{"release", "osrelease", {}},
                        Part{"version", "version", {}}, Part{"nodename", "hostname", {}},
                        Part{"domainname", "domainname", {}}};
    for (Part& part : parts) {
      auto text = buffer_.read(directory_ + std::string(part.file));
      if (!text) return propagate(std::move(text));
      part.value = base::trim(*text);
    }
    const std::string machine = read_machine();
    std::array<LabelView, parts.size() + 1> labels;
    for (std::size_t i = 0; i < parts.size(); ++i) labels[i] = {parts[i].label, parts[i].value};
    labels.back() = {"machine", machine};
    sink.add(info_, labels, 1);
    return {};
  }

 private:
  /// The file exists since Linux 6.1; before, the running kernel is asked.
  std::string read_machine() {
    if (const auto text = buffer_.read(directory_ + "arch")) return std::string(base::trim(*text));
    utsname running{};
    return ::uname(&running) == 0 ? running.machine : "";
  }

  const std::string directory_;
  const FamilyId info_;
  host::KeptFiles buffer_;
};

}  // namespace

const CollectorDescriptor kUnameCollector = {
    .name = "uname",
    .help = "Name, release and machine of the running kernel.",
    .default_interval = Millis(15'000),  // it changes with a reboot or a rename
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<UnameCollector>(context);
    },
};

}  // namespace nexus::monitor
