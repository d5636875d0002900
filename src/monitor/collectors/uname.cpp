// uname: node_uname_info; of the running machine by uname(2), of a recorded tree from
// procfs/sys/kernel, so that it tells its own name and not ours.
#include <sys/utsname.h>

#include <array>
#include <string>

#include "monitor/collectors.hpp"
#include "monitor/tcp_sockets.hpp"
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
        is_live_(is_live(context.roots)),
        info_(context.registry.family(kMetrics[0].name, kMetrics[0].type, kMetrics[0].help)) {}

  Status collect(Sink& sink) override {
    utsname running{};
    if (is_live_ && ::uname(&running) == 0) {
      add(sink, {running.sysname, running.release, running.version, running.nodename,
                 running.domainname, running.machine});
      return {};
    }
    constexpr std::array<std::string_view, kLabels.size() - 1> kFiles = {
        "ostype", "osrelease", "version", "hostname", "domainname"};
    std::array<std::string, kLabels.size()> texts;
    for (std::size_t i = 0; i < kFiles.size(); ++i) {
      auto text = buffer_.read(directory_ + std::string(kFiles[i]));
      if (!text) return propagate(std::move(text));
      texts[i] = base::trim(*text);
    }
    texts.back() = read_machine();
    add(sink, {texts[0], texts[1], texts[2], texts[3], texts[4], texts[5]});
    return {};
  }

 private:
  static constexpr std::array<std::string_view, 6> kLabels = {"sysname",  "release",    "version",
                                                              "nodename", "domainname", "machine"};

  void add(Sink& sink, const std::array<std::string_view, kLabels.size()>& values) const {
    std::array<LabelView, kLabels.size()> labels;
    for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = {kLabels[i], values[i]};
    sink.add(info_, labels, 1);
  }

  /// The file exists since Linux 6.1; before, the running kernel is asked.
  std::string read_machine() {
    if (const auto text = buffer_.read(directory_ + "arch")) return std::string(base::trim(*text));
    utsname running{};
    return ::uname(&running) == 0 ? running.machine : "";
  }

  const std::string directory_;
  const bool is_live_;
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
