// Refusals, which the next tick writes; holds; the shadow ledger.
#include <algorithm>

#include "nexus/base/id.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "plan/planner_impl.hpp"

namespace nexus::plan {
namespace {

constexpr std::size_t kMostTargets = 100;
constexpr std::size_t kLongestText = 1000;

Status check(const HoldRequest& request) {
  if (request.targets.empty() || request.targets.size() > kMostTargets)
    return fail(Errc::kInvalidArgument, "targets: expected 1 to {} globs such as \"web*\", got {}",
                kMostTargets, request.targets.size());
  for (const auto& glob : request.targets) {
    const bool plain =
        std::ranges::none_of(glob, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
    if (glob.empty() || !plain || glob.size() > kLongestText)
      return fail(Errc::kInvalidArgument, "targets: expected a glob such as \"web*\", got \"{}\"",
                  base::sanitize_utf8(glob.substr(0, 80)));
  }
  if (request.remedy.size() > kLongestText || request.reason.size() > kLongestText)
    return fail(Errc::kInvalidArgument, "remedy and reason: expected at most {} bytes",
                kLongestText);
  if (request.lasts < Millis(1000) || request.lasts > HoldRequest::kLongest)
    return fail(Errc::kInvalidArgument, "expected a hold for 1s to {}, got {}",
                base::format_duration(HoldRequest::kLongest), base::format_duration(request.lasts));
  return {};
}

}  // namespace

void Planner::Impl::note_skip(const Action& action, std::string_view code, std::string reason) {
  if (!action.remedy.empty()) {
    const std::lock_guard guard(mutex);
    const auto known = last_reason.find(BothNames::View(action.cause.fingerprint, action.remedy));
    if (known != last_reason.end() && known->second == code) return;
    last_reason.insert_or_assign({action.cause.fingerprint, action.remedy}, std::string(code));
  }
  record_skip(action, code, std::move(reason));
}

void Planner::Impl::record_skip(const Action& action, std::string_view code, std::string reason) {
  auto decision = decision_of(action, to_string(Verdict::kSkip), code, std::move(reason));
  count(decision.verdict, code);
  log::info("planner", "{} {} {}", action.type, action.target, decision.reason);
  bool dropped = false;
  {
    const std::lock_guard guard(mutex);
    dropped = refused.size() >= kMaxRefused;
    if (dropped) refused.pop_front();
    refused.push_back(std::move(decision));
  }
  if (!dropped) return;
  self.counter("nexus_decisions_unwritten_total",
               "Refusals that were not recorded: too many at once, or the database failed.")
      .add();
}

std::vector<Decision> Planner::Impl::take_refused() {
  const std::lock_guard guard(mutex);
  std::vector<Decision> out(std::make_move_iterator(refused.begin()),
                            std::make_move_iterator(refused.end()));
  refused.clear();
  return out;
}

void Planner::Impl::write_records() {
  const auto decisions = take_refused();
  if (auto ok = store->record(decisions); !ok) {
    log::error("planner", "{}", ok.error().message());
    self.counter("nexus_decisions_unwritten_total",
                 "Refusals that were not recorded: too many at once, or the database failed.")
        .add(static_cast<double>(decisions.size()));
  }
  ShadowLedger::Changes changes;
  {
    const std::lock_guard guard(mutex);
    changes = shadow.take();
  }
  if (auto ok = ShadowLedger::write(store->db(), changes); !ok)
    log::error("planner", "{}", ok.error().message());
}

void Planner::Impl::count(std::string_view verdict, std::string_view code) {
  self.counter("nexus_decisions_total",
               "Decisions about findings and requests, once per change of the reason.",
               {{"verdict", verdict}, {"reason", code}})
      .add();
}

void Planner::Impl::follow_shadow(const Case& c, Situation situation, const Rails& rails) {
  const auto& action = c.action;
  const PairKey key{action.remedy, account_of(action)};
  situation.mode = config::Mode::kAct;
  bool fresh = false;
  {
    const std::lock_guard guard(mutex);
    if (shadow.has(action.cause.fingerprint, action.remedy)) return;
    shadow_rails.add_to(situation, key, rails);
    const auto ruling = judge(situation, rails);
    if (ruling.opens_breaker) shadow_rails.give_up(key, situation.now);
    if (ruling.verdict != Verdict::kAct) return;
    shadow_rails.act(key, rails, situation.now);
    fresh = shadow.begin({.id = 0,
                          .remedy = action.remedy,
                          .action_type = action.type,
                          .target = action.target,
                          .finding = action.cause.finding,
                          .fingerprint = action.cause.fingerprint,
                          .time = situation.now,
                          .resolved = std::nullopt,
                          .lost = false});
  }
  if (!fresh) return;
  self.counter("nexus_shadow_actions_total",
               "Actions that would have been taken, were it not for the mode observe.",
               {{"type", action.type}})
      .add();
}

Result<std::vector<ShadowSummary>> Planner::report() {
  impl_->write_records();
  auto entries =
      ShadowLedger::list(impl_->store->db(), {}, static_cast<std::size_t>(ShadowLedger::kKeep));
  if (!entries) return propagate(std::move(entries));
  std::map<std::string, std::optional<double>> usual;
  for (const auto& entry : *entries) {
    if (usual.contains(entry.action_type)) continue;
    auto seconds = impl_->sink.usual_seconds(entry.action_type);
    if (!seconds) return propagate(std::move(seconds));
    usual.emplace(entry.action_type, *seconds);
  }
  return summarize(*entries, impl_->clock.wall(), usual);
}

Result<std::vector<ShadowEntry>> Planner::shadow(std::string_view remedy, std::size_t limit) {
  impl_->write_records();
  return ShadowLedger::list(impl_->store->db(), remedy, std::min<std::size_t>(limit, 1000));
}

Result<Hold> Planner::hold(const HoldRequest& request) {
  if (auto ok = check(request); !ok) return propagate(std::move(ok));
  impl_->follow_clock();
  const auto now = impl_->clock.wall();
  Hold hold{.id = base::make_id(now),
            .targets = request.targets,
            .remedy = request.remedy,
            .who = request.who,
            .reason = request.reason,
            .created = now,
            .until = now + request.lasts};
  {
    const std::lock_guard guard(impl_->mutex);
    impl_->holds.forget_expired(now);
    if (impl_->holds.in_force(now).size() >= Holds::kMost)
      return fail(Errc::kExhausted, "{} holds are in force already", Holds::kMost);
  }
  if (auto ok = Holds::save(impl_->store->db(), hold); !ok) return propagate(std::move(ok));
  {
    const std::lock_guard guard(impl_->mutex);
    impl_->holds.add(hold);
  }
  log::info("planner", "hold {} by {} until {}", hold.id, hold.who, base::to_rfc3339(hold.until));
  return hold;
}

Result<Hold> Planner::release(std::string_view id) {
  std::optional<Hold> gone;
  {
    const std::lock_guard guard(impl_->mutex);
    impl_->holds.forget_expired(impl_->clock.wall());
    gone = impl_->holds.take(id);
  }
  if (!gone) return fail(Errc::kNotFound, "no hold {} is in force", id);
  if (auto ok = Holds::erase(impl_->store->db(), gone->id); !ok) {
    const std::lock_guard guard(impl_->mutex);
    impl_->holds.add(*std::move(gone));  // it holds on, as the database says
    return propagate(std::move(ok));
  }
  log::info("planner", "hold {} was ended", gone->id);
  impl_->reconsider();
  return *std::move(gone);
}

std::vector<Hold> Planner::holds() const {
  const auto now = impl_->clock.wall();
  const std::lock_guard guard(impl_->mutex);
  return impl_->holds.in_force(now);
}

}  // namespace nexus::plan
