// logind: sessions by seat, type and class, from systemd-logind.
#include <algorithm>
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/tcp_sockets.hpp"
#include "nexus/drivers/logind.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_logind_sessions", MetricType::kGauge,
                     "Number of sessions registered in logind."},
};

// What is none of these is "other", so that the series are always the same.
constexpr std::array<std::string_view, 7> kTypes = {"other",   "unspecified", "tty", "x11",
                                                    "wayland", "mir",         "web"};
constexpr std::array<std::string_view, 5> kClasses = {"other", "user", "greeter", "lock-screen",
                                                      "background"};

template <std::size_t N>
std::string_view known_or_other(std::string_view value,
                                const std::array<std::string_view, N>& known) {
  return std::ranges::find(known, value) == known.end() ? known[0] : value;
}

class LogindCollector final : public Collector {
 public:
  explicit LogindCollector(const CollectorContext& context)
      : is_live_(is_live(context.roots)), families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    if (!is_live_) return fail(Errc::kNotFound, "these are not the sessions of this host");
    auto logins = drivers::read_logins();
    if (!logins && logins.error().code() == Errc::kTimeout) return propagate(std::move(logins));
    if (!logins) return fail(Errc::kNotFound, "{}", logins.error().message());
    logins->seats.emplace_back();  // that of remote sessions
    for (const std::string_view remote : {"true", "false"}) {
      for (const std::string_view type : kTypes) {
        for (const std::string_view kind : kClasses) {
          for (const std::string& seat : logins->seats) {
            const auto count = std::ranges::count_if(logins->sessions, [&](const auto& session) {
              return session.seat == seat && session.remote == (remote == "true") &&
                     known_or_other(session.type, kTypes) == type &&
                     known_or_other(session.kind, kClasses) == kind;
            });
            sink.add(families_[0],
                     {{"class", kind}, {"remote", remote}, {"seat", seat}, {"type", type}},
                     static_cast<double>(count));
          }
        }
      }
    }
    return {};
  }

 private:
  const bool is_live_;
  const std::array<FamilyId, kMetrics.size()> families_;
};

}  // namespace

const CollectorDescriptor kLogindCollector = {
    .name = "logind",
    .help = "Sessions by seat, type and class.",
    .enabled_by_default = false,
    .default_interval = Millis(15'000),  // several calls over D-Bus a session
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<LogindCollector>(context);
    },
};

}  // namespace nexus::monitor
