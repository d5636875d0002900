// What collectors saw of processes and connections as a whole, straight from their last snapshot.
#include "nexus/monitor/observed.hpp"

#include <algorithm>

#include "nexus/base/text.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {
namespace {

constexpr std::int64_t kDefaultLimit = 50;
constexpr std::int64_t kMostEntries = 10'000;

json_ns::object workload(const std::shared_ptr<const monitor::Workload>& workload) {
  if (!workload) return {};
  json_ns::object out;
  const auto add = [&](std::string_view key, const std::string& value) {
    if (!value.empty()) out[key] = value;
  };
  add("cgroup", workload->cgroup);
  add("unit", workload->unit);
  add("user_unit", workload->user_unit);
  add("slice", workload->slice);
  add("container", workload->container);
  add("runtime", workload->runtime);
  add("pod_uid", workload->pod_uid);
  add("qos", workload->qos);
  return out;
}

json_ns::object process(const monitor::ObservedProcess& seen) {
  return {{"pid", seen.pid},
          {"parent", seen.parent},
          {"name", base::sanitize_utf8(seen.name())},
          {"state", std::string(1, seen.state)},
          {"kernel_thread", seen.kernel},
          {"uid", seen.uid},
          {"threads", seen.threads},
          {"open_files", seen.open_files},
          {"started", time(base::from_unix_millis(static_cast<std::int64_t>(seen.started * 1000)))},
          {"cpu_ratio", number(seen.cpu)},
          {"resident_bytes", seen.resident},
          {"swapped_bytes", seen.swapped},
          {"io_bytes_per_second", number(seen.io)},
          {"workload", workload(seen.workload)}};
}

using Order = bool (*)(const monitor::ObservedProcess*, const monitor::ObservedProcess*);

Result<Order> order_of(const Request& request) {
  const std::string_view by = request.param("sort").value_or("cpu");
  using Seen = const monitor::ObservedProcess*;
  if (by == "cpu") return [](Seen a, Seen b) { return a->cpu > b->cpu; };
  if (by == "memory") return [](Seen a, Seen b) { return a->resident > b->resident; };
  if (by == "io") return [](Seen a, Seen b) { return a->io > b->io; };
  if (by == "pid") return [](Seen a, Seen b) { return a->pid < b->pid; };
  return fail(Errc::kInvalidArgument, "sort: expected cpu, memory, io or pid, not \"{}\"", by);
}

Response processes(const Rooms& rooms, const Request& request) {
  const auto limit = integer_param(request, "limit", kDefaultLimit, 1, kMostEntries);
  if (!limit) return error(limit.error());
  const auto order = order_of(request);
  if (!order) return error(order.error());
  const auto table = rooms.observed.processes();
  if (!table)
    return error(503, "unavailable",
                 "no process was looked at yet; is the collector process_groups on?");
  std::vector<const monitor::ObservedProcess*> sorted;
  sorted.reserve(table->processes.size());
  for (const auto& seen : table->processes) sorted.push_back(&seen);
  std::ranges::stable_sort(sorted, *order);
  json_ns::array out;
  for (const auto* seen : sorted) {
    if (std::ssize(out) >= *limit) break;
    out.push_back(process(*seen));
  }
  return to_response({{"timestamp", time(table->time)},
                      {"count", table->processes.size()},
                      {"left_out", table->left_out},
                      {"processes", std::move(out)}});
}

json_ns::object owner(const monitor::SocketOwner& holder) {
  json_ns::object out;
  if (holder.pid != 0) out["pid"] = holder.pid;
  if (!holder.name.empty()) out["name"] = base::sanitize_utf8(holder.name);
  if (!holder.unit.empty()) out["unit"] = holder.unit;
  if (!holder.container.empty()) out["container"] = holder.container;
  return out;
}

Response connections(const Rooms& rooms, const Request& request) {
  const auto limit = integer_param(request, "limit", kDefaultLimit, 1, kMostEntries);
  if (!limit) return error(limit.error());
  const auto map = rooms.observed.connections();
  if (!map)
    return error(503, "unavailable",
                 "no connection was looked at yet; is the collector connections on?");
  json_ns::array listeners;
  for (const auto& listener : map->listeners) {
    if (std::ssize(listeners) >= *limit) break;
    listeners.push_back(json_ns::object{{"address", listener.address},
                                        {"port", listener.port},
                                        {"queue", listener.queue},
                                        {"backlog", listener.backlog},
                                        {"owner", owner(listener.owner)}});
  }
  json_ns::array conversations;
  for (const auto& edge : map->conversations) {
    if (std::ssize(conversations) >= *limit) break;
    const bool inbound = edge.direction == monitor::Conversation::Direction::kInbound;
    conversations.push_back(json_ns::object{{"direction", inbound ? "inbound" : "outbound"},
                                            {"local", owner(edge.local)},
                                            {"remote", owner(edge.remote)},
                                            {"peer", edge.peer},
                                            {"port", edge.port},
                                            {"connections", edge.connections},
                                            {"retransmits", edge.retransmits},
                                            {"round_trip_seconds", number(edge.round_trip)}});
  }
  return to_response({{"timestamp", time(map->time)},
                      {"left_out", map->left_out},
                      {"listeners", std::move(listeners)},
                      {"conversations", std::move(conversations)}});
}

}  // namespace

void add_observed(std::vector<Route>& routes, const SharedRooms& rooms) {
  using config::Role;
  routes.push_back({Method::kGet, "/health/processes", Role::kViewer, Runs::kSnapshot,
                    [rooms](const Request& r) { return processes(*rooms, r); },
                    "Processes: what they use, and what unit or container they are of"});
  routes.push_back({Method::kGet, "/health/connections", Role::kViewer, Runs::kSnapshot,
                    [rooms](const Request& r) { return connections(*rooms, r); },
                    "Who listens on what, and which process talks to whom"});
}

}  // namespace nexus::serve
