// ipvs: traffic and backends of the kernel's load balancer, from /proc/net/ip_vs_stats and
// /proc/net/ip_vs.
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <map>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array<std::string_view, 6> kLabels = {
    "local_address", "local_port", "remote_address", "remote_port", "proto", "local_mark"};
enum Label { kLocalAddress, kLocalPort, kRemoteAddress, kRemotePort, kProto, kLocalMark };

constexpr std::array kOptions = {
    OptionDescriptor{
        "backend_labels", OptionType::kString,
        "'local_address,local_port,remote_address,remote_port,proto,local_mark'",
        "Labels of the metrics of backends; without some of them the backends are added up."},
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_ipvs_connections_total", MetricType::kCounter,
                     "The total number of connections made."},
    MetricDescriptor{"node_ipvs_incoming_packets_total", MetricType::kCounter,
                     "The total number of incoming packets."},
    MetricDescriptor{"node_ipvs_outgoing_packets_total", MetricType::kCounter,
                     "The total number of outgoing packets."},
    MetricDescriptor{"node_ipvs_incoming_bytes_total", MetricType::kCounter,
                     "The total amount of incoming data."},
    MetricDescriptor{"node_ipvs_outgoing_bytes_total", MetricType::kCounter,
                     "The total amount of outgoing data."},
    MetricDescriptor{"node_ipvs_backend_connections_active", MetricType::kGauge,
                     "The current active connections by local and remote address."},
    MetricDescriptor{"node_ipvs_backend_connections_inactive", MetricType::kGauge,
                     "The current inactive connections by local and remote address."},
    MetricDescriptor{"node_ipvs_backend_weight", MetricType::kGauge,
                     "The current backend weight by local and remote address."},
};
constexpr std::size_t kTotals = 5;
constexpr std::size_t kTotalsLine = 3;  // behind two lines of headings
constexpr std::size_t kMaxBackends = 65'536;

using Key = std::array<std::string, kLabels.size()>;
struct Backend {
  double active = 0;
  double inactive = 0;
  double weight = 0;
};

/// "C0A80016:0CEA" or "[2620:0000:...]:0050" as text; false when it is neither.
bool parse_endpoint(std::string_view text, std::string& address, std::string& port) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return false;
  const auto number = base::parse_uint(text.substr(colon + 1), 16);
  if (!number || *number > 65'535) return false;
  std::string_view host = text.substr(0, colon);
  std::array<char, INET6_ADDRSTRLEN> shown{};
  if (host.starts_with('[') && host.ends_with(']')) {
    const std::string inside(host.substr(1, host.size() - 2));
    in6_addr binary{};
    if (::inet_pton(AF_INET6, inside.c_str(), &binary) != 1 ||
        ::inet_ntop(AF_INET6, &binary, shown.data(), shown.size()) == nullptr)
      return false;
  } else {
    const auto bits = base::parse_uint(host, 16);
    if (host.size() != 8 || !bits) return false;
    const in_addr binary{htonl(static_cast<std::uint32_t>(*bits))};
    if (::inet_ntop(AF_INET, &binary, shown.data(), shown.size()) == nullptr) return false;
  }
  address = shown.data();
  port = std::to_string(*number);
  return true;
}

class IpvsCollector final : public Collector {
 public:
  IpvsCollector(const CollectorContext& context, std::array<bool, kLabels.size()> chosen)
      : stats_path_(context.roots.proc("net/ip_vs_stats")),
        backends_path_(context.roots.proc("net/ip_vs")),
        chosen_(chosen),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    if (Status added = add_totals(sink); !added) return added;
    auto text = buffer_.read(backends_path_);
    if (!text) return propagate(std::move(text));
    backends_.clear();
    parse(*text);
    for (const auto& [key, backend] : backends_) {
      std::array<LabelView, kLabels.size()> labels;
      for (std::size_t i = 0; i < kLabels.size(); ++i) labels[i] = {kLabels[i], key[i]};
      sink.add(families_[kTotals], labels, backend.active);
      sink.add(families_[kTotals + 1], labels, backend.inactive);
      sink.add(families_[kTotals + 2], labels, backend.weight);
    }
    return complaints_.take();
  }

 private:
  Status add_totals(Sink& sink) {
    auto text = buffer_.read(stats_path_);
    if (!text) return propagate(std::move(text));
    Lines lines(*text);
    std::string_view line;
    while (lines.number() < kTotalsLine && lines.next(line)) {
    }
    if (lines.number() != kTotalsLine) {
      complaints_.add(stats_path_, "expected two lines of headings and one of totals");
      return {};
    }
    for (std::size_t i = 0; i < kTotals; ++i) {
      const std::string_view word = next_word(line);
      if (const auto value = base::parse_uint(word, 16)) {
        sink.add(families_[i], static_cast<double>(*value));
      } else {
        complaints_.add(stats_path_, kTotalsLine, "five hexadecimal numbers", word);
      }
    }
    return {};
  }

  /// A line a service, "TCP  C0A80016:0CEA wlc", and one a backend, "  -> C0A85216:0CEA Masq 100
  /// 248 2".
  void parse(std::string_view text) {
    Key service;
    bool known = false;
    Lines lines(text);
    for (std::string_view line; lines.next(line);) {
      std::string_view rest = line;
      const std::string_view kind = next_word(rest);
      const std::string_view what = next_word(rest);
      if (kind == "TCP" || kind == "UDP" || kind == "SCTP") {
        service = {};
        service[kProto] = kind;
        known = parse_endpoint(what, service[kLocalAddress], service[kLocalPort]);
        if (!known) complaints_.add(backends_path_, lines.number(), "ADDRESS:PORT", what);
      } else if (kind == "FWM") {
        service = {};
        service[kProto] = kind;
        service[kLocalMark] = what;
        service[kLocalPort] = "0";
        known = true;
      } else if (kind == "->" && what != "RemoteAddress:Port" && known) {
        add_backend(service, lines.number(), what, rest);
      }
    }
  }

  void add_backend(const Key& service, std::size_t number, std::string_view endpoint,
                   std::string_view rest) {
    Key key = service;
    (void)next_word(rest);  // how packets are forwarded
    const auto weight = base::parse_uint(next_word(rest));
    const auto active = base::parse_uint(next_word(rest));
    const auto inactive = base::parse_uint(next_word(rest));
    if (!parse_endpoint(endpoint, key[kRemoteAddress], key[kRemotePort]) || !weight || !active ||
        !inactive)
      return complaints_.add(backends_path_, number, "ADDRESS:PORT FORWARD and three numbers",
                             endpoint);
    for (std::size_t i = 0; i < key.size(); ++i) {
      if (!chosen_[i]) key[i].clear();
    }
    if (backends_.size() >= kMaxBackends && !backends_.contains(key)) return;
    Backend& backend = backends_[key];
    backend.active += static_cast<double>(*active);
    backend.inactive += static_cast<double>(*inactive);
    backend.weight += static_cast<double>(*weight);
  }

  const std::string stats_path_;
  const std::string backends_path_;
  const std::array<bool, kLabels.size()> chosen_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  std::map<Key, Backend> backends_;
  Complaints complaints_;
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  std::array<bool, kLabels.size()> chosen{};
  const std::string names = option_string(context, kIpvsCollector, "backend_labels");
  for (const std::string_view name : base::split(names, ',')) {
    const auto found = std::ranges::find(kLabels, base::trim(name));
    if (found == kLabels.end())
      return fail(Errc::kInvalidArgument,
                  "backend_labels: {}: expected local_address, local_port, remote_address, "
                  "remote_port, proto or local_mark",
                  name);
    chosen[static_cast<std::size_t>(found - kLabels.begin())] = true;
  }
  return std::make_unique<IpvsCollector>(context, chosen);
}

}  // namespace

const CollectorDescriptor kIpvsCollector = {
    .name = "ipvs",
    .help = "Traffic and backends of the kernel's load balancer.",
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
