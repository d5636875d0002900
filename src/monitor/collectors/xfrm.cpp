// xfrm: errors of IPsec's transformations, from /proc/net/xfrm_stat (Documentation/networking/
// xfrm_proc.rst).
#include <algorithm>
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/named_lines.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

struct Field {
  std::string_view name;
  MetricDescriptor metric;
};
constexpr std::array kFields = {
    Field{"XfrmInError",
          {"node_xfrm_in_error_packets_total", MetricType::kCounter,
           "All errors not matched by other"}},
    Field{"XfrmInBufferError",
          {"node_xfrm_in_buffer_error_packets_total", MetricType::kCounter, "No buffer is left"}},
    Field{"XfrmInHdrError",
          {"node_xfrm_in_hdr_error_packets_total", MetricType::kCounter, "Header error"}},
    Field{"XfrmInNoStates",
          {"node_xfrm_in_no_states_packets_total", MetricType::kCounter,
           "No state is found i.e. Either inbound SPI, address, or IPsec protocol at SA is wrong"}},
    Field{"XfrmInStateProtoError",
          {"node_xfrm_in_state_proto_error_packets_total", MetricType::kCounter,
           "Transformation protocol specific error e.g. SA key is wrong"}},
    Field{"XfrmInStateModeError",
          {"node_xfrm_in_state_mode_error_packets_total", MetricType::kCounter,
           "Transformation mode specific error"}},
    Field{"XfrmInStateSeqError",
          {"node_xfrm_in_state_seq_error_packets_total", MetricType::kCounter,
           "Sequence error i.e. Sequence number is out of window"}},
    Field{"XfrmInStateExpired",
          {"node_xfrm_in_state_expired_packets_total", MetricType::kCounter, "State is expired"}},
    Field{"XfrmInStateMismatch",
          {"node_xfrm_in_state_mismatch_packets_total", MetricType::kCounter,
           "State has mismatch option e.g. UDP encapsulation type is mismatch"}},
    Field{"XfrmInStateInvalid",
          {"node_xfrm_in_state_invalid_packets_total", MetricType::kCounter, "State is invalid"}},
    Field{"XfrmInTmplMismatch",
          {"node_xfrm_in_tmpl_mismatch_packets_total", MetricType::kCounter,
           "No matching template for states e.g. Inbound SAs are correct but SP rule is wrong"}},
    Field{"XfrmInNoPols",
          {"node_xfrm_in_no_pols_packets_total", MetricType::kCounter,
           "No policy is found for states e.g. Inbound SAs are correct but no SP is found"}},
    Field{"XfrmInPolBlock",
          {"node_xfrm_in_pol_block_packets_total", MetricType::kCounter, "Policy discards"}},
    Field{"XfrmInPolError",
          {"node_xfrm_in_pol_error_packets_total", MetricType::kCounter, "Policy error"}},
    Field{"XfrmOutError",
          {"node_xfrm_out_error_packets_total", MetricType::kCounter,
           "All errors which is not matched others"}},
    Field{"XfrmOutBundleGenError",
          {"node_xfrm_out_bundle_gen_error_packets_total", MetricType::kCounter,
           "Bundle generation error"}},
    Field{"XfrmOutBundleCheckError",
          {"node_xfrm_out_bundle_check_error_packets_total", MetricType::kCounter,
           "Bundle check error"}},
    Field{"XfrmOutNoStates",
          {"node_xfrm_out_no_states_packets_total", MetricType::kCounter, "No state is found"}},
    Field{"XfrmOutStateProtoError",
          {"node_xfrm_out_state_proto_error_packets_total", MetricType::kCounter,
           "Transformation protocol specific error"}},
    Field{"XfrmOutStateModeError",
          {"node_xfrm_out_state_mode_error_packets_total", MetricType::kCounter,
           "Transformation mode specific error"}},
    Field{"XfrmOutStateSeqError",
          {"node_xfrm_out_state_seq_error_packets_total", MetricType::kCounter,
           "Sequence error i.e. Sequence number overflow"}},
    Field{"XfrmOutStateExpired",
          {"node_xfrm_out_state_expired_packets_total", MetricType::kCounter, "State is expired"}},
    Field{"XfrmOutPolBlock",
          {"node_xfrm_out_pol_block_packets_total", MetricType::kCounter, "Policy discards"}},
    Field{"XfrmOutPolDead",
          {"node_xfrm_out_pol_dead_packets_total", MetricType::kCounter, "Policy is dead"}},
    Field{"XfrmOutPolError",
          {"node_xfrm_out_pol_error_packets_total", MetricType::kCounter, "Policy error"}},
    Field{"XfrmFwdHdrError",
          {"node_xfrm_fwd_hdr_error_packets_total", MetricType::kCounter,
           "Forward routing of a packet is not allowed"}},
    Field{"XfrmOutStateInvalid",
          {"node_xfrm_out_state_invalid_packets_total", MetricType::kCounter,
           "State is invalid, perhaps expired"}},
    Field{"XfrmAcquireError",
          {"node_xfrm_acquire_error_packets_total", MetricType::kCounter,
           "State has not been fully acquired before use"}},
};

constexpr auto kMetrics = [] {
  std::array<MetricDescriptor, kFields.size()> all{};
  for (std::size_t i = 0; i < kFields.size(); ++i) all[i] = kFields[i].metric;
  return all;
}();

constexpr std::size_t kMaxLines = 256;

class XfrmCollector final : public Collector {
 public:
  explicit XfrmCollector(const CollectorContext& context)
      : path_(context.roots.proc("net/xfrm_stat")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    return read_named_lines(
        buffer_, path_, host::Record::kWholeFile, "counters", names_, complaints_,
        [&](std::size_t number, std::string_view line) { add(sink, number, line); });
  }

 private:
  void add(Sink& sink, std::size_t number, std::string_view line) {
    std::string_view rest = line;
    const std::string_view name = next_word(rest);
    const auto value = base::parse_uint(next_word(rest));
    if (!value) return complaints_.add(path_, number, "NAME NUMBER", line);
    // What a newer kernel counts besides has no name yet.
    const std::size_t* const field = names_.next(name, [](std::string_view given) {
      return static_cast<std::size_t>(std::ranges::find(kFields, given, &Field::name) -
                                      kFields.begin());
    });
    if (field == nullptr) return complaints_.add(path_, number, "each counter once", name);
    if (*field < kFields.size()) sink.add(families_[*field], static_cast<double>(*value));
  }

  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  NameTable<std::size_t> names_{kMaxLines};
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kXfrmCollector = {
    .name = "xfrm",
    .help = "Errors of IPsec transformations.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<XfrmCollector>(context);
    },
};

}  // namespace nexus::monitor
