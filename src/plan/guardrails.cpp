#include "plan/guardrails.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "nexus/base/text.hpp"

namespace nexus::plan {
namespace {

std::string clock_time(WallTime time) {
  return base::to_rfc3339(time).substr(0, 19) + "Z";
}

Ruling skip(std::string_view code, std::string reason) {
  return {.verdict = Verdict::kSkip, .code = code, .reason = "skipped: " + std::move(reason)};
}

std::optional<Ruling> hard_stops(const Situation& s) {
  if (s.stopped) return skip("stopped", *s.stopped);
  if (s.mode == config::Mode::kObserve) {
    return skip("observe", "mode is observe, findings only");
  }
  if (s.protected_reason) return skip("protected", *s.protected_reason);
  if (s.asker == Asker::kRemedy && s.maintenance) return skip("maintenance", *s.maintenance);
  if (s.asker == Asker::kRemedy && s.held) return skip("held", *s.held);
  if (s.asker == Asker::kRemedy && s.suspect) return skip("too_many_unhealthy", *s.suspect);
  if (s.name_unknown) {
    return skip(
        "name_unknown",
        fmt::format("it is not known yet which unit {} is; systemd is asked", *s.name_unknown));
  }
  if (s.asker == Asker::kRemedy && s.not_seen) return skip("not_seen", *s.not_seen);
  if (s.asker == Asker::kRemedy && s.missing_data) return skip("missing_data", *s.missing_data);
  if (s.dependency_down)
    return skip("dependency", fmt::format("{} depends on {}", s.target, *s.dependency_down));
  if (s.in_flight) {
    return skip("in_flight",
                fmt::format("another action for {} is proposed or under way", s.target));
  }
  return std::nullopt;
}

Ruling give_up(const Situation& s, const Rails& rails) {
  auto ruling =
      skip("breaker_open",
           fmt::format("gave up on {} after {} attempts of {}; it stays so until it is reset{}",
                       s.target, s.pair.attempts, s.remedy,
                       rails.limits.breaker_open_for.count() > 0
                           ? " or " + base::format_duration(open_for(s.pair.openings + 1, rails)) +
                                 " have passed"
                           : ""));
  ruling.opens_breaker = true;
  return ruling;
}

std::optional<Ruling> repeated_trouble(const Situation& s, const Rails& rails) {
  if (s.pair.open) return skip("breaker_open", s.pair.why);
  if (s.asker == Asker::kApproval) return std::nullopt;  // an attempt already, cooling itself down
  const auto until = s.pair.cooldown_until;
  const bool cooling = s.now < until;
  const bool came_back = s.fired > s.pair.last_end;
  if (s.pair.attempts >= rails.max_attempts && (!cooling || came_back)) return give_up(s, rails);
  if (cooling) {
    const auto unanswered =
        s.pair.unanswered > 0 ? fmt::format(", never begun: {}", s.pair.unanswered) : std::string();
    return skip("cooldown",
                fmt::format("cool-down until {}, attempts so far: {} of {}{}", clock_time(until),
                            s.pair.attempts, rails.max_attempts, unanswered));
  }
  return std::nullopt;
}

std::optional<Ruling> blast_radius(const Situation& s, const Rails& rails) {
  const auto& limits = rails.limits;
  if (s.other_targets >= limits.max_targets_at_once) {
    return skip(
        "blast_radius",
        fmt::format("{} other targets are being acted on (max_targets_at_once)", s.other_targets));
  }
  const auto share =
      static_cast<std::size_t>(limits.max_share_at_once * static_cast<double>(s.watched));
  if (s.watched > 0 && s.other_targets > 0 && s.other_targets + 1 > share) {
    return skip("blast_radius",
                fmt::format("{} other targets are being acted on, of {} watched services "
                            "(max_share_at_once)",
                            s.other_targets, s.watched));
  }
  return std::nullopt;
}

Verdict verdict_of(const Situation& s) {
  return s.mode == config::Mode::kPropose && s.asker == Asker::kRemedy ? Verdict::kPropose
                                                                       : Verdict::kAct;
}

}  // namespace

std::string_view to_string(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::kAct:
      return "acted";
    case Verdict::kPropose:
      return "proposed";
    case Verdict::kSkip:
      return "skipped";
  }
  return "skipped";
}

Ruling judge(const Situation& s, const Rails& rails) {
  if (auto ruling = hard_stops(s)) return *ruling;
  if (s.asker != Asker::kPerson) {
    if (auto ruling = repeated_trouble(s, rails)) return *ruling;
  }
  const auto verdict = verdict_of(s);
  if (auto ruling = over_rate(s, rails, verdict)) return *ruling;
  if (auto ruling = blast_radius(s, rails)) return *ruling;
  return {.verdict = verdict, .code = "ok"};
}

std::optional<Ruling> over_rate(const Situation& s, const Rails& rails, Verdict verdict) {
  const auto& limits = rails.limits;
  // A proposal acts when it is approved, and counts then; what floods people is its own rate.
  if (verdict == Verdict::kPropose && s.hour_proposals >= limits.max_proposals_per_hour) {
    return skip("rate",
                fmt::format("{} proposals within the last hour (max_proposals_per_hour), until {}",
                            s.hour_proposals, clock_time(s.proposals_free)));
  }
  if (s.hour_total >= limits.max_actions_per_hour) {
    return skip("rate",
                fmt::format("{} actions within the last hour (max_actions_per_hour), until {}",
                            s.hour_total, clock_time(s.total_frees)));
  }
  if (s.hour_target >= limits.max_actions_per_hour_per_target) {
    return skip("rate", fmt::format("{} actions on {} within the last hour "
                                    "(max_actions_per_hour_per_target), until {}",
                                    s.hour_target, s.target, clock_time(s.target_frees)));
  }
  return std::nullopt;
}

Millis open_for(std::uint32_t openings, const Rails& rails) {
  const auto first = rails.limits.breaker_open_for;
  if (first.count() == 0) return first;
  // What gives up again and again is left alone for longer and longer, a day at most.
  constexpr Millis kDay{24LL * 3'600'000};
  const double doublings = static_cast<double>(std::min(openings > 0 ? openings - 1 : 0, 30U));
  const double grown = static_cast<double>(first.count()) * std::exp2(doublings);
  const auto ceiling = static_cast<double>(std::max(first, kDay).count());
  return Millis(static_cast<std::int64_t>(std::min(grown, ceiling)));
}

Millis cooldown_after(std::uint32_t attempts, const Rails& rails, double random) {
  const double doublings = static_cast<double>(std::min(attempts > 0 ? attempts - 1 : 0, 30U));
  const double grown = static_cast<double>(rails.cooldown.count()) * std::exp2(doublings);
  // A remedy may ask for a first cool-down that is longer than the general ceiling.
  const auto ceiling =
      static_cast<double>(std::max(rails.cooldown, rails.limits.cooldown_max).count());
  return Millis(
      static_cast<std::int64_t>(std::min(grown, ceiling) * (1 + rails.limits.jitter * random)));
}

namespace {

/// A wall clock that was set back must not make a cool-down of seconds one of hours.
bool clamp_future(PairState& pair, const Rails& rails, WallTime now) {
  const auto before = std::tuple(pair.cooldown_until, pair.last_end, pair.opened);
  pair.cooldown_until = std::min(pair.cooldown_until, now + cooldown_after(32, rails, 1.0));
  pair.last_end = std::min(pair.last_end, now);
  pair.opened = std::min(pair.opened, now);
  return before != std::tuple(pair.cooldown_until, pair.last_end, pair.opened);
}

}  // namespace

bool settle(PairState& pair, WallTime last_trouble, const Rails& rails, WallTime now) {
  const bool clamped = clamp_future(pair, rails, now);
  if (pair.open) {
    const auto after = open_for(pair.openings, rails);
    if (after.count() == 0 || now < pair.opened + after) return clamped;
    pair.open = false;
    pair.why.clear();
    pair.attempts = rails.max_attempts > 0 ? rails.max_attempts - 1 : 0;
    pair.cooldown_until = now;
    return true;
  }
  const auto quiet_since = std::max(pair.last_end, std::min(last_trouble, now));
  if (pair.fresh() || now < quiet_since + rails.limits.reset_after) return clamped;
  pair.attempts = 0;
  pair.unanswered = 0;
  pair.openings = 0;
  pair.cooldown_until = now;
  return true;
}

}  // namespace nexus::plan
