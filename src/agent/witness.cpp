#include "agent/witness.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cmath>
#include <deque>

#include "agent/container_watcher.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/service_name.hpp"
#include "nexus/drivers/docker_logs.hpp"
#include "nexus/drivers/journal.hpp"
#include "nexus/host/file.hpp"
#include "nexus/knowledge/promql.hpp"

namespace nexus::agent {
namespace {

namespace json = boost::json;
namespace promql = knowledge::promql;

constexpr std::size_t kProcesses = 8;   // by memory, and as many by processor
constexpr std::size_t kMessages = 20;   // of the unit or its containers, the last ones
constexpr std::size_t kLongest = 400;   // bytes of a message
constexpr std::size_t kLookBack = 200;  // messages that are read for the last ones
constexpr std::size_t kContainers = 5;  // of a service of Compose
constexpr std::size_t kListed = 1000;
constexpr Millis kEngineLimit{2000};
constexpr std::size_t kSeries = 6;  // of one expression
constexpr std::int64_t kWindow = 600'000;
constexpr std::int64_t kStep = 15'000;

constexpr std::array kVitals{"cpu_usage_percent", "memory_usage_percent", "swap_usage_percent",
                             "disk_usage_percent"};
constexpr std::array kPressures{"cpu", "memory", "io"};

json::array processes_of(const monitor::ProcessTable& table) {
  std::vector<const monitor::ObservedProcess*> all;
  for (const auto& process : table.processes) {
    if (!process.kernel) all.push_back(&process);
  }
  std::vector<const monitor::ObservedProcess*> chosen;
  const auto choose = [&](auto worth) {
    const auto count = std::min(kProcesses, all.size());
    std::ranges::partial_sort(all, all.begin() + static_cast<std::ptrdiff_t>(count),
                              std::ranges::greater(), worth);
    for (std::size_t i = 0; i < count; ++i) {
      if (std::ranges::find(chosen, all[i]) == chosen.end()) chosen.push_back(all[i]);
    }
  };
  choose([](const auto* process) { return process->resident; });
  choose([](const auto* process) { return process->cpu; });
  json::array out;
  for (const auto* process : chosen) {
    out.push_back({{"pid", process->pid},
                   {"name", base::sanitize_utf8(process->name())},
                   {"state", std::string(1, process->state)},
                   {"cpu", std::round(process->cpu * 1000) / 1000},
                   {"resident_bytes", process->resident},
                   {"unit", process->workload != nullptr ? process->workload->unit : ""}});
  }
  return out;
}

json::object pressure_of(const host::Roots& roots) {
  json::object out;
  for (const auto* what : kPressures) {
    const auto text = host::read_file(roots.proc(std::string("pressure/") + what));
    if (text) out[what] = std::string(base::trim(*text));
  }
  return out;
}

/// The last messages; why there are none, when they cannot be read.
json::value messages_of(const std::string& unit) {
  auto reader = drivers::JournalReader::last(unit, kLookBack);
  if (!reader) return json::object{{"error", reader.error().message()}};
  std::deque<std::string> lines;
  const auto read = (*reader)->read(kLookBack, kLongest, [&](std::string_view message) {
    lines.push_back(base::sanitize_utf8(message));
    if (lines.size() > kMessages) lines.pop_front();
  });
  if (!read) return json::object{{"error", read.error().message()}};
  json::array out;
  for (auto& line : lines) out.push_back(json::value(std::move(line)));
  return out;
}

json::value messages_of(std::string_view name, const Result<std::string>& socket, Clock& clock) {
  if (!socket) return json::object{{"error", socket.error().message()}};
  const drivers::Docker engine(clock, *socket);
  const auto deadline = clock.steady() + kEngineLimit;
  const auto listed = engine.containers(deadline, kListed);
  if (!listed) return json::object{{"error", listed.error().message()}};
  std::vector<const drivers::DockerContainer*> named;
  for (const auto& container : *listed) {
    if (named.size() < kContainers && is_named(container, name)) named.push_back(&container);
  }
  json::object out;
  for (const auto* container : named) {
    // As much in all as of a unit: the vitals of the time before have to find room too.
    auto lines =
        drivers::last_lines(engine, container->id, kMessages / named.size(), kLongest, deadline);
    if (lines) {
      out[container->name] = json::array(lines->begin(), lines->end());
    } else {
      out[container->name] = json::object{{"error", lines.error().message()}};
    }
  }
  return out;
}

void add_graph(json::array& out, const std::string& expression, const knowledge::Queryable& data,
               std::int64_t now) {
  auto query = promql::Query::parse(expression);
  if (!query) return;
  promql::Limits limits;
  limits.max_samples = 1'000'000;
  auto matrix = query->range(data, now - kWindow, now, kStep, limits);
  if (!matrix) return;
  for (std::size_t i = 0; i < std::min(kSeries, matrix->size()); ++i) {
    const auto& series = (*matrix)[i];
    json::array values;
    for (std::size_t k = 0; k < series.samples.size(); ++k) {
      const double value = series.samples.values[k];
      values.push_back(json::array{series.samples.times[k] / 1000,
                                   std::isfinite(value) ? json::value(value) : nullptr});
    }
    out.push_back({{"expr", expression},
                   {"series", to_string(series.labels)},
                   {"values", std::move(values)}});
  }
}

}  // namespace

std::string Witness::testify(const plan::Action& action) const {
  const auto now = clock_.wall();
  json::object out{{"time", base::to_rfc3339(now)}, {"pressure", pressure_of(roots_)}};
  if (const auto table = observed_.processes()) out["processes"] = processes_of(*table);
  const auto& about = plan::account_of(action);
  if (about.ends_with(".service")) out["messages"] = messages_of(about);
  if (const auto named = config::parse_service_name(about); named.kind == "docker")
    out["messages"] = messages_of(named.name, find_engine_(), clock_);
  json::array graph;
  if (action.verify) add_graph(graph, action.verify->expr.text, data_, base::to_unix_millis(now));
  for (const auto* vital : kVitals) add_graph(graph, vital, data_, base::to_unix_millis(now));
  out["graph"] = std::move(graph);
  for (const auto* least : {"graph", "messages", "processes"}) {
    auto text = json::serialize(out);
    if (text.size() <= kMostBytes) return text;
    out[least] = "left out: too long";
  }
  return json::serialize(out);
}

}  // namespace nexus::agent
