// Learning what is usual of each series, and asking forests of rows that only they can judge: when,
// and on what.
#include <fmt/format.h>

#include <algorithm>

#include "analyze/anomaly/detector_impl.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze {
namespace {

constexpr std::size_t kTrainPerTick = 4;   // the window of each is read
constexpr std::size_t kAskedPerTick = 16;  // as well, and a forest takes some milliseconds at first
constexpr Millis kLately{10 * 60'000};

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
  watched.model.reset();
  watched.waiting.clear();
  statuses_changed = true;
  if (!model) {
    watched.waiting = model.error().message();
    return;
  }
  watched.model = std::move(*model);
  watched.trained = wall;
  watched.span = training.span;
  trainings.add();
}

std::span<const float> AnomalyDetector::Impl::training_of(knowledge::SeriesId id,
                                                          const Watched& watched) {
  const SteadyTime now = clock.steady();
  std::erase_if(lately, [&](const Lately& one) { return now - one.used > kLately; });
  auto place = std::ranges::find(lately, id, &Lately::id);
  if (place == lately.end() && lately.size() < kAskedPerTick)
    place = lately.insert(lately.end(), Lately{});
  if (place == lately.end()) place = std::ranges::min_element(lately, {}, &Lately::used);
  if (place->id != id || place->trained != watched.trained || place->training.empty()) {
    place->id = id;
    place->trained = watched.trained;
    place->training = watched.model->training(window_of(id, watched.trained).rows);
  }
  place->used = now;
  return place->training;
}

/// The forest of the window the model was learnt from: the same whenever it is asked. Where many
/// ask at once they take turns; who was strange lately goes on before others begin, so that some
/// are told soon rather than all of them late.
std::optional<double> AnomalyDetector::Impl::ask_forest(knowledge::SeriesId id, Watched& watched,
                                                        const FeatureRow& row) {
  ++asked;
  const bool goes_on = watched.strange_ticks > 0 && watched.strange_ticks < kStrangeTicks;
  const std::uint64_t turns = (asked_before + kAskedPerTick - 1) / kAskedPerTick;
  const std::size_t most = kAskedPerTick - (goes_on ? 0 : std::min(unsure_before, kAskedPerTick));
  if ((goes_on ? answered : answered_others) >= most ||
      (!goes_on && pass - watched.answered < turns))
    return std::nullopt;
  ++(goes_on ? answered : answered_others);
  watched.answered = pass;
  const auto training = training_of(id, watched);
  if (training.size() < 2 * kFeatures) {  // gone from the history meanwhile
    watched.next_training = clock.steady();
    return std::nullopt;
  }
  const std::size_t before = watched.model->measurements();
  auto score = watched.model->score(row, training,
                                    {.trees = section.trees,
                                     .subsample = section.subsample,
                                     .contamination = section.contamination,
                                     .seed = base::fnv1a(to_string(data.labels(id)))});
  if (!score) {
    watched.model.reset();
    watched.waiting = score.error().message();
    statuses_changed = true;
    return std::nullopt;
  }
  forests.add(static_cast<double>(watched.model->measurements() - before));
  answers.add();
  return *score;
}

void AnomalyDetector::Impl::wait_for_samples(Watched& watched, std::size_t have, Millis span) {
  const std::size_t want = std::max<std::size_t>(section.minimum_samples, 2);
  // Often enough that the number shown is fresh, seldom enough to cost nothing.
  const Millis spacing = have > 1 ? span / static_cast<std::int64_t>(have - 1) : section.interval;
  const Millis missing = spacing * static_cast<std::int64_t>(want - have);
  watched.next_training = clock.steady() + std::clamp(missing, section.interval,
                                                      std::max(section.interval, Millis(30'000)));
  auto text = fmt::format("warming up: {} of {} samples", have, want);
  statuses_changed = statuses_changed || watched.model || text != watched.waiting;
  watched.model.reset();
  watched.waiting = std::move(text);
}

}  // namespace nexus::analyze
