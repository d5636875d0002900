// buddyinfo: free blocks of every size in every zone of memory, from /proc/buddyinfo.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_buddyinfo_blocks", MetricType::kGauge,
                     "Count of free blocks according to size."},
};
constexpr std::size_t kMaxOrders = 64;

class BuddyinfoCollector final : public Collector {
 public:
  explicit BuddyinfoCollector(const CollectorContext& context)
      : path_(context.roots.proc("buddyinfo")),
        families_(families_of(context.registry, kMetrics)) {}

  /// "Node 0, zone   Normal   4381   1093 ...": blocks of 1, 2, 4, ... pages.
  Status collect(Sink& sink) override {
    auto text = buffer_.read(path_);
    if (!text) return propagate(std::move(text));
    if (text->empty()) complaints_.add(path_, "empty, expected a line for every zone");
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) add(sink, lines.number(), line);
    return complaints_.take();
  }

 private:
  void add(Sink& sink, std::size_t number, std::string_view line) {
    std::string_view rest = line;
    const std::string_view head = next_word(rest);
    std::string_view node = next_word(rest);
    const std::string_view zone_word = next_word(rest);
    const std::string_view zone = next_word(rest);
    if (head != "Node" || !node.ends_with(',') || zone_word != "zone" || zone.empty())
      return complaints_.add(path_, number, "Node NUMBER, zone NAME NUMBERS", line);
    node.remove_suffix(1);
    std::size_t order = 0;
    for (auto word = next_word(rest); !word.empty() && order < kMaxOrders;
         word = next_word(rest), ++order) {
      char name[8];
      const auto end = fmt::format_to(name, "{}", order);
      const std::string_view size(name, static_cast<std::size_t>(end - name));
      if (const auto value = base::parse_uint(word)) {
        sink.add(families_[0], {{"node", node}, {"zone", zone}, {"size", size}},
                 static_cast<double>(*value));
      } else {
        complaints_.add(path_, number, "numbers", word);
      }
    }
  }

  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kBuddyinfoCollector = {
    .name = "buddyinfo",
    .help = "Free blocks of every size in every zone of memory.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<BuddyinfoCollector>(context);
    },
};

}  // namespace nexus::monitor
