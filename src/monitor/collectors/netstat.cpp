// netstat: counters of the network protocols, from /proc/net/netstat, snmp and snmp6.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/name_filter.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{
        "fields", OptionType::kRegex,
        "'^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|"
        "Icmp6?_(InMsgs|OutMsgs)|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|"
        "TCPOFOQueue|TCPRcvQDrop)|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|"
        "RetransSegs|CurrEstab)|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|"
        "SndbufErrors))$'",
        "Fields that are taken, PROTOCOL_FIELD; all when empty."},
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_netstat_*", MetricType::kUntyped, "Statistic * of a network protocol."},
};

constexpr std::size_t kMaxFields = 4096;  // Linux 6.12 has about 400

struct Field {
  bool wanted = false;
  std::optional<FamilyId> family;  // none: its name cannot be a metric's name
};

class NetstatCollector final : public Collector {
 public:
  NetstatCollector(const CollectorContext& context, NameFilter filter)
      : snmp_path_(context.roots.proc("net/snmp")),
        netstat_path_(context.roots.proc("net/netstat")),
        snmp6_path_(context.roots.proc("net/snmp6")),
        registry_(context.registry),
        filter_(std::move(filter)) {}

  Status collect(Sink& sink) override {
    fields_.start_run();
    if (Status added = add_tables(sink, netstat_path_); !added) return added;
    if (Status added = add_tables(sink, snmp_path_); !added) return added;
    add_snmp6(sink);
    fields_.forget_absent();
    return complaints_.take();
  }

 private:
  /// Two lines a protocol: "Tcp: RtoAlgorithm RtoMin ..." and "Tcp: 1 200 ...".
  Status add_tables(Sink& sink, const std::string& path) {
    auto text = buffer_.read(path);
    if (!text) return propagate(std::move(text));
    if (text->empty()) complaints_.add(path, "empty, expected protocol statistics");
    Lines lines(*text);
    for (std::string_view names; lines.next(names);) {
      std::string_view values;
      if (!lines.next(values)) {
        complaints_.add(path, lines.number(), "a line of values behind it", names);
        break;
      }
      const std::string_view protocol = base::take_until(names, ':');
      if (base::take_until(values, ':') != protocol) {
        complaints_.add(path, lines.number(), fmt::format("values of {}", shown(protocol)), values);
        continue;
      }
      for (auto name = next_word(names); !name.empty(); name = next_word(names)) {
        add(sink, path, lines.number(), protocol, name, next_word(values));
      }
    }
    return {};
  }

  /// A line a field: "Ip6InReceives 64". Not there without IPv6.
  void add_snmp6(Sink& sink) {
    const auto text = buffer_.read(snmp6_path_);
    if (!text) return;
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      std::string_view rest = line;
      const std::string_view key = next_word(rest);
      const std::size_t six = key.find('6');
      if (six == std::string_view::npos) continue;
      add(sink, snmp6_path_, lines.number(), key.substr(0, six + 1), key.substr(six + 1),
          next_word(rest));
    }
  }

  void add(Sink& sink, const std::string& path, std::size_t number, std::string_view protocol,
           std::string_view name, std::string_view word) {
    key_.assign(protocol).append(1, '_').append(name);
    const Field* field = fields_.next(key_, [&](std::string_view key) { return make_field(key); });
    if (field == nullptr)
      return complaints_.add(path, number, "each field once, at most 4096", key_);
    if (!field->wanted) return;
    // MaxConn of Tcp may be -1.
    const auto value = base::parse_int(word);
    const auto large = value ? std::nullopt : base::parse_uint(word);
    if (!field->family || (!value && !large))
      return complaints_.add(path, number, fmt::format("a number for {}", shown(key_)), word);
    sink.add(*field->family, value ? static_cast<double>(*value) : static_cast<double>(*large));
  }

  Field make_field(std::string_view key) {
    if (!filter_.accepts(key)) return {};
    if (!is_name_part(key)) return {.wanted = true, .family = std::nullopt};
    return {.wanted = true,
            .family = registry_.family(fmt::format("node_netstat_{}", key), MetricType::kUntyped,
                                       fmt::format("Statistic {}.", key))};
  }

  static std::string shown(std::string_view text) {
    return base::sanitize_utf8(text.substr(0, 40));
  }

  const std::string snmp_path_;
  const std::string netstat_path_;
  const std::string snmp6_path_;
  knowledge::SeriesRegistry& registry_;
  const NameFilter filter_;
  host::KeptFiles buffer_;
  std::string key_;
  NameTable<Field> fields_{kMaxFields};
  Complaints complaints_;
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  auto filter = NameFilter::make(option_string(context, kNetstatCollector, "fields"), {});
  if (!filter) return propagate(std::move(filter), "fields");
  return std::make_unique<NetstatCollector>(context, std::move(*filter));
}

}  // namespace

const CollectorDescriptor kNetstatCollector = {
    .name = "netstat",
    .help = "Counters of the network protocols.",
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
