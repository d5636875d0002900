// lnstat: caches of the network stack, below /proc/net/stat: a line of names, then a line of
// hexadecimal numbers for every CPU.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/file.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_lnstat_*", MetricType::kCounter, "linux network cache stats"},
};

constexpr std::size_t kMaxFiles = 64;
constexpr std::size_t kMaxColumns = 64;
constexpr std::size_t kMaxCpus = 8192;

struct File {
  std::string name;
  std::string path;
  std::string header;  // that `families` are of
  std::vector<std::optional<FamilyId>> families;
};

class LnstatCollector final : public Collector {
 public:
  explicit LnstatCollector(const CollectorContext& context)
      : directory_(context.roots.proc("net/stat")), registry_(context.registry) {}

  Status collect(Sink& sink) override {
    const auto names = host::list_directory(directory_);
    if (!names) return std::unexpected(names.error());
    for (const std::string& name : *names) {
      if (const auto file = file_named(name)) add(sink, *file);
    }
    return complaints_.take();
  }

 private:
  File* file_named(const std::string& name) {
    for (File& file : files_) {
      if (file.name == name) return &file;
    }
    if (files_.size() >= kMaxFiles) {
      complaints_.add(directory_, "more than 64 files");
      return nullptr;
    }
    files_.reserve(kMaxFiles);
    return &files_.emplace_back(File{base::sanitize_utf8(name), directory_ + "/" + name, {}, {}});
  }

  void add(Sink& sink, File& file) {
    const auto text = buffer_.read(file.path);
    if (!text) return complaints_.add(text.error());
    Lines lines(*text);
    std::string_view line;
    if (!lines.next(line)) return complaints_.add(file.path, "empty, expected a line of names");
    if (file.header != line) read_header(file, line);
    for (std::size_t cpu = 0; lines.next(line) && cpu < kMaxCpus; ++cpu)
      add_cpu(sink, file, lines.number(), line, cpu);
  }

  void read_header(File& file, std::string_view line) {
    file.header = line;
    file.families.clear();
    std::string_view rest = line;
    for (std::string_view name = next_word(rest); !name.empty(); name = next_word(rest)) {
      if (file.families.size() >= kMaxColumns) break;
      file.families.push_back(std::nullopt);
      if (!is_name_part(name)) continue;
      file.families.back() = registry_.family(fmt::format("node_lnstat_{}_total", name),
                                              MetricType::kCounter, kMetrics[0].help);
    }
  }

  void add_cpu(Sink& sink, const File& file, std::size_t number, std::string_view line,
               std::size_t cpu) {
    std::array<char, 24> digits{};
    const auto end = fmt::format_to(digits.data(), "{}", cpu);
    const std::string_view cpu_name(digits.data(), static_cast<std::size_t>(end - digits.data()));
    for (const auto& family : file.families) {
      const std::string_view word = next_word(line);
      const auto value = base::parse_uint(word, 16);
      if (!value || !family) {
        complaints_.add(file.path, number, "hexadecimal numbers below names", word);
        continue;
      }
      sink.add(*family, {{"cpu", cpu_name}, {"subsystem", file.name}}, static_cast<double>(*value));
    }
  }

  const std::string directory_;
  knowledge::SeriesRegistry& registry_;
  std::vector<File> files_;
  host::KeptFiles buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kLnstatCollector = {
    .name = "lnstat",
    .help = "Caches of the network stack.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<LnstatCollector>(context);
    },
};

}  // namespace nexus::monitor
