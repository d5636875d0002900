// filefd: allocated file handles of the whole host and their limit, from /proc/sys/fs/file-nr.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_filefd_allocated", MetricType::kGauge,
                     "File descriptor statistics: allocated."},
    MetricDescriptor{"node_filefd_maximum", MetricType::kGauge,
                     "File descriptor statistics: maximum."},
};

class FilefdCollector final : public Collector {
 public:
  explicit FilefdCollector(const CollectorContext& context)
      : path_(context.roots.proc("sys/fs/file-nr")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    auto text = buffer_.read(path_, host::Record::kWholeFile);
    if (!text) return propagate(std::move(text));
    std::string_view rest = base::take_until(*text, '\n');
    add(sink, families_[0], next_word(rest));
    (void)next_word(rest);  // free handles: always 0 since Linux 2.6
    add(sink, families_[1], next_word(rest));
    return complaints_.take();
  }

 private:
  void add(Sink& sink, FamilyId family, std::string_view word) {
    if (const auto count = base::parse_uint(word)) {
      sink.add(family, static_cast<double>(*count));
    } else {
      complaints_.add(path_, 1, "a number of file handles", word);
    }
  }

  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kFilefdCollector = {
    .name = "filefd",
    .help = "Open file handles of the host and their limit.",
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<FilefdCollector>(context);
    },
};

}  // namespace nexus::monitor
