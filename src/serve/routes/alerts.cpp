// Findings: all that pass the filters, or one with what was decided about it.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "nexus/base/text.hpp"
#include "nexus/publish/alert.hpp"
#include "nexus/publish/matchers.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/requests.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {
namespace {

constexpr std::int64_t kMostAlerts = 10'000;
constexpr std::size_t kDecisions = 50;

/// What is asked for; each part that is unset lets everything pass.
struct Filter {
  std::optional<analyze::FindingState> state;
  std::optional<config::Severity> severity;
  std::optional<analyze::FindingKind> kind;
  std::optional<std::string> name;
  std::optional<std::string> subject;
  std::optional<std::string> cause;
  std::optional<bool> flapping;
  std::optional<bool> missing;
  publish::Matchers labels;  // as routes see them: alertname, severity and kind among them
  std::size_t limit = 0;

  /// An incident has its cause for its first member.
  [[nodiscard]] static bool is_explained_by(std::string_view cause, const analyze::Finding& f) {
    return f.kind != analyze::FindingKind::kIncident && analyze::record_of(f).cause == cause;
  }
  [[nodiscard]] bool passes(const analyze::Finding& f) const {
    return (!state || *state == f.state) && (!severity || *severity == f.severity) &&
           (!kind || *kind == f.kind) && (!name || *name == f.name) &&
           (!subject || *subject == f.subject) && (!flapping || *flapping == f.flapping) &&
           (!missing || *missing == f.missing) && (!cause || is_explained_by(*cause, f)) &&
           (labels.empty() || publish::all_match(labels, publish::to_alert(f, {}).labels));
  }
};

template <typename Enum, std::size_t N>
Status choose(const Request& request, std::string_view key, const std::array<Enum, N>& all,
              std::optional<Enum>& into) {
  const auto text = request.param(key);
  if (!text) return {};
  std::string names;
  for (const Enum one : all) {
    if (to_string(one) == *text) {
      into = one;
      return {};
    }
    names += (names.empty() ? "" : ", ") + std::string(to_string(one));
  }
  return fail(Errc::kInvalidArgument, "{}: expected one of {}, got \"{}\"", key, names,
              base::sanitize_utf8(*text));
}

Status choose(const Request& request, std::string_view key, std::optional<bool>& into) {
  const auto text = request.param(key);
  if (!text) return {};
  if (*text != "true" && *text != "false")
    return fail(Errc::kInvalidArgument, "{}: expected true or false, got \"{}\"", key,
                base::sanitize_utf8(*text));
  into = *text == "true";
  return {};
}

Result<Filter> filter_of(const Request& request) {
  using enum analyze::FindingState;
  using enum config::Severity;
  Filter out;
  const std::array<Status, 5> read = {
      choose(request, "state", std::array{kPending, kFiring, kResolved}, out.state),
      choose(request, "severity", std::array{kInfo, kWarning, kCritical}, out.severity),
      choose(request, "kind", analyze::kFindingKinds, out.kind),
      choose(request, "flapping", out.flapping), choose(request, "missing", out.missing)};
  for (const Status& one : read) {
    if (!one) return std::unexpected(one.error());
  }
  const auto text = [&](std::string_view key, std::optional<std::string>& into) {
    if (const auto value = request.param(key)) into = std::string(*value);
  };
  text("name", out.name);
  text("subject", out.subject);
  text("cause", out.cause);
  auto labels = filters_of(request);
  if (!labels) return propagate(std::move(labels));
  out.labels = std::move(*labels);
  const auto limit = integer_param(request, "limit", kMostAlerts, 1, kMostAlerts);
  if (!limit) return std::unexpected(limit.error());
  out.limit = static_cast<std::size_t>(*limit);
  return out;
}

Response listed(const Rooms& rooms, const Request& request, std::string_view name,
                std::optional<analyze::FindingKind> kind = std::nullopt) {
  auto filter = filter_of(request);
  if (!filter) return error(filter.error());
  if (kind && filter->kind && *filter->kind != *kind) {
    return error(400, "invalid_argument",
                 fmt::format("kind: expected {}, or none", to_string(*kind)));
  }
  if (kind) filter->kind = kind;
  json_ns::array out;
  std::size_t matching = 0;
  const auto findings = rooms.book.snapshot();
  for (const auto& f : *findings) {
    if (!filter->passes(f)) continue;
    if (++matching <= filter->limit) out.push_back(finding(f));
  }
  return to_response({{name, std::move(out)},
                      {"matching", matching},
                      {"timestamp", base::to_rfc3339(rooms.clock.wall())}});
}

Response one(const Rooms& rooms, const Request& request) {
  const auto& print = request.captures.at(0);
  const auto found = rooms.book.find(print);
  if (!found) return error(404, "not_found", "no finding of that fingerprint");
  const auto decided = rooms.planner.decisions_about(print, kDecisions);
  if (!decided) return error(decided.error());
  auto out = finding(*found);
  json_ns::array decisions;
  for (const auto& each : *decided) decisions.push_back(decision(each));
  out["decisions"] = std::move(decisions);
  return to_response(out);
}

}  // namespace

void add_alerts(std::vector<Route>& routes, const SharedRooms& rooms) {
  routes.push_back({Method::kGet, "/health/alerts", config::Role::kViewer, Runs::kSnapshot,
                    [rooms](const Request& r) { return listed(*rooms, r, "alerts"); }, "Findings"});
  const auto add = [&](std::string path, std::string_view name, analyze::FindingKind kind,
                       std::string_view help) {
    routes.push_back(
        {Method::kGet, std::move(path), config::Role::kViewer, Runs::kSnapshot,
         [rooms, name, kind](const Request& r) { return listed(*rooms, r, name, kind); }, help});
  };
  add("/operations/optimizations", "optimizations", analyze::FindingKind::kOptimization,
      "Tunings that are proposed, were kept, or were taken back");
  add("/operations/drift", "drift", analyze::FindingKind::kDrift,
      "What is in force and not what was configured, or set");
  routes.push_back({Method::kGet, "/health/alerts/{fingerprint}", config::Role::kViewer,
                    Runs::kBlocking, [rooms](const Request& r) { return one(*rooms, r); },
                    "One finding, and what was decided about it"});
}

}  // namespace nexus::serve
