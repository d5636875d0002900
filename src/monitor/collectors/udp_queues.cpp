// udp_queues: bytes that wait in the queues of UDP sockets, from /proc/net/udp and udp6.
//
// Each read(2) of them looks through the kernel's whole table of sockets, also the one that finds
// nothing more: it is saved, for the kernel fills a page as long as there are lines.
#include <unistd.h>

#include <array>
#include <optional>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/file.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_udp_queues", MetricType::kGauge,
                     "Number of allocated memory in the kernel for UDP datagrams in bytes."},
};

constexpr std::size_t kSkipped = 4;   // sl, local and remote address, state
constexpr std::size_t kLine = 256;    // bytes, at most: udp's are padded to 128, udp6's are longer
constexpr std::size_t kPage = 4'096;  // at least

class UdpQueuesCollector final : public Collector {
 public:
  explicit UdpQueuesCollector(const CollectorContext& context)
      : v4_{.path = context.roots.proc("net/udp"), .file = {}},
        v6_{.path = context.roots.proc("net/udp6"), .file = {}},
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const bool v4 = add(sink, v4_, "v4");
    const bool v6 = add(sink, v6_, "v6");
    if (!v4 && !v6) return fail(Errc::kNotFound, "{}: not there, nor udp6", v4_.path);
    return complaints_.take();
  }

 private:
  struct Table {
    std::string path;
    host::KeptFile file;
  };

  /// Until a page is not full; nothing when it cannot be read so.
  std::optional<std::string_view> read_pages(int fd) {
    std::size_t used = 0;
    while (used < host::kMaxFile) {
      if (bytes_.size() < used + 2 * kPage) bytes_.resize(2 * bytes_.size() + 4 * kPage);
      const ssize_t got =
          ::pread(fd, bytes_.data() + used, bytes_.size() - used, static_cast<off_t>(used));
      if (got < 0) return std::nullopt;
      used += static_cast<std::size_t>(got);
      if (static_cast<std::size_t>(got) + kLine < kPage)
        return std::string_view(bytes_.data(), used);
    }
    return std::nullopt;
  }

  bool add(Sink& sink, Table& table, std::string_view version) {
    auto text = table.file.is_open() ? read_pages(table.file.fd()) : std::nullopt;
    if (!text) {
      const auto whole = table.file.read(table.path, bytes_);
      if (!whole) return false;
      text = *whole;
    }
    const std::string& path = table.path;
    if (text->empty()) {
      complaints_.add(path, "empty, expected a heading");
      return true;
    }
    double transmit = 0;
    double receive = 0;
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      if (lines.number() == 1) continue;
      std::string_view rest = line;
      for (std::size_t i = 0; i < kSkipped; ++i) (void)next_word(rest);
      const std::string_view word = next_word(rest);
      std::string_view received = word;
      const auto tx = base::parse_uint(base::take_until(received, ':'), 16);
      const auto rx = base::parse_uint(received, 16);
      if (!tx || !rx) {
        complaints_.add(path, lines.number(), "TX_QUEUE:RX_QUEUE, hexadecimal", word);
        continue;
      }
      transmit += static_cast<double>(*tx);
      receive += static_cast<double>(*rx);
    }
    sink.add(families_[0], {{"ip", version}, {"queue", "tx"}}, transmit);
    sink.add(families_[0], {{"ip", version}, {"queue", "rx"}}, receive);
    return true;
  }

  Table v4_;
  Table v6_;
  const std::array<FamilyId, kMetrics.size()> families_;
  std::vector<char> bytes_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kUdpQueuesCollector = {
    .name = "udp_queues",
    .help = "Bytes that wait in the queues of UDP sockets.",
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<UdpQueuesCollector>(context);
    },
};

}  // namespace nexus::monitor
