// How the experts and the combination did: errors, weights, intervals.
#include <algorithm>
#include <cmath>
#include <limits>

#include "analyze/forecast/experts/state.hpp"

namespace nexus::analyze {
namespace {

constexpr std::uint16_t kFewest = 4;      // verified forecasts before an expert may speak
constexpr float kNoWeight = 1e30F;        // relative error of those that may not
constexpr double kMeanToSpread = 1.2533;  // standard deviation of a normal by its mean |x|
constexpr std::array<float, 4> kTails{0.1F, 0.1F, 0.025F, 0.025F};
constexpr std::array<double, 4> kNormal{-1.2816, 1.2816, -1.96, 1.96};
constexpr double kTolerated = 0.1;        // of the value, without a natural range
constexpr std::uint32_t kHoursFrom = 96;  // rows a day: with fewer an hour has too few errors
constexpr float kLeastTail = 0.001F;
constexpr float kMostTail = 0.4F;

float speed(float count, double memory) {
  return std::max(static_cast<float>(1 / memory), 1 / count);
}

/// A model errs most while it knows least, and a plain mean of a young one's errors says more of
/// what it was than of what it is. So each error counts by a power of its number: this is by how
/// much the next one counts for more than the `count`th.
double growth(float count) {
  return kTuning.young / (static_cast<double>(count) + kTuning.young);
}
/// And this is the share of the newest of `count` in their mean.
double newest(float count) {
  return (1 + kTuning.young) / (static_cast<double>(count) + kTuning.young);
}

}  // namespace

/// The forecasts made for the row that now is `z`.
void Combination::State::verify(float z) {
  const float step = std::abs(z - value_at(0));
  const bool young = known < 64;
  for (std::size_t j = 0; j < leads; ++j) {
    verify_lead(j, z);
    if (young || rows % leads == j) refresh(j);
  }
  scale += std::max(0.005, 1.0 / static_cast<double>(known)) * (static_cast<double>(step) - scale);
}

void Combination::State::verify_lead(std::size_t j, float z) {
  const std::uint32_t k = shape.leads[j];
  if (rows < k) return;
  const Waiting& was = waiting[waiting_at[j] + rows % k];
  const RowState then = row_at(k - 1).row();
  Opinions said = opinions(then, k, 1);
  said[kRidge] = was.mean + lengthen(was.ridge);
  said[kSeasonRidge] = was.mean + lengthen(was.season_ridge);
  judge(j, said, z);
  std::array<float, Ridges::kFeatures> x;
  bool seasonal = false;
  features(then, k - 1, k, 1, x, seasonal);
  const float limit = static_cast<float>(kTuning.ridge_clip * (spread + scale));
  const float off = std::isnan(said[kRidge]) ? 0 : std::abs(said[kRidge] - z);
  const float usual = std::max(2 * sizes[j], 1e-30F);
  ridges.learn(j, x, std::clamp(z - said[kLast], -limit, limit), off > usual ? usual / off : 1,
               1 - 1 / kTuning.ridge_memory, seasonal);
  score(j, was, z);
  Record& r = record[j];
  const float before = said[kFirstSeasonal + Seasons::kDay * kSeasonExperts + kNaive];
  if (!std::isnan(before))
    r.seasonal += speed(r.count, kTuning.score_memory) * (std::abs(before - z) - r.seasonal);
}

void Combination::State::judge(std::size_t j, const Opinions& said, float z) {
  float* error = &errors[j * kExperts];
  float* reference = &references[j * kExperts];
  std::uint16_t* count = &counts[j * kExperts];
  const float last = std::abs(z - said[kLast]);
  for (std::size_t e = 0; e < kExperts; ++e) {
    if (std::isnan(said[e])) continue;
    if (count[e] < std::numeric_limits<std::uint16_t>::max()) ++count[e];
    const float a = speed(count[e], kTuning.error_memory);
    error[e] += a * (std::abs(z - said[e]) - error[e]);
    reference[e] += a * (last - reference[e]);
  }
}

void Combination::State::score(std::size_t j, const Waiting& was, float z) {
  const float off = z - was.mean;
  Record& r = record[j];
  r.count += 1;
  const float a = speed(r.count, kTuning.score_memory);
  const auto toward = [a](float& mean, double x) { mean += a * (static_cast<float>(x) - mean); };
  toward(r.error, std::abs(off));
  toward(r.last, errors[j * kExperts] == 0 ? 0 : std::abs(z - row_at(shape.leads[j] - 1).z));
  toward(r.in80, z >= was.end(0) && z <= was.end(1));
  toward(r.in95, z >= was.end(2) && z <= was.end(3));
  const double tolerated = shape.tolerance > 0
                               ? shape.tolerance
                               : kTolerated * std::abs(static_cast<double>(z) + anchor);
  toward(r.tolerated, static_cast<double>(std::abs(off)) <= tolerated);
  const float expected = lengthen(was.size);
  const float units = expected > 0 ? off / expected : (off == 0 ? 0 : std::copysign(100.0F, off));
  histograms.add(j, units, 1 - std::max(1 / kTuning.score_memory, growth(r.count)));
  if (j == 0) learn_unrest(std::abs(off));
  const double by = std::max(1 / kTuning.size_memory, newest(r.count));
  sizes[j] += static_cast<float>(by) * (std::abs(off) - sizes[j]);
  if (j == 0) learn_burst(std::abs(off), r.count);
  learn_echo(j, units);
  learn_hour(j, was, off);
  const std::array<bool, 4> missed{z<was.end(0), z> was.end(1), z<was.end(2), z> was.end(3)};
  follow_misses(j, missed);
}

/// How large the errors of the next row are of late, against the usual.
void Combination::State::learn_burst(float off, float count) {
  quick_error += speed(count, 12) * (off - quick_error);
  if (!(sizes[0] > 0)) return;
  burst =
      std::clamp(std::pow(quick_error / sizes[0], static_cast<float>(kTuning.burst)), 0.3F, 3.0F);
}

/// The same for what is far ahead, over more rows the farther it is. Errors far ahead share what
/// happened in between, so that the last few say little of how restless a series has become: as
/// many of the next row say more.
void Combination::State::learn_unrest(float off) {
  constexpr float kMost = 10;  // one error is not to settle it
  if (!(sizes[0] > 0)) return;
  const float units = std::min(off / sizes[0], kMost);
  for (std::size_t j = 0; j < leads; ++j) {
    const double memory = kTuning.unrest_rows + kTuning.unrest_leads * shape.leads[j];
    unrest[j] += static_cast<float>(1 / memory) * (units - unrest[j]);
  }
}

/// Whether a forecast held is known only as many rows later as it looked ahead, and until then all
/// that follow miss alike: so the step is smaller by as much, or levels of long leads would swing
/// past their goal. Misses of intervals that did not come from errors yet say nothing of them.
void Combination::State::follow_misses(std::size_t j, const std::array<bool, 4>& missed) {
  const float lead = static_cast<float>(shape.leads[j]);
  if (record[j].count < static_cast<float>(kTuning.adapt_after) * lead) return;
  for (std::size_t i = 0; i < 4; ++i) {
    float& level = levels[j][i];
    level += static_cast<float>(kTuning.adapt) / lead * (kTails[i] - (missed[i] ? 1.0F : 0.0F));
    level = std::clamp(level, kLeastTail, kMostTail);
  }
}

std::size_t Combination::State::hour_of(std::size_t ahead) const {
  const std::int64_t day = seasons.length[Seasons::kDay];
  const std::int64_t at = (slot + static_cast<std::int64_t>(ahead)) % day;
  return static_cast<std::size_t>(at * 24 / day) % 24;
}

void Combination::State::learn_hour(std::size_t j, const Waiting& was, float off) {
  if (seasons.length[Seasons::kDay] < kHoursFrom || !(lengthen(was.plain) > 0)) return;
  const float units = std::min(std::abs(off) / lengthen(was.plain), 10.0F);
  // How surprising errors of this size are (those of a Laplace distribution) with and without.
  Hour& hour = hours[hour_of(1)];
  surprise[0] += 0.001F * (units - surprise[0]);
  surprise[1] += 0.001F * (units / hour.size + std::log(hour.size) - surprise[1]);
  // Counted in days: the errors of one hour and its leads are much alike.
  const float share = std::min(24 / static_cast<float>(seasons.length[Seasons::kDay]), 1.0F);
  if (j == 0) hour.count = std::min(hour.count + share, static_cast<float>(kTuning.hours_memory));
  const float days = hour.count + static_cast<float>(kTuning.hours_shrink);
  hour.size += (units - hour.size) * share / (days * static_cast<float>(leads));
}

/// 1 unless the hour of the day has told apart large errors from small ones so far.
float Combination::State::hour_factor(std::size_t ahead) const {
  if (seasons.length[Seasons::kDay] < kHoursFrom) return 1;
  if (surprise[1] > surprise[0] * static_cast<float>(1 - kTuning.hours_gain)) return 1;
  return std::clamp(hours[hour_of(ahead)].size, 0.25F, 4.0F);
}

/// The size that errors at a lead have just now.
float Combination::State::size(std::size_t j) const {
  float base = sizes[j];
  if (record[j].count == 0) {  // none verified: as a random walk from the last that was
    std::size_t i = j;
    while (i > 0 && record[i].count == 0) --i;
    base = record[i].count == 0
               ? static_cast<float>(scale * std::sqrt(static_cast<double>(shape.leads[j])))
               : sizes[i] * std::sqrt(static_cast<float>(shape.leads[j]) /
                                      static_cast<float>(shape.leads[i]));
  }
  // A burst at the next row says less of those far ahead, and unrest over many rows more. Calm says
  // little there: it ends unforeseen.
  const double ahead = (static_cast<double>(shape.leads[j]) - 1) / kTuning.burst_lasts;
  const double far = 1 - std::exp(-ahead * ahead);
  const float lasting = std::clamp(unrest[j], static_cast<float>(kTuning.least_unrest),
                                   static_cast<float>(kTuning.most_unrest));
  return base * std::pow(burst, static_cast<float>(std::exp(-ahead))) *
         std::pow(lasting, static_cast<float>(kTuning.unrest * far));
}

/// Errors relative to the last value's over the same rows, neighbouring leads together.
Opinions Combination::State::relative_errors(std::size_t j) const {
  Opinions relative;
  const auto pool = static_cast<std::size_t>(kTuning.pool);
  const std::size_t first = j < pool ? 0 : j - pool;
  const std::size_t last = std::min(j + pool, leads - 1);
  for (std::size_t e = 0; e < kExperts; ++e) {
    float sum = 0;
    float n = 0;
    for (std::size_t i = first; i <= last; ++i) {
      const std::size_t at = i * kExperts + e;
      if (counts[at] < kFewest) continue;
      const float tiny = 1e-6F * references[i * kExperts] + 1e-30F;
      sum += (errors[at] + tiny) / (references[at] + tiny);
      n += 1;
    }
    relative[e] = n > 0 && counts[j * kExperts + e] > 0 ? sum / n : kNoWeight;
  }
  return relative;
}

/// A season that was not verified long enough, or does not pay, says nothing.
void Combination::State::admit_seasons(std::size_t j, Opinions& relative) const {
  const float best = *std::min_element(relative.begin(), relative.begin() + kFirstSeasonal);
  const auto pays = [&](std::size_t first, std::size_t n, std::uint32_t length) {
    const std::uint32_t held_out = counts[j * kExperts + first];
    const float least = *std::min_element(&relative[first], &relative[first] + n);
    return held_out >= std::min(length, seasons.length[Seasons::kDay]) &&
           least <= static_cast<float>(kTuning.admit) * best;
  };
  for (std::size_t s = 0; s < Seasons::kCount; ++s) {
    const std::size_t first = kFirstSeasonal + s * kSeasonExperts;
    if (seasons.length[s] > 0 && pays(first, kSeasonExperts, seasons.length[s])) continue;
    std::fill_n(&relative[first], kSeasonExperts, kNoWeight);
  }
  if (!pays(kSeasonRidge, 1, seasons.length[Seasons::kDay])) relative[kSeasonRidge] = kNoWeight;
}

void Combination::State::refresh_weights(std::size_t j) {
  Opinions relative = relative_errors(j);
  admit_seasons(j, relative);
  const float best = *std::min_element(relative.begin(), relative.end());
  ShortFloat* w = &weights[j * kExperts];
  std::fill_n(w, kExperts, ShortFloat{});
  if (!(best < kNoWeight)) {
    w[kMeanFast] = shorten(1);  // nothing verified yet
    return;
  }
  const auto least = static_cast<float>(std::pow(kTuning.worst, 1 / kTuning.power));
  for (std::size_t e = 0; e < kExperts; ++e) {
    const float ratio = best / relative[e];
    if (ratio < least) continue;
    w[e] = shorten(std::pow(ratio, static_cast<float>(kTuning.power)));
  }
}

void Combination::State::learn_echo(std::size_t j, float units) {
  constexpr float kMost = 3;  // one error is not to settle it
  Echo& echo = echoes[j];
  const float now = std::clamp(units, -kMost, kMost);
  const float a = speed(record[j].count, kTuning.score_memory);
  echo.square += a * (now * now - echo.square);
  echo.product += a * (now * echo.last - echo.product);
  echo.last = now;
}

/// How many errors of a lead say something new. Forecasts that overlap share what happened in
/// between, so one in `lead` does at least. Where errors are less alike from row to row than that
/// makes them, because the series soon comes back to what is usual, there are as many as of an
/// autoregression; but it echoes longer than such a one, so half of the way to it counts.
double Combination::State::independent(std::size_t j) const {
  const double n = std::min(static_cast<double>(record[j].count), kTuning.score_memory);
  const double apart = n / shape.leads[j];
  const Echo& echo = echoes[j];
  if (!(echo.square > 0)) return apart;
  const auto measured = static_cast<double>(echo.product / echo.square);
  const double alike = std::clamp(measured + (1 + 3 * measured) / n, 0.0, 1.0);  // it is biased
  const double more = n * (1 - alike) / (1 + alike) / apart;
  return apart * std::pow(std::max(more, 1.0), kTuning.echo);
}

void Combination::State::refresh_quantiles(std::size_t j) {
  const double distinct = independent(j);
  if (distinct < 2) {
    for (std::size_t i = 0; i < 4; ++i)
      quantiles[j][i] = static_cast<float>(kNormal[i] * kMeanToSpread);
    return;
  }
  std::array<double, 4> p{};
  for (std::size_t i = 0; i < 4; ++i) {
    // The conformal rank is (n + 1)(1 - a) of n: a little farther out than the plain quantile. It
    // is meant for n single errors; ours overlap, so that the outermost is the largest of many more
    // than n. With few of them the rank is beyond all and covers far too much: it goes no farther
    // out than a part of the tail, and at 80 % it is nearly that of the middle of an error's share.
    const auto a = static_cast<double>(levels[j][i]);
    const bool wide = i >= 2;
    const double least = a * (wide ? kTuning.least_tail95 : kTuning.least_tail80);
    const double rank = wide ? kTuning.rank95 : kTuning.rank80;
    const double tail = std::max(a - (rank - a) / (distinct + 1), least);
    p[i] = i % 2 == 0 ? tail : 1 - tail;
  }
  quantiles[j] = histograms.quantiles(j, static_cast<std::size_t>(kTuning.reach), p);
}

void Combination::State::refresh(std::size_t j) {
  ridges.solve(j, kTuning.ridge);
  refresh_weights(j);
  refresh_quantiles(j);
}

void Combination::State::forget() {
  ++change_count;
  smoothers.settle();
  for (std::uint16_t& count : counts) count = std::min<std::uint16_t>(count, 12);
  for (std::size_t j = 0; j < leads; ++j) {
    ridges.forget(j, 0.2);
    histograms.forget(j, 0.5);
  }
}

}  // namespace nexus::analyze
