// edac: memory errors that hardware corrected and could not correct, from
// /sys/devices/system/edac/mc (Documentation/driver-api/edac.rst).
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_edac_correctable_errors_total", MetricType::kCounter,
                     "Total correctable memory errors."},
    MetricDescriptor{"node_edac_uncorrectable_errors_total", MetricType::kCounter,
                     "Total uncorrectable memory errors."},
    MetricDescriptor{"node_edac_csrow_correctable_errors_total", MetricType::kCounter,
                     "Total correctable memory errors for this csrow."},
    MetricDescriptor{"node_edac_csrow_uncorrectable_errors_total", MetricType::kCounter,
                     "Total uncorrectable memory errors for this csrow."},
};
constexpr std::array kController = {NumberFile{"ce_count", 0}, NumberFile{"ue_count", 1}};
constexpr std::array kUnknownRow = {NumberFile{"ce_noinfo_count", 2},
                                    NumberFile{"ue_noinfo_count", 3}};
constexpr std::array kRow = {NumberFile{"ce_count", 2}, NumberFile{"ue_count", 3}};

/// "mc0" with "mc" is "0"; empty when it is something else.
std::string_view number_after(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return {};
  const std::string_view number = name.substr(prefix.size());
  return base::parse_uint(number) ? number : std::string_view();
}

class EdacCollector final : public Collector {
 public:
  explicit EdacCollector(const CollectorContext& context)
      : path_(context.roots.sys("devices/system/edac/mc")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    bool any = false;
    for (const char* name : names_.names()) {
      const std::string_view number = number_after(name, "mc");
      const auto controller = number.empty() ? std::nullopt : root->child(name);
      if (!controller) continue;
      any = true;
      add(sink, *controller, number);
    }
    if (!any) return fail(Errc::kNotFound, "{}: no memory controller", path_);
    return complaints_.take();
  }

 private:
  void add(Sink& sink, const SmallDir& controller, std::string_view number) {
    const std::array<LabelView, 2> labels = {{{"controller", number}, {"csrow", "unknown"}}};
    files_.add_numbers(sink, controller, kController, families_, std::span(labels).first(1));
    files_.add_numbers(sink, controller, kUnknownRow, families_, labels);
    if (!rows_.read(controller)) return;
    for (const char* name : rows_.names()) {
      const std::string_view row = number_after(name, "csrow");
      const auto directory = row.empty() ? std::nullopt : controller.child(name);
      if (!directory) continue;
      const std::array<LabelView, 2> of_row = {{{"controller", number}, {"csrow", row}}};
      files_.add_numbers(sink, *directory, kRow, families_, of_row);
    }
  }

  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  NameList names_;
  NameList rows_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

}  // namespace

const CollectorDescriptor kEdacCollector = {
    .name = "edac",
    .help = "Memory errors that hardware corrected and could not correct.",
    .default_interval = Millis(10'000),
    .metrics = kMetrics,
    .make = make_plain<EdacCollector>,
};

}  // namespace nexus::monitor
