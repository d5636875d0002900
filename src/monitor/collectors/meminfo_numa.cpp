// meminfo_numa: memory of every NUMA node, from meminfo and numastat of the node.
#include <algorithm>
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_memory_numa_*", MetricType::kUntyped,
                     "Memory information field of a NUMA node; those of numastat are counters."},
};

constexpr std::size_t kMaxFields = 256;
constexpr std::size_t kMaxNodes = 1024;

struct Node {
  std::string number;
  std::string meminfo;
  std::string numastat;
};

class MeminfoNumaCollector final : public Collector {
 public:
  explicit MeminfoNumaCollector(const CollectorContext& context)
      : directory_(context.roots.sys("devices/system/node")), registry_(context.registry) {}

  Status collect(Sink& sink) override {
    const auto names = host::list_directory(directory_);
    if (!names) return std::unexpected(names.error());
    std::size_t nodes = 0;
    for (const std::string& name : *names) {
      const bool is_node = name.starts_with("node") && name.size() > 4 &&
                           base::parse_uint(std::string_view(name).substr(4));
      if (!is_node || ++nodes > kMaxNodes) continue;
      const Node node{name.substr(4), directory_ + "/" + name + "/meminfo",
                      directory_ + "/" + name + "/numastat"};
      add_meminfo(sink, node);
      add_numastat(sink, node);
    }
    if (nodes == 0) return fail(Errc::kNotFound, "{}: no NUMA node", directory_);
    return complaints_.take();
  }

 private:
  /// Node 0 Active(anon):  481 kB
  void add_meminfo(Sink& sink, const Node& node) {
    const auto text = buffer_.read(node.meminfo);
    if (!text) return complaints_.add(text.error());
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      std::string_view rest = line;
      static_cast<void>(next_word(rest));  // "Node"
      static_cast<void>(next_word(rest));
      std::string_view field = next_word(rest);
      const auto value = base::parse_uint(next_word(rest));
      const std::string_view unit = next_word(rest);
      if (!value || !field.ends_with(':') || !(unit.empty() || unit == "kB")) {
        complaints_.add(node.meminfo, lines.number(), "Node NUMBER NAME: NUMBER [kB]", line);
        continue;
      }
      field.remove_suffix(1);
      add(sink, node, field, "", MetricType::kGauge,
          static_cast<double>(*value) * (unit.empty() ? 1 : 1024), lines.number());
    }
  }

  void add_numastat(Sink& sink, const Node& node) {
    const auto text = buffer_.read(node.numastat);
    if (!text) return complaints_.add(text.error());
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      std::string_view rest = line;
      const std::string_view field = next_word(rest);
      const auto value = base::parse_uint(next_word(rest));
      if (value) {
        add(sink, node, field, "_total", MetricType::kCounter, static_cast<double>(*value),
            lines.number());
      } else {
        complaints_.add(node.numastat, lines.number(), "NAME NUMBER", line);
      }
    }
  }

  void add(Sink& sink, const Node& node, std::string_view field, std::string_view suffix,
           MetricType type, double value, std::size_t line) {
    auto found = std::ranges::find_if(fields_, [&](const auto& f) {
      return f.first.size() == field.size() + suffix.size() && f.first.starts_with(field) &&
             f.first.ends_with(suffix);
    });
    if (found == fields_.end()) {
      // Active(anon) is named Active_anon.
      std::string name(field);
      std::ranges::replace(name, '(', '_');
      std::erase(name, ')');
      if (!is_name_part(name) || fields_.size() >= kMaxFields)
        return complaints_.add(node.meminfo, line, "a field, at most 256 of them", field);
      fields_.emplace_back(
          std::string(field).append(suffix),
          registry_.family(fmt::format("node_memory_numa_{}{}", name, suffix), type,
                           fmt::format("Memory information field {}.", name)));
      found = fields_.end() - 1;
    }
    sink.add(found->second, {{"node", node.number}}, value);
  }

  const std::string directory_;
  knowledge::SeriesRegistry& registry_;
  std::vector<std::pair<std::string, FamilyId>> fields_;
  host::FileBuffer buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kMeminfoNumaCollector = {
    .name = "meminfo_numa",
    .help = "Memory of every NUMA node.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<MeminfoNumaCollector>(context);
    },
};

}  // namespace nexus::monitor
