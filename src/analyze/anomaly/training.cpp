// Learning what is usual of each series, and growing forests for rows that only they can judge:
// when, on what, and who keeps one when memory is short.
#include <fmt/format.h>

#include <algorithm>

#include "analyze/anomaly/detector_impl.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze {
namespace {

constexpr std::size_t kTrainPerTick = 4;    // the window of each is read
constexpr std::size_t kGrownPerTick = 16;   // each takes some milliseconds
constexpr Millis kForestKept{10 * 60'000};  // after it was needed last

/// What there was of a series in the window. Gaps are no reason to forget what came before them: a
/// collector that was late once, or a restart, would cost hours of warm-up.
TrainingRows rows_of(const knowledge::Column& column) {
  TrainingRows out;
  FeatureTracker tracker;
  std::int64_t first = 0;
  std::int64_t last = 0;
  for (std::size_t i = 0; i < column.size(); ++i) {
    if (knowledge::is_stale_marker(column.values[i])) continue;
    const auto row = tracker.push(column.times[i], column.values[i]);
    if (!row) continue;
    if (out.rows.empty()) first = column.times[i];
    last = column.times[i];
    out.rows.push_back(*row);
  }
  out.span = Millis(last - first);
  return out;
}

}  // namespace

void AnomalyDetector::Impl::train_due() {
  const SteadyTime now = clock.steady();
  std::vector<Known::iterator> due;
  for (auto place = known.begin(); place != known.end(); ++place) {
    if (place->second.pass == pass && place->second.next_training <= now) due.push_back(place);
    if (now - place->second.asked >= kForestKept) release(place->second);
  }
  const std::size_t count = std::min(due.size(), kTrainPerTick);
  std::partial_sort(due.begin(), due.begin() + static_cast<std::ptrdiff_t>(count), due.end(),
                    [](const auto& a, const auto& b) {
                      return std::pair(a->second.next_training, a->first) <
                             std::pair(b->second.next_training, b->first);
                    });
  for (std::size_t i = 0; i < count; ++i) train(due[i]->first, due[i]->second);
}

/// The rows of the window that ends then.
TrainingRows AnomalyDetector::Impl::window_of(knowledge::SeriesId id, WallTime end_time) {
  const std::int64_t end = base::to_unix_millis(end_time);
  column.clear();
  data.read(id, end - section.window.count(), end, column);
  return rows_of(column);
}

void AnomalyDetector::Impl::train(knowledge::SeriesId id, Watched& watched) {
  const WallTime wall = clock.wall();
  const TrainingRows training = window_of(id, wall);
  if (training.rows.size() < std::max<std::size_t>(section.minimum_samples, 2)) {
    wait_for_samples(watched, training.rows.size(), training.span);
    return;
  }
  // While the window fills up the range of what is normal still grows: train again each time it is
  // a sixth longer.
  watched.next_training = clock.steady() + std::clamp(training.span / 6, section.interval,
                                                      std::max(section.interval, section.retrain));
  auto model = Model::learn(training.rows);
  drop_model(watched);
  statuses_changed = true;
  if (!model) {
    watched.waiting = model.error().message();
    return;
  }
  watched.model = std::move(*model);
  watched.trained = wall;
  trainings.add();
}

/// The forest of the window the model was learnt from: the same whenever it is grown.
bool AnomalyDetector::Impl::grow(knowledge::SeriesId id, Watched& watched) {
  if (grown >= kGrownPerTick) return false;
  // What did not fit is not grown again in vain.
  if (watched.refused_bytes > 0 && !make_room(watched.rank, watched.refused_bytes)) {
    go_without(watched, watched.refused_bytes);
    return false;
  }
  ++grown;
  const TrainingRows training = window_of(id, watched.trained);
  if (training.rows.size() < 2) {  // gone from the history meanwhile
    watched.next_training = clock.steady();
    return false;
  }
  const Status done =
      watched.model->grow(training.rows, {.trees = section.trees,
                                          .subsample = section.subsample,
                                          .contamination = section.contamination,
                                          .seed = base::fnv1a(to_string(data.labels(id)))});
  if (!done) {
    drop_model(watched);
    watched.waiting = done.error().message();
    return false;
  }
  const std::size_t size = watched.model->bytes();
  if (!make_room(watched.rank, size)) {
    watched.model->drop_forest();
    go_without(watched, size);
    return false;
  }
  bytes += size;
  forests.add();
  if (watched.refused_bytes > 0) statuses_changed = true;
  watched.refused_bytes = 0;
  watched.waiting.clear();
  return true;
}

/// Nobody asks for the forest any more.
void AnomalyDetector::Impl::release(Watched& watched) {
  if (watched.refused_bytes > 0) {
    watched.refused_bytes = 0;
    watched.waiting.clear();
    statuses_changed = true;
  }
  drop_forest(watched);
}

bool AnomalyDetector::Impl::make_room(const Rank& rank, std::size_t need) {
  if (bytes + need <= most_bytes) return true;
  std::vector<Watched*> lower;
  std::size_t theirs = 0;
  for (auto& [id, other] : known) {
    if (!other.model || !other.model->has_forest() || other.rank <= rank) continue;
    lower.push_back(&other);
    theirs += other.model->bytes();
  }
  if (bytes - theirs + need > most_bytes) return false;
  std::ranges::sort(lower, std::greater(), &Watched::rank);
  for (Watched* other : lower) {
    if (bytes + need <= most_bytes) break;
    const std::size_t size = other->model->bytes();
    drop_forest(*other);
    go_without(*other, size);
  }
  return true;
}

void AnomalyDetector::Impl::go_without(Watched& watched, std::size_t need) {
  constexpr std::string_view kNoRoom =
      "no room: the forests that are needed now have reached their limit";
  watched.refused_bytes = std::max<std::size_t>(need, 1);
  if (watched.waiting != kNoRoom) {
    watched.waiting = kNoRoom;
    statuses_changed = true;
    dropped.add();
  }
  if (complained) return;
  complained = true;
  log::warning("analyze",
               "no room for all isolation forests that are needed now: {} bytes are the most; "
               "series without one are named in /health/anomalies",
               most_bytes);
}

void AnomalyDetector::Impl::drop_forest(Watched& watched) {
  if (!watched.model) return;
  bytes -= watched.model->bytes();
  watched.model->drop_forest();
}

void AnomalyDetector::Impl::drop_model(Watched& watched) {
  if (!watched.model) return;
  drop_forest(watched);
  watched.model.reset();
  watched.refused_bytes = 0;
  watched.waiting.clear();
  statuses_changed = true;
}

void AnomalyDetector::Impl::wait_for_samples(Watched& watched, std::size_t have, Millis span) {
  const std::size_t want = std::max<std::size_t>(section.minimum_samples, 2);
  // Often enough that the number shown is fresh, seldom enough to cost nothing.
  const Millis spacing = have > 1 ? span / static_cast<std::int64_t>(have - 1) : section.interval;
  const Millis missing = spacing * static_cast<std::int64_t>(want - have);
  watched.next_training = clock.steady() + std::clamp(missing, section.interval,
                                                      std::max(section.interval, Millis(30'000)));
  drop_model(watched);
  auto waiting = fmt::format("warming up: {} of {} samples", have, want);
  statuses_changed = statuses_changed || waiting != watched.waiting;
  watched.waiting = std::move(waiting);
}

}  // namespace nexus::analyze
