// What people and their pipelines tell of: a deployment, a configuration that was rolled out, work
// on the network. The host cannot see these by itself, and they explain what is found afterwards.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <deque>
#include <memory>
#include <mutex>

#include "nexus/base/text.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/requests.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {
namespace {

constexpr std::size_t kLongestKind = 32;
constexpr std::size_t kLongestText = 400;
constexpr Millis kOldest = std::chrono::hours(24);
constexpr Millis kAhead = std::chrono::minutes(1);  // of clocks that differ

/// Each event is a record of the audit log that is on disk before the answer, on the thread that
/// approvals wait for too.
class EventRate {
 public:
  static constexpr std::size_t kMost = 60;
  static constexpr Millis kIn{60'000};

  /// Unset: it may be told, and is counted. Else how long to wait.
  std::optional<Millis> wait(SteadyTime now) {
    const std::lock_guard guard(mutex_);
    while (!told_.empty() && now - told_.front() >= kIn) told_.pop_front();
    if (told_.size() >= kMost) return std::chrono::ceil<Millis>(kIn - (now - told_.front()));
    told_.push_back(now);
    return std::nullopt;
  }

 private:
  std::mutex mutex_;
  std::deque<SteadyTime> told_;
};

Status check_kind(std::string_view kind) {
  const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || c == '_' || c == '-'; };
  if (kind.empty() || kind.size() > kLongestKind || !std::ranges::all_of(kind, fits))
    return fail(Errc::kInvalidArgument,
                "kind: expected at most {} of the characters a-z _ -, such as \"deploy\"",
                kLongestKind);
  if (const auto* known = analyze::find_change_kind(kind); known && !known->may_be_told)
    return fail(Errc::kInvalidArgument,
                "kind: \"{}\" is told by the agent itself; expected another, such as \"deploy\"",
                kind);
  return {};
}

Status check_line(std::string_view key, std::string_view text) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (text.empty() || text.size() > kLongestText || std::ranges::any_of(text, is_control))
    return fail(Errc::kInvalidArgument,
                "{}: expected one line of 1 to {} bytes, without control characters", key,
                kLongestText);
  return {};
}

Result<WallTime> parse_moment(const std::string& text, WallTime now) {
  if (text.empty()) return now;
  const auto at = base::parse_time(text);
  if (!at || *at > now + kAhead || *at + kOldest < now)
    return fail(Errc::kInvalidArgument,
                "time: expected one of the last day, such as \"{}\"; now where it is left out",
                base::to_rfc3339(now));
  return *at;
}

Result<analyze::Change> parse_event(const Request& request, WallTime now) {
  const auto object = parse_object(request, {"kind", "subject", "text", "time"});
  if (!object) return std::unexpected(object.error());
  auto kind = string_member(*object, "kind", "deploy");
  auto subject = string_member(*object, "subject", "host");
  auto text = string_member(*object, "text");
  auto moment = string_member(*object, "time");
  for (const auto* one : {&kind, &subject, &text, &moment}) {
    if (!*one) return std::unexpected(one->error());
  }
  if (auto good = check_kind(*kind); !good) return std::unexpected(good.error());
  if (auto good = check_line("subject", *subject); !good) return std::unexpected(good.error());
  if (auto good = check_line("text", *text); !good) return std::unexpected(good.error());
  const auto at = parse_moment(*moment, now);
  if (!at) return std::unexpected(at.error());
  return analyze::Change{*at, *std::move(kind), *std::move(subject), *std::move(text)};
}

Response note_event(const Rooms& rooms, EventRate& rate, const Request& request) {
  auto told = parse_event(request, rooms.clock.wall());
  if (!told) return error(told.error());
  if (const auto wait = rate.wait(rooms.clock.steady())) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(*wait).count();
    auto refused = error(429, "too_many_events",
                         fmt::format("at most {} events a minute are taken; try again in {} s",
                                     EventRate::kMost, seconds));
    refused.headers.emplace_back("Retry-After", std::to_string(seconds));
    return refused;
  }
  const auto details =
      json_ns::serialize(json_ns::object{{"kind", told->kind}, {"text", told->text}});
  // In a message at night it must not look like what the agent has seen.
  told->text += fmt::format(" (told by {})", request.caller.who);
  return audited(rooms, request, "events.note", told->subject, details, [&] {
    rooms.book.note(*told);
    return to_response({{"time", time(told->time)},
                        {"kind", told->kind},
                        {"subject", told->subject},
                        {"text", told->text}},
                       201);
  });
}

}  // namespace

void add_events(std::vector<Route>& routes, const SharedRooms& rooms) {
  routes.push_back({Method::kPost, "/operations/events", config::Role::kOperator, Runs::kBlocking,
                    [rooms, rate = std::make_shared<EventRate>()](const Request& r) {
                      return note_event(*rooms, *rate, r);
                    },
                    "Tells of a deployment, or of what else may explain findings"});
}

}  // namespace nexus::serve
