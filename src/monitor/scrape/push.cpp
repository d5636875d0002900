#include "monitor/scrape/push.hpp"

#include <algorithm>

namespace nexus::monitor {
namespace {

// How often what is pushed seldom is said again: well within PromQL's look-back.
constexpr Millis kRepeat{60'000};

}  // namespace

Pushes::Pushes(const SourcesContext& context, Outbox& outbox)
    : context_(context),
      outbox_(outbox),
      pushes_(context.self.counter("nexus_push_pushes_total", "Pushes that were taken.")),
      samples_(context.self.counter("nexus_push_samples_total", "Samples taken from pushes.")),
      invalid_(context.self.counter("nexus_push_invalid_lines_total",
                                    "Lines of pushed text that could not be read.")),
      dropped_(context.self.counter(
          "nexus_push_dropped_samples_total",
          "Pushed samples over max_series, doubled, in the future or too old.")),
      refused_(context.self.counter("nexus_push_refused_total",
                                    "Pushes that were refused: no sample, or too many groups.")),
      count_(context.self.gauge("nexus_push_groups", "Groups of pushed series.")),
      loop_(context.clock, "push", [this] { return turn(); }) {}

void Pushes::configure(const config::PushSection& section, Millis retention) {
  {
    const std::lock_guard guard(mutex_);
    section_ = section;
    retention_ = retention;
  }
  loop_.wake();
}

Result<std::shared_ptr<Pushes::Group>> Pushes::group(const LabelList& labels) {
  const knowledge::Labels name(labels);
  const std::lock_guard guard(mutex_);
  auto& found = groups_[name];
  if (found != nullptr) return found;
  if (groups_.size() > section_.max_groups) {
    groups_.erase(name);
    return fail(Errc::kExhausted, "there are [push] max_groups = {} groups already",
                section_.max_groups);
  }
  found = std::make_shared<Group>();
  found->intake = std::make_unique<Intake>(context_.registry, context_.history, outbox_,
                                           IntakeRules{.target = labels,
                                                       .replaces = false,
                                                       .budget = section_.max_series,
                                                       .retention = retention_});
  found->status.kind = "push";
  found->status.name = name.get("job");
  found->status.instance = name.get("instance");
  found->status.labels = name;
  found->status.timeout = section_.stale_after;
  count_.set(static_cast<double>(groups_.size()));
  return found;
}

Result<PushResult> Pushes::push(const PushRequest& request) {
  auto found = group(request.group);
  while (found) {
    Group& group = **found;
    const std::lock_guard guard(group.mutex);
    if (!group.gone) {
      Intake& intake = *group.intake;
      const auto now = context_.clock.wall();
      intake.begin(knowledge::exposition_format(request.content_type), base::to_unix_millis(now));
      intake.feed(request.text);
      if (auto finished = intake.finish(); !finished) {
        refused_.add();
        return fail(Errc::kInvalidArgument, "{}", finished.error().message());
      }
      intake.commit();
      const auto& counts = intake.counts();
      const auto dropped = counts.dropped + counts.doubled + counts.untimely;
      pushes_.add();
      samples_.add(static_cast<double>(counts.taken));
      invalid_.add(static_cast<double>(counts.invalid));
      dropped_.add(static_cast<double>(dropped));
      group.status.health = "up";
      group.status.error = counts.first_mistake;
      group.status.last = now;
      group.status.samples = counts.taken;
      group.status.series = intake.live();
      group.status.dropped += dropped;
      return PushResult{counts.taken, counts.invalid, dropped, counts.first_mistake};
    }
    found = this->group(request.group);
  }
  refused_.add();
  return std::unexpected(found.error());
}

std::vector<SourceStatus> Pushes::status() const {
  std::vector<std::shared_ptr<Group>> groups;
  {
    const std::lock_guard guard(mutex_);
    for (const auto& [name, group] : groups_) groups.push_back(group);
  }
  std::vector<SourceStatus> out;
  for (const auto& group : groups) {
    const std::lock_guard guard(group->mutex);
    out.push_back(group->status);
  }
  return out;
}

/// Ends what was not pushed for long, and repeats the rest.
bool Pushes::expire(Group& group, Millis stale_after) {
  const std::lock_guard guard(group.mutex);
  const auto now = base::to_unix_millis(context_.clock.wall());
  const auto left = group.intake->expire(now - stale_after.count(), now);
  group.status.series = left;
  group.gone = left == 0 && now - base::to_unix_millis(group.status.last) > stale_after.count();
  return group.gone;
}

SteadyTime Pushes::turn() {
  Millis stale_after{};
  std::vector<std::pair<knowledge::Labels, std::shared_ptr<Group>>> groups;
  {
    const std::lock_guard guard(mutex_);
    stale_after = section_.stale_after;
    groups.assign(groups_.begin(), groups_.end());
  }
  for (const auto& [name, group] : groups) {
    const bool gone = expire(*group, stale_after);
    const std::lock_guard guard(mutex_);
    if (gone) groups_.erase(name);
    count_.set(static_cast<double>(groups_.size()));
  }
  return context_.clock.steady() + std::clamp<Millis>(stale_after / 5, Millis(200), kRepeat);
}

}  // namespace nexus::monitor
