// mdadm: software RAID: state, disks and progress of every array from /proc/mdstat, and what
// /sys/block/<md>/md says about missing disks.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "monitor/small_files.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_md_state", MetricType::kGauge, "Indicates the state of md-device."},
    MetricDescriptor{"node_md_disks", MetricType::kGauge,
                     "Number of active/failed/spare disks of device."},
    MetricDescriptor{"node_md_disks_required", MetricType::kGauge,
                     "Total number of disks of device."},
    MetricDescriptor{"node_md_blocks", MetricType::kGauge, "Total number of blocks on device."},
    MetricDescriptor{"node_md_blocks_synced", MetricType::kGauge,
                     "Number of blocks synced on device."},
    MetricDescriptor{"node_md_raid_disks", MetricType::kGauge, "Number of raid disks on device."},
    MetricDescriptor{"node_md_degraded", MetricType::kGauge, "Number of degraded disks on device."},
};
enum Metric { kState, kDisks, kRequired, kBlocks, kSynced };
constexpr std::array kFiles = {NumberFile{"raid_disks", 5}, NumberFile{"degraded", 6}};

constexpr std::array<std::string_view, 5> kStates = {"active", "inactive", "recovering", "resync",
                                                     "check"};

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

struct Array {
  std::string_view name;
  std::string_view state;
  double active = 0;
  double required = 0;
  double failed = 0;
  double spare = 0;
  double blocks = 0;
  double synced = 0;
};

class MdadmCollector final : public Collector {
 public:
  explicit MdadmCollector(const CollectorContext& context)
      : path_(context.roots.proc("mdstat")),
        block_path_(context.roots.sys("block")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    auto text = buffer_.read(path_);
    if (!text) return propagate(std::move(text));
    std::optional<SmallDir> block;  // most hosts have no array
    // An array has a line that begins with its name and some that begin with blanks; the file may
    // also be cut anywhere.
    Array array;
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      if (line.starts_with("Personalities") || line.starts_with("unused")) continue;
      if (line.front() == ' ' || line.front() == '\t') {
        if (!array.name.empty()) add_detail(array, lines.number(), line);
        continue;
      }
      finish(sink, array, block);
      array = begin(lines.number(), line);
    }
    finish(sink, array, block);
    return complaints_.take();
  }

 private:
  Array begin(std::size_t number, std::string_view line) {
    std::string_view rest = line;
    Array array;
    array.name = next_word(rest);
    const std::string_view colon = next_word(rest);
    array.state = next_word(rest);
    if (colon != ":" || (array.state != "active" && array.state != "inactive")) {
      complaints_.add(path_, number, "DEVICE : active or inactive", line);
      return {};
    }
    array.failed = static_cast<double>(count_of(line, "(F)"));
    array.spare = static_cast<double>(count_of(line, "(S)"));
    // Without redundancy every disk is needed: only they have a number in brackets here.
    if (contains(line, " raid0 ") || contains(line, " linear ")) {
      array.required = static_cast<double>(count_of(line, "["));
      array.active = array.required;
    }
    array.blocks = -1;
    return array;
  }

  /// "  248896 blocks [2/2] [UU]", "  [==>....]  recovery = 8.5% (16775552/195310144) finish=...",
  /// "  resync=DELAYED", "  bitmap: ...".
  void add_detail(Array& array, std::size_t number, std::string_view line) {
    std::string_view rest = line;
    if (array.blocks < 0) {
      const auto blocks = base::parse_uint(next_word(rest));
      if (!blocks) {
        complaints_.add(path_, number, "NUMBER blocks", line);
        array = {};
        return;
      }
      array.blocks = static_cast<double>(*blocks);
      array.synced = array.blocks;
      if (array.state == "active" && array.required == 0) add_disks(array, number, line);
      return;
    }
    std::string_view state;
    if (contains(line, "recovery")) state = "recovering";
    if (contains(line, "check")) state = "check";
    if (contains(line, "resync")) state = "resync";
    if (state.empty()) return;
    array.state = state;
    array.synced = 0;
    if (contains(line, "PENDING") || contains(line, "DELAYED")) return;
    const std::size_t open = line.find('(');
    std::string_view progress = open == std::string_view::npos ? "" : line.substr(open + 1);
    const auto synced = base::parse_uint(base::take_until(progress, '/'));
    if (!synced) return complaints_.add(path_, number, "(BLOCKS/BLOCKS)", line);
    array.synced = static_cast<double>(*synced);
  }

  /// "[3/2]": 3 are required, 2 are active.
  void add_disks(Array& array, std::size_t number, std::string_view line) {
    for (std::string_view rest = line; !rest.empty();) {
      const std::string_view word = next_word(rest);
      if (!word.starts_with('[') || !word.ends_with(']')) continue;
      std::string_view active = word.substr(1, word.size() - 2);
      const auto required = base::parse_uint(base::take_until(active, '/'));
      const auto present = base::parse_uint(active);
      if (!required || !present) continue;
      array.required = static_cast<double>(*required);
      array.active = static_cast<double>(*present);
      return;
    }
    complaints_.add(path_, number, "[REQUIRED/ACTIVE] disks", line);
    array = {};
  }

  void finish(Sink& sink, const Array& array, std::optional<SmallDir>& block) {
    if (array.name.empty()) return;
    if (array.blocks < 0)
      return complaints_.add(path_, fmt::format("expected the blocks of {}", array.name));
    for (const std::string_view state : kStates) {
      sink.add(families_[kState], {{"device", array.name}, {"state", state}},
               state == array.state ? 1 : 0);
    }
    sink.add(families_[kDisks], {{"device", array.name}, {"state", "active"}}, array.active);
    sink.add(families_[kDisks], {{"device", array.name}, {"state", "failed"}}, array.failed);
    sink.add(families_[kDisks], {{"device", array.name}, {"state", "spare"}}, array.spare);
    sink.add(families_[kRequired], {{"device", array.name}}, array.required);
    sink.add(families_[kBlocks], {{"device", array.name}}, array.blocks);
    sink.add(families_[kSynced], {{"device", array.name}}, array.synced);
    if (contains(array.name, "/") || array.name.starts_with('.')) return;
    if (!block) block = SmallDir::open(block_path_);
    if (!block) return;
    directory_.assign(array.name).append("/md");
    const LabelView label{"device", array.name};
    if (const auto md = block->child(directory_.c_str()))
      files_.add_numbers(sink, *md, kFiles, families_, std::span(&label, 1));
  }

  const std::string path_;
  const std::string block_path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  std::string directory_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

}  // namespace

const CollectorDescriptor kMdadmCollector = {
    .name = "mdadm",
    .help = "Software RAID: state, disks and progress of every array.",
    .default_interval = Millis(5'000),
    .metrics = kMetrics,
    .make = make_plain<MdadmCollector>,
};

}  // namespace nexus::monitor
