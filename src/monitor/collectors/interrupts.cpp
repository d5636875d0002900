// interrupts: how often every CPU served every interrupt, from /proc/interrupts. Many series: a
// line of the file times the CPUs.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/name_filter.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{
        "name_include", OptionType::kRegex, "''",
        "Interrupts that are taken, as TYPE;INFO;DEVICES; all when empty. Not together "
        "with name_exclude."},
    OptionDescriptor{"name_exclude", OptionType::kRegex, "''",
                     "Interrupts that are left out, as TYPE;INFO;DEVICES."},
    OptionDescriptor{"include_zeros", OptionType::kBool, "true",
                     "Also those that a CPU never served."},
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_interrupts_total", MetricType::kCounter, "Interrupt details."},
};
constexpr std::size_t kMaxCpus = 1U << 13;

class InterruptsCollector final : public Collector {
 public:
  InterruptsCollector(const CollectorContext& context, NameFilter filter)
      : path_(context.roots.proc("interrupts")),
        wants_zeros_(option_bool(context, kInterruptsCollector, "include_zeros")),
        filter_(std::move(filter)),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    auto text = buffer_.read(path_);
    if (!text) return propagate(std::move(text));
    Lines lines(*text);
    std::string_view heading;
    cpus_.clear();
    if (lines.next(heading)) {
      for (auto word = next_word(heading); !word.empty(); word = next_word(heading)) {
        if (word.starts_with("CPU") && base::parse_uint(word.substr(3)) && cpus_.size() < kMaxCpus)
          cpus_.push_back(word.substr(3));
      }
    }
    if (cpus_.empty()) complaints_.add(path_, "expected a heading with the CPUs");
    for (std::string_view line; lines.next(line);) add(sink, lines.number(), line);
    return complaints_.take();
  }

 private:
  /// " 24:   0   1771  PCI-MSI 49152-edge  virtio0-input", "NMI:  3  4  Non-maskable interrupts".
  void add(Sink& sink, std::size_t number, std::string_view line) {
    std::string_view rest = line;
    std::string_view type = next_word(rest);
    if (!type.ends_with(':')) return complaints_.add(path_, number, "NAME: NUMBERS", line);
    type.remove_suffix(1);
    // ERR and MIS have one number for all CPUs, and no series in node_exporter.
    values_.clear();
    for (std::string_view ahead = rest; values_.size() < cpus_.size();) {
      const auto value = base::parse_uint(next_word(ahead));
      if (!value) break;
      values_.push_back(static_cast<double>(*value));
      rest = ahead;
    }
    if (values_.size() < cpus_.size()) return;
    std::string_view info = base::trim(rest);
    std::string_view devices;
    if (base::parse_uint(type)) {
      devices = info;
      info = next_word(devices);
      devices = base::trim(devices);
    }
    info_.clear();
    devices_.clear();
    join(info, info_);
    join(devices, devices_);
    key_.assign(type).append(1, ';').append(info_).append(1, ';').append(devices_);
    if (!filter_.accepts(key_)) return;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      if (values_[i] == 0 && !wants_zeros_) continue;
      sink.add(families_[0],
               {{"cpu", cpus_[i]}, {"type", type}, {"info", info_}, {"devices", devices_}},
               values_[i]);
    }
  }

  /// Words with one blank between them.
  static void join(std::string_view text, std::string& out) {
    for (auto word = next_word(text); !word.empty(); word = next_word(text)) {
      if (!out.empty()) out += ' ';
      out += word;
    }
  }

  const std::string path_;
  const bool wants_zeros_;
  const NameFilter filter_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  std::vector<std::string_view> cpus_;  // into buffer_
  std::vector<double> values_;
  std::string info_;
  std::string devices_;
  std::string key_;
  Complaints complaints_;
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  const std::string include = option_string(context, kInterruptsCollector, "name_include");
  const std::string exclude = option_string(context, kInterruptsCollector, "name_exclude");
  if (!include.empty() && !exclude.empty())
    return fail(Errc::kInvalidArgument,
                "name_include and name_exclude: expected only one of the two");
  auto filter = NameFilter::make(include, exclude);
  if (!filter) return propagate(std::move(filter));
  return std::make_unique<InterruptsCollector>(context, std::move(*filter));
}

}  // namespace

const CollectorDescriptor kInterruptsCollector = {
    .name = "interrupts",
    .help = "How often every CPU served every interrupt.",
    .enabled_by_default = false,
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
