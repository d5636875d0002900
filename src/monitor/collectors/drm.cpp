// drm: AMD graphics cards, from /sys/class/drm/cardN/device.
#include <algorithm>
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

struct Number {
  std::string_view file;
  MetricDescriptor metric;
};
constexpr std::array kNumbers = {
    Number{
        "gpu_busy_percent",
        {"node_drm_gpu_busy_percent", MetricType::kGauge, "How busy the GPU is as a percentage."}},
    Number{"mem_info_gtt_total",
           {"node_drm_memory_gtt_size_bytes", MetricType::kGauge,
            "The size of the graphics translation table (GTT) block in bytes."}},
    Number{"mem_info_gtt_used",
           {"node_drm_memory_gtt_used_bytes", MetricType::kGauge,
            "The used amount of the graphics translation table (GTT) block in bytes."}},
    Number{"mem_info_vram_total",
           {"node_drm_memory_vram_size_bytes", MetricType::kGauge, "The size of VRAM in bytes."}},
    Number{"mem_info_vram_used",
           {"node_drm_memory_vram_used_bytes", MetricType::kGauge,
            "The used amount of VRAM in bytes."}},
    Number{"mem_info_vis_vram_total",
           {"node_drm_memory_vis_vram_size_bytes", MetricType::kGauge,
            "The size of visible VRAM in bytes."}},
    Number{"mem_info_vis_vram_used",
           {"node_drm_memory_vis_vram_used_bytes", MetricType::kGauge,
            "The used amount of visible VRAM in bytes."}},
};

constexpr auto kMetrics = [] {
  std::array<MetricDescriptor, kNumbers.size() + 1> all{};
  for (std::size_t i = 0; i < kNumbers.size(); ++i) all[i] = kNumbers[i].metric;
  all[kNumbers.size()] = {"node_drm_card_info", MetricType::kGauge, "Card information"};
  return all;
}();

class DrmCollector final : public Collector {
 public:
  explicit DrmCollector(const CollectorContext& context)
      : directory_(context.roots.sys("class/drm")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto names = host::list_directory(directory_);
    if (!names) return std::unexpected(names.error());
    std::size_t cards = 0;
    for (const std::string& name : *names) {
      // card0, and not card0-HDMI-A-1 or renderD128.
      const bool is_card = name.starts_with("card") && name.size() > 4 &&
                           base::parse_uint(std::string_view(name).substr(4));
      if (is_card && is_amd(name)) {
        add(sink, name);
        ++cards;
      }
    }
    if (cards == 0) return fail(Errc::kNotFound, "{}: no card of the driver amdgpu", directory_);
    return complaints_.take();
  }

 private:
  bool is_amd(const std::string& card) {
    const auto uevent = buffer_.read(directory_ + "/" + card + "/device/uevent");
    return uevent && uevent->find("DRIVER=amdgpu") != std::string_view::npos;
  }

  void add(Sink& sink, const std::string& card) {
    const std::string device = directory_ + "/" + card + "/device/";
    const std::string level = text(device + "power_dpm_force_performance_level");
    const std::string unique = text(device + "unique_id");
    const std::string vendor = text(device + "mem_info_vram_vendor");
    sink.add(families_[kNumbers.size()],
             {{"card", card},
              {"memory_vendor", vendor},
              {"power_performance_level", level},
              {"unique_id", unique},
              {"vendor", "amd"}},
             1);
    for (std::size_t i = 0; i < kNumbers.size(); ++i) {
      const std::string path = device + std::string(kNumbers[i].file);
      const auto content = buffer_.read(path);
      if (!content) {
        complaints_.add(content.error());
        continue;
      }
      const auto value = base::parse_uint(base::trim(*content));
      if (value) {
        sink.add(families_[i], {{"card", card}}, static_cast<double>(*value));
      } else {
        complaints_.add(path, 1, "a number", base::trim(*content));
      }
    }
  }

  /// Older cards lack some of them.
  std::string text(const std::string& path) {
    const auto content = buffer_.read(path);
    return content ? base::sanitize_utf8(base::trim(content->substr(0, 256))) : std::string();
  }

  const std::string directory_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::FileBuffer buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kDrmCollector = {
    .name = "drm",
    .help = "AMD graphics cards.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<DrmCollector>(context);
    },
};

}  // namespace nexus::monitor
