// netstat: counters of the network protocols, from /proc/net/netstat, snmp and snmp6.
#include <algorithm>
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

constexpr std::size_t kMaxFields = 4096;    // Linux 6.12 has about 400
constexpr std::size_t kMaxProtocols = 256;  // and 9
constexpr std::size_t kMaxTaken = 1024;     // of one protocol

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
    if (Status added = add_tables(sink, netstat_path_, netstat_headings_); !added) return added;
    if (Status added = add_tables(sink, snmp_path_, snmp_headings_); !added) return added;
    add_snmp6(sink);
    fields_.forget_absent();
    return complaints_.take();
  }

 private:
  /// A field that is taken, of a line of names.
  struct Taken {
    std::size_t word = 0;  // its place behind the protocol
    FamilyId family{};
    std::string name;
  };
  /// A line of names as it was in the run before: most fields of most hosts are not taken, and are
  /// passed over as long as the line stays the same.
  struct Heading {
    std::string names;
    std::vector<Taken> taken;
  };

  /// Two lines a protocol: "Tcp: RtoAlgorithm RtoMin ..." and "Tcp: 1 200 ...".
  Status add_tables(Sink& sink, const std::string& path, std::vector<Heading>& headings) {
    auto text = buffer_.read(path, host::Record::kWholeFile);
    if (!text) return propagate(std::move(text));
    if (text->empty()) complaints_.add(path, "empty, expected protocol statistics");
    Lines lines(*text);
    std::size_t place = 0;
    for (std::string_view names; lines.next(names); ++place) {
      std::string_view values;
      if (!lines.next(values)) {
        complaints_.add(path, lines.number(), "a line of values behind it", names);
        break;
      }
      std::string_view fields = names;
      const std::string_view protocol = base::take_until(fields, ':');
      if (base::take_until(values, ':') != protocol) {
        complaints_.add(path, lines.number(), fmt::format("values of {}", shown(protocol)), values);
        continue;
      }
      if (place >= kMaxProtocols) {
        complaints_.add(path, lines.number(), "at most 256 protocols", names);
        break;
      }
      if (place >= headings.size()) headings.resize(place + 1);
      Heading& heading = headings[place];
      if (heading.names != names) learn(heading, path, lines.number(), names, protocol, fields);
      add_values(sink, path, lines.number(), heading, values);
    }
    return {};
  }

  void learn(Heading& heading, const std::string& path, std::size_t number, std::string_view names,
             std::string_view protocol, std::string_view fields) {
    heading.names = names;
    heading.taken.clear();
    std::size_t word = 0;
    for (auto name = next_word(fields); !name.empty(); name = next_word(fields), ++word) {
      key_.assign(protocol).append(1, '_').append(name);
      const Field field = make_field(key_);
      if (!field.wanted) continue;
      const bool is_new =
          std::ranges::find(heading.taken, key_, &Taken::name) == heading.taken.end();
      if (field.family && is_new && heading.taken.size() < kMaxTaken) {
        heading.taken.push_back({word, *field.family, key_});
      } else {
        complaints_.add(path, number, "names of metrics, each once, at most 1024", key_);
        heading.names.clear();  // said again in the next run
      }
    }
  }

  void add_values(Sink& sink, const std::string& path, std::size_t number, const Heading& heading,
                  std::string_view values) {
    std::size_t word = 0;
    for (const Taken& taken : heading.taken) {
      std::string_view text;
      for (; word <= taken.word; ++word) text = next_word(values);
      add_number(sink, path, number, taken.family, taken.name, text);
    }
  }

  /// A line a field: "Ip6InReceives 64". Not there without IPv6.
  void add_snmp6(Sink& sink) {
    const auto text = buffer_.read(snmp6_path_, host::Record::kWholeFile);
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
    if (!field->family)
      return complaints_.add(path, number, fmt::format("a number for {}", shown(key_)), word);
    add_number(sink, path, number, *field->family, key_, word);
  }

  void add_number(Sink& sink, const std::string& path, std::size_t number, FamilyId family,
                  std::string_view name, std::string_view word) {
    // MaxConn of Tcp may be -1.
    const auto value = base::parse_int(word);
    const auto large = value ? std::nullopt : base::parse_uint(word);
    if (!value && !large)
      return complaints_.add(path, number, fmt::format("a number for {}", shown(name)), word);
    sink.add(family, value ? static_cast<double>(*value) : static_cast<double>(*large));
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
  std::vector<Heading> netstat_headings_;
  std::vector<Heading> snmp_headings_;
  NameTable<Field> fields_{kMaxFields};  // of snmp6
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
