#include "publish/silences.hpp"

#include <algorithm>
#include <span>
#include <tuple>

#include "nexus/base/id.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"

namespace nexus::publish {
namespace {

constexpr std::size_t kLongestText = 4096;

/// Whether every alert would match, also one without any of the labels that are named.
bool says_nothing(const Matchers& matchers) {
  return std::ranges::all_of(matchers,
                             [](const knowledge::Matcher& one) { return one.matches(""); });
}

Status check(const SilenceRequest& request, WallTime now) {
  if (request.matchers.empty())
    return fail(Errc::kInvalidArgument, "matchers: expected at least one");
  if (says_nothing(request.matchers))
    return fail(Errc::kInvalidArgument,
                "matchers: expected at least one that does not match an absent label");
  if (request.ends <= request.starts)
    return fail(Errc::kInvalidArgument, "endsAt: expected a time after startsAt");
  if (request.ends <= now) return fail(Errc::kInvalidArgument, "endsAt: expected a time to come");
  if (request.author.size() > kLongestText || request.comment.size() > kLongestText)
    return fail(Errc::kInvalidArgument, "comment: expected at most {} bytes", kLongestText);
  return {};
}

}  // namespace

Silences::Silences(Clock& clock, PublishStore store, knowledge::SelfMetrics& self,
                   std::vector<Silence> loaded)
    : clock_(clock),
      store_(store),
      made_(std::move(loaded)),
      active_(self.gauge("nexus_silences_active", "Silences that are active")) {}

void Silences::set_file(std::vector<Silence> of_the_file) {
  const std::lock_guard guard(mutex_);
  file_ = std::move(of_the_file);
}

Result<Silence> Silences::put(SilenceRequest request) {
  const WallTime now = clock_.wall();
  request.starts = std::max(request.starts, WallTime{});
  if (auto good = check(request, now); !good) return propagate(std::move(good));
  const std::lock_guard guard(mutex_);
  Silence* old = nullptr;
  if (!request.id.empty()) {
    const auto found = std::ranges::find(made_, request.id, &Silence::id);
    if (found == made_.end())
      return fail(Errc::kNotFound, "there is no silence \"{}\"",
                  base::sanitize_utf8(request.id.substr(0, 64)));
    old = &*found;
  }
  Silence fresh{base::make_id(now),
                std::move(request.matchers),
                request.starts,
                request.ends,
                base::sanitize_utf8(request.author),
                base::sanitize_utf8(request.comment),
                now};
  // An active one may be made shorter, longer or explained; what it silences stays, so that the
  // record of what was silenced when is true. Anything else is another silence in its place.
  const bool stays = old != nullptr && old->state(now) != "expired" &&
                     old->matchers == fresh.matchers &&
                     (old->state(now) == "pending" || fresh.starts == old->starts);
  if (stays) {
    fresh.id = old->id;
    if (auto kept = store_.put(std::span(&fresh, 1)); !kept)
      return propagate(std::move(kept), "silence");
    *old = fresh;
    return fresh;
  }
  const auto count =
      std::ranges::count_if(made_, [&](const Silence& one) { return one.state(now) != "expired"; });
  if (count >= static_cast<std::ptrdiff_t>(Publisher::kMostSilences) ||
      made_.size() >= 10 * Publisher::kMostSilences)
    return fail(Errc::kExhausted, "there are {} silences already", count);
  if (fresh.starts < now) fresh.starts = now;
  std::vector<Silence> both = {fresh};
  if (old != nullptr && old->state(now) != "expired") {
    both.push_back(*old);
    both.back().ends = now;
    both.back().starts = std::min(both.back().starts, now);
  }
  if (auto kept = store_.put(both); !kept) return propagate(std::move(kept), "silence");
  if (both.size() > 1) *old = both.back();
  made_.push_back(fresh);
  return fresh;
}

Status Silences::expire(std::string_view id) {
  const WallTime now = clock_.wall();
  const std::lock_guard guard(mutex_);
  if (std::ranges::find(file_, id, &Silence::id) != file_.end())
    return fail(Errc::kConflict, "silence \"{}\" stands in the configuration; take it away there",
                id);
  const auto found = std::ranges::find(made_, id, &Silence::id);
  if (found == made_.end())
    return fail(Errc::kNotFound, "there is no silence \"{}\"",
                base::sanitize_utf8(id.substr(0, 64)));
  if (found->state(now) == "expired")
    return fail(Errc::kConflict, "silence \"{}\" is over already", found->id);
  Silence ended = *found;
  ended.ends = now;
  ended.starts = std::min(ended.starts, now);
  ended.updated = now;
  if (auto kept = store_.put(std::span(&ended, 1)); !kept)
    return propagate(std::move(kept), "silence");
  *found = std::move(ended);
  return {};
}

std::vector<Silence> Silences::all() const {
  std::vector<Silence> out;
  {
    const std::lock_guard guard(mutex_);
    out = file_;
    out.insert(out.end(), made_.begin(), made_.end());
  }
  const WallTime now = clock_.wall();
  const auto rank = [&](const Silence& one) {
    const auto state = one.state(now);
    return std::tuple(state == "active"    ? 0
                      : state == "pending" ? 1
                                           : 2,
                      -base::to_unix_millis(one.starts));
  };
  std::ranges::stable_sort(out, {}, rank);
  return out;
}

std::vector<Matchers> Silences::active() const {
  std::vector<Matchers> out;
  const WallTime now = clock_.wall();
  const std::lock_guard guard(mutex_);
  for (const auto* list : {&file_, &made_}) {
    for (const auto& one : *list) {
      if (one.state(now) == "active") out.push_back(one.matchers);
    }
  }
  active_.set(static_cast<double>(out.size()));
  return out;
}

void Silences::tidy() {
  const WallTime before = clock_.wall() - Publisher::kKeepExpired;
  {
    const std::lock_guard guard(mutex_);
    if (std::erase_if(made_, [&](const Silence& one) { return one.ends < before; }) == 0) return;
  }
  if (auto forgotten = store_.forget_silences(before); !forgotten)
    log::warning("publish", "old silences stay: {}", forgotten.error().message());
}

}  // namespace nexus::publish
