// sockstat: sockets in use per protocol and the memory they hold, from /proc/net/sockstat and
// sockstat6.
//
// Names are made of the file's: the pair "inuse 2" of the line "TCP:" is node_sockstat_TCP_inuse.
// `mem` counts pages, so there is `mem_bytes` besides. A host without IPv6 has no sockstat6.
// no_data when neither file is there.
#include <unistd.h>

#include <array>

#include "monitor/collectors.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_sockstat_sockets_used", MetricType::kGauge,
                     "Number of IPv4 sockets in use."},
    MetricDescriptor{"node_sockstat_*", MetricType::kGauge, "Number of * sockets in state *."},
};

constexpr std::size_t kMaxFields = 128;  // Linux 6.12 has 20

struct Field {
  std::optional<FamilyId> family;  // none: its name cannot be a metric's name
  std::optional<FamilyId> bytes;   // of `mem`
};

class SockstatCollector final : public Collector {
 public:
  explicit SockstatCollector(const CollectorContext& context)
      : paths_{context.roots.proc("net/sockstat"), context.roots.proc("net/sockstat6")},
        registry_(context.registry),
        page_size_(static_cast<double>(::sysconf(_SC_PAGESIZE))) {}

  Status collect(Sink& sink) override {
    fields_.start_run();
    std::size_t absent = 0;
    for (const std::string& path : paths_) {
      auto text = buffer_.read(path, host::Record::kWholeFile);
      if (text) {
        add(sink, path, *text);
      } else if (text.error().code() == Errc::kNotFound) {
        ++absent;
      } else {
        complaints_.add(text.error());
      }
    }
    fields_.forget_absent();
    if (absent == paths_.size()) return fail(Errc::kNotFound, "{}: not there", paths_[0]);
    return complaints_.take();
  }

 private:
  void add(Sink& sink, const std::string& path, std::string_view text) {
    if (text.empty()) complaints_.add(path, "empty, expected socket statistics");
    Lines lines(text);
    for (std::string_view line; lines.next(line);) {
      std::string_view rest = line;
      const std::string_view protocol = base::take_until(rest, ':');
      if (protocol.size() == line.size()) {
        complaints_.add(path, lines.number(), "PROTOCOL: NAME NUMBER ...", line);
        continue;
      }
      for (std::string_view name = next_word(rest); !name.empty(); name = next_word(rest)) {
        add(sink, path, lines.number(), protocol, name, next_word(rest));
      }
    }
  }

  void add(Sink& sink, const std::string& path, std::size_t number, std::string_view protocol,
           std::string_view name, std::string_view word) {
    key_.assign(protocol).append(1, '_').append(name);
    const Field* field =
        fields_.next(key_, [&](std::string_view) { return make_field(protocol, name); });
    if (field == nullptr)
      return complaints_.add(path, number, "each field once, at most 128", key_);
    if (!field->family) return complaints_.add(path, number, "a field name", key_);
    // The counters are signed in the kernel; a negative one is a race between two CPUs.
    const auto value = base::parse_int(word);
    if (!value) return complaints_.add(path, number, "a number", word);
    sink.add(*field->family, static_cast<double>(*value));
    if (field->bytes) sink.add(*field->bytes, static_cast<double>(*value) * page_size_);
  }

  Field make_field(std::string_view protocol, std::string_view name) {
    if (!is_name_part(key_)) return {};
    if (protocol == "sockets" && name == "used") {
      return {registry_.family(kMetrics[0].name, kMetrics[0].type, kMetrics[0].help), {}};
    }
    Field field{family_of(protocol, name), {}};
    if (name == "mem") field.bytes = family_of(protocol, "mem_bytes");
    return field;
  }

  FamilyId family_of(std::string_view protocol, std::string_view name) {
    return registry_.family(fmt::format("node_sockstat_{}_{}", protocol, name), MetricType::kGauge,
                            fmt::format("Number of {} sockets in state {}.", protocol, name));
  }

  const std::array<std::string, 2> paths_;
  knowledge::SeriesRegistry& registry_;
  const double page_size_;
  host::KeptFiles buffer_;
  std::string key_;
  NameTable<Field> fields_{kMaxFields};
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kSockstatCollector = {
    .name = "sockstat",
    .help = "Sockets in use per protocol and their memory.",
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<SockstatCollector>(context);
    },
};

}  // namespace nexus::monitor
