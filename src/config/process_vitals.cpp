// The vitals of processes, control groups, connections and text files; default_vitals.cpp has the
// rules for them.
#include <fmt/format.h>

#include <array>
#include <string>

#include "config/shipped_vital.hpp"

namespace nexus::config {
namespace {

// What may leak, of a group of processes, and from where on it is looked at. "(other)" is whoever
// is not shown just then.
struct Leakable {
  std::string_view metric;
  std::string_view labels;  // besides job and groupname, each with a comma in front
  std::string_view at_least;
};
constexpr Leakable kMemory = {"namedprocess_namegroup_memory_bytes", R"(,memtype="resident")",
                              "67108864"};
constexpr Leakable kOpenFiles = {"namedprocess_namegroup_open_filedesc", "", "200"};

/// `function` over five minutes, so long ago: "" for now.
std::string over(std::string_view function, const Leakable& what, std::string_view ago) {
  return fmt::format(R"x({}({}{{job="",groupname!="(other)"{}}}[5m]{}{}))x", function, what.metric,
                     what.labels, ago.empty() ? "" : " offset ", ago);
}
std::string growth(const Leakable& what, std::string_view ago) {
  return fmt::format("({} / {} - 1)", over("min_over_time", what, ""),
                     over("max_over_time", what, ago));
}
std::string large(const Leakable& what) {
  return fmt::format(R"({}{{job=""{}}} > {})", what.metric, what.labels, what.at_least);
}
std::string growing(const Leakable& what) {
  return fmt::format("{} and {}", growth(what, "1h"), large(what));
}
/// In each of three times two hours the least is above the most of before.
std::string leaking(const Leakable& what) {
  const auto above = [&](std::string_view now, std::string_view before) {
    return fmt::format("{} > {}", over("min_over_time", what, now),
                       over("max_over_time", what, before));
  };
  return fmt::format("{} and {} and {} and {} and {}", growth(what, "6h"), above("", "2h"),
                     above("2h", "4h"), above("4h", "6h"), large(what));
}

const std::array<std::string, 4>& leak_expressions() {
  static const std::array<std::string, 4> all = {growing(kMemory), growing(kOpenFiles),
                                                 leaking(kMemory), leaking(kOpenFiles)};
  return all;
}

// The four about growth say within hours that something grows fast, by comparing with one and six
// hours ago. Slow leaks below a daily pattern are for the finder of leaks (analyze/forecast/leak),
// which needs days; analyze/README.md says why both are there.
const auto& shipped() {
  static const auto all = std::to_array<ShippedVital>({
      {.name = "process_group_memory_growth_ratio",
       .expr = leak_expressions()[0],
       .unit = "ratio",
       .help = "Leak candidates: by how much the least memory of a group of processes in these "
               "five minutes is above the most of an hour ago",
       .warning = 0.2,
       .critical = 1,
       .minimum = -1,
       .pending = 30min,
       .forecast = false,
       .anomaly = false},
      {.name = "process_group_open_files_growth_ratio",
       .expr = leak_expressions()[1],
       .unit = "ratio",
       .help = "Leak candidates: the same for open files",
       .warning = 0.2,
       .critical = 1,
       .minimum = -1,
       .pending = 30min,
       .forecast = false,
       .anomaly = false},
      {.name = "process_group_memory_leak_ratio",
       .expr = leak_expressions()[2],
       .unit = "ratio",
       .help =
           "Leak candidates: growth of a group's memory in six hours, when in each of the three "
           "times two hours the least is above the most of before",
       .warning = 0.2,
       .critical = 1,
       .pending = 30min,
       .forecast = false,
       .anomaly = false},
      {.name = "process_group_open_files_leak_ratio",
       .expr = leak_expressions()[3],
       .unit = "ratio",
       .help = "Leak candidates: the same for open files",
       .warning = 0.2,
       .critical = 1,
       .pending = 30min,
       .forecast = false,
       .anomaly = false},
      {.name = "process_open_files_percent",
       .expr = R"(100 * max(namedprocess_namegroup_worst_fd_ratio{job=""}))",
       .unit = "percent",
       .help = "Open files of the process that is nearest to its limit",
       .warning = 80,
       .critical = 95,
       .maximum = 100,
       .pending = 1min},
      {.name = "short_lived_processes_per_second",
       .expr = R"(rate(nexus_process_short_lived_total{job=""}[1m]))",
       .unit = "per_second",
       .help = "Processes that end within a second of their begin",
       .warning = 100,
       .critical = 1000,
       .pending = 5min,
       .forecast = false},
      {.name = "execs_per_second",
       .expr = R"(rate(nexus_process_execs_total{job=""}[1m]))",
       .unit = "per_second",
       .help = "Programs executed",
       .forecast = false},
      {.name = "container_cpu_throttled_percent",
       .expr =
           R"(100 * rate(container_cpu_cfs_throttled_periods_total{job=""}[1m]) / (rate(container_cpu_cfs_periods_total{job=""}[1m]) > 0))",
       .unit = "percent",
       .help = "Share of the periods in which a control group used up its processor quota",
       .warning = 25,
       .critical = 75,
       .maximum = 100,
       .pending = 5min,
       .forecast = false,
       .anomaly = false},
      {.name = "container_memory_limit_percent",
       .expr =
           R"(100 * container_memory_working_set_bytes{job=""} / (container_spec_memory_limit_bytes{job=""} > 0))",
       .unit = "percent",
       .help = "Working set of a control group, of its memory limit",
       .warning = 85,
       .critical = 95,
       .maximum = 100,
       .pending = 1min,
       .forecast = false,
       .anomaly = false},
      {.name = "container_threads_limit_percent",
       .expr = R"(100 * container_threads{job=""} / (container_threads_max{job=""} > 0))",
       .unit = "percent",
       .help = "Threads of a control group, of its limit",
       .warning = 80,
       .critical = 95,
       .maximum = 100,
       .pending = 1min,
       .forecast = false,
       .anomaly = false},
      {.name = "container_oom_kills",
       .expr = R"(sum(increase(container_oom_events_total{job="",id!="/"}[10m])))",
       .unit = "count",
       .help = "Processes of control groups killed for lack of memory in ten minutes",
       .warning = 0.5,
       .critical = 4.5,
       .forecast = false,
       .anomaly = false},
      {.name = "listener_queue_percent",
       .expr = R"(100 * nexus_listener_queue{job=""} / (nexus_listener_backlog{job=""} > 0))",
       .unit = "percent",
       .help = "Connections that wait to be accepted, of those that may wait",
       .warning = 50,
       .critical = 90,
       .maximum = 100,
       .pending = 30s,
       .forecast = false,
       .anomaly = false},
      {.name = "tcp_round_trip_seconds",
       .expr = R"(max(nexus_tcp_round_trip_seconds{job=""}))",
       .unit = "seconds",
       .help = "Mean round-trip time of the connections that leave the host",
       .warning = 0.5,
       .critical = 2,
       .pending = 5min,
       .forecast = false},
      {.name = "textfile_errors",
       .expr = R"(sum(nexus_textfile_error{job=""}) + sum(nexus_textfile_stale{job=""}))",
       .unit = "count",
       .help = "Files of metrics that cannot be read or are too old",
       .warning = 0.5,
       .critical = 4.5,
       .pending = 5min,
       .forecast = false,
       .anomaly = false},
  });
  return all;
}

}  // namespace

std::span<const ShippedVital> process_vitals() noexcept {
  return shipped();
}

}  // namespace nexus::config
