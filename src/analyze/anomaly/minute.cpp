// The detector's look at minutes: single vitals and the host, what is told of them, verdicts, and
// keeping what was learnt.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "analyze/anomaly/advice.hpp"
#include "analyze/anomaly/detector_impl.hpp"
#include "analyze/anomaly/processes.hpp"
#include "analyze/anomaly/wording.hpp"
#include "analyze/rules/evaluator.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze {
namespace {

constexpr Millis kHold{5 * 60'000};
constexpr Millis kNear{15 * 60'000};
constexpr Millis kSaveEvery{60 * 60'000};
constexpr std::size_t kSavePerMinute = 4;  // 40 KiB each: no burst of writing
constexpr double kMostTokens = 10;
constexpr double kVitalsShare = 0.5;  // of the budget
constexpr double kUnusual = 0.01;
constexpr std::size_t kMostNear = 3;

std::string key_of(const Watched& watched) {
  return "vital " + watched.metric + to_string(watched.labels);
}

/// "once in three weeks", for people.
std::string how_often(double probability) {
  const double minutes = 1 / std::max(probability, 1e-9);
  if (minutes >= 1440.0 * 365) return "less than once a year";
  return fmt::format("once in {}",
                     base::format_duration(Millis(static_cast<std::int64_t>(minutes) * 60'000)));
}

}  // namespace

void AnomalyDetector::Impl::open_store(knowledge::StateDb* db) {
  episodes.number_from(
      static_cast<std::uint64_t>(std::max<std::int64_t>(base::to_unix_millis(clock.wall()), 0)));
  if (db == nullptr) return;
  auto opened = ModelStore::open(*db);
  if (opened) {
    store = std::move(*opened);
  } else {
    save_errors.add();
    log::error("analyze", "anomaly models are not kept: {}", opened.error().message());
  }
}

std::string AnomalyDetector::Impl::saved(const std::string& key) {
  return store ? store->load(key) : std::string();
}

void AnomalyDetector::Impl::restore(Watched& watched) {
  const auto state = saved(key_of(watched));
  if (state.empty()) return;
  anew += watched.rows.load(state) ? 0 : 1;
  watched.last.progress = watched.rows.progress();
}

void AnomalyDetector::Impl::share_budget() {
  // A vital takes an eighth of its budget at most; more vitals take less each.
  const double vitals = std::max(1.0, static_cast<double>(known.size()) * kVitalShare);
  for (auto& [id, watched] : known)
    watched.rows.set_budget(section.alarms_per_day * kVitalsShare / vitals);
  host.set_budget(section.alarms_per_day);
}

bool AnomalyDetector::Impl::afford(SteadyTime now) {
  if (tokens_at) {
    const double days = std::chrono::duration<double>(now - *tokens_at).count() / 86'400;
    tokens = std::min(tokens + days * section.alarms_per_day,
                      std::max(kMostTokens, section.alarms_per_day));
  }
  tokens_at = now;
  if (tokens < 1) return false;
  tokens -= 1;
  return true;
}

bool AnomalyDetector::Impl::minute(const VitalValue& value, const config::VitalConfig& vital,
                                   Watched& watched) {
  const auto row = watched.minute.push(base::to_unix_millis(value.time), value.value);
  if (!row) return false;
  const double usual = watched.rows.usual();
  const double distance = watched.rows.usual_distance();
  const auto score = watched.rows.push(row->time, row->value);
  if (!score) return false;
  statuses_changed = statuses_changed || watched.last.progress < 1;
  watched.last = *score;
  if (watched.rank.ordinal == 0)
    host.put(watched.metric, watched.labels, watched.rank.vital, row->value);
  if (score->known) known_before.add();
  if (!score->flag || watched.rows.rows() < section.minimum_samples) return false;
  tell_minute(value, vital, watched, *row, usual, distance);
  return true;
}

void AnomalyDetector::Impl::tell_minute(const VitalValue& value, const config::VitalConfig& vital,
                                        Watched& watched, const MinuteMean::Row& row, double usual,
                                        double distance) {
  const SteadyTime now = clock.steady();
  Anomaly anomaly;
  anomaly.metric_name = vital.name;
  anomaly.labels = watched.labels;
  anomaly.time = value.time;
  anomaly.value = row.value;
  anomaly.anomaly_score = -watched.last.raw;
  anomaly.probability = watched.last.probability;
  anomaly.description =
      fmt::format("{} was {} for a minute, usually {} give or take {}: expected {}",
                  series_text(vital.name, watched.labels), amount_text(row.value, vital.unit),
                  amount_text(usual, vital.unit), amount_text(distance, vital.unit, 3),
                  how_often(watched.last.probability));
  anomaly.recommended_actions = advice_for(vital.name);
  explain(anomaly, vital.name, watched.episode);
  Observation observation;
  observation.kind = FindingKind::kAnomaly;
  observation.name = vital.name + "_anomaly";
  observation.severity = Severity::kInfo;
  observation.labels = to_map(watched.labels);
  observation.subject = subject_of(observation.labels);
  observation.annotations = {{"summary", anomaly.description}};
  observation.evidence = {"vital_detector", row.value, std::nullopt, anomaly.description};
  observation.keep_firing_for = kHold;
  seen.push_back(std::move(observation));
  watched.last_strange = now;
  if (watched.episode) {
    episodes.update(*watched.episode, std::move(anomaly), now);
  } else {
    watched.episode = episodes.begin(std::move(anomaly), now);
    found.add();
  }
}

void AnomalyDetector::Impl::close_minute(WallTime time) {
  const std::int64_t minute = base::to_unix_millis(time) / 60'000;
  if (minute == closed) return;
  const bool first = closed == 0;
  closed = minute;
  if (first) return;
  double count = 0;
  double strange = 0;
  std::size_t learnt = host.bytes();
  for (const auto& [id, watched] : known) {
    learnt += sizeof(Watched) + watched.rows.bytes();
    if (!watched.last.ready || watched.pass != pass) continue;
    count += 1;
    strange += watched.last.raw > 0 && watched.last.probability < kUnusual ? 1 : 0;
  }
  unusual += ((count > 0 ? strange / count : 0) - unusual) / 10;
  rate.set(unusual);
  detector_bytes.set(static_cast<double>(learnt));
  const SteadyTime now = clock.steady();
  std::erase_if(host_episodes, [&](const auto& e) { return now - e.second.second > kHold; });
  statuses_changed = statuses_changed || host.warming_up();
  for (const auto& alarm :
       host.close(minute * 60'000, [this](const std::string& key) { return saved(key); }))
    tell_host(alarm, time);
  tell_anew();
  if (store) {
    if (auto done = save_some(kSavePerMinute); !done) {
      save_errors.add();
      log::warning("analyze", "anomaly models are not saved: {}", done.error().message());
    }
  }
}

/// What was saved by another version, or is damaged: once for all that were looked at.
void AnomalyDetector::Impl::tell_anew() {
  anew += host.refused();
  if (anew == 0) return;
  begun_anew.add(static_cast<double>(anew));
  log::warning("analyze",
               "{} saved detectors of anomalies are of another version or damaged: they begin "
               "anew, see the progress of their warm-up in /health/anomalies",
               anew);
  anew = 0;
}

void AnomalyDetector::Impl::tell_host(const HostWatch::Alarm& alarm, WallTime time) {
  const SteadyTime now = clock.steady();
  const auto place = host_episodes.find(alarm.scope);
  if (place != host_episodes.end()) {
    // What was called noise stays so until it ends.
    if (auto* entry = episodes.entry(place->second.first);
        entry != nullptr && entry->anomaly.real == false) {
      place->second.second = entry->seen = now;
      known_before.add();
      return;
    }
  }
  std::string parts;
  for (const auto& part : alarm.parts) {
    if (part.share < 0.03 && !parts.empty()) break;
    const auto unit = unit_in(part.metric);
    parts += fmt::format("{}{} {:.0f} % ({}, usually {})", parts.empty() ? "" : ", ",
                         series_text(part.metric, part.labels), 100 * part.share,
                         amount_text(part.present, unit), amount_text(part.usual, unit));
  }
  // Tails are extrapolated: beyond a minute of two years the number would say nothing.
  const std::string strange = alarm.score.probability < 1e-6
                                  ? "rarer than one minute in a million, by what was seen so far"
                                  : fmt::format("as strange as {:.2g} % of the minutes so far",
                                                100 * alarm.score.probability);
  Anomaly anomaly;
  anomaly.metric_name = "host_anomaly";
  anomaly.labels = knowledge::Labels(std::vector<knowledge::Label>{{"scope", alarm.scope}});
  anomaly.time = time;
  anomaly.value = alarm.score.score;
  anomaly.anomaly_score = -alarm.score.score;
  anomaly.probability = alarm.score.probability;
  anomaly.description = fmt::format(
      "{} vitals of {} together are {}: {}; {:.0f} % of all vitals are unusual", alarm.columns,
      alarm.scope == "host" ? "the host" : alarm.scope, strange, parts, 100 * unusual);
  for (const auto& part : alarm.parts)
    anomaly.contributors.push_back(
        {part.metric, part.labels, part.share, part.usual, part.present});
  // Of the vital that counts most: "the host" says nothing of what to look for.
  explain(anomaly, alarm.parts.empty() ? alarm.scope : alarm.parts.front().metric,
          place == host_episodes.end() ? std::nullopt : std::optional(place->second.first));
  std::set<std::string> told;
  for (std::size_t i = 0; i < std::min<std::size_t>(alarm.parts.size(), 2); ++i) {
    for (auto& text : advice_for(alarm.parts[i].metric)) {
      if (told.insert(text).second) anomaly.recommended_actions.push_back(std::move(text));
    }
  }
  Observation observation;
  observation.kind = FindingKind::kAnomaly;
  observation.name = "host_anomaly";
  observation.severity = Severity::kInfo;
  observation.labels = {{"scope", alarm.scope}};
  observation.subject = "host";
  observation.annotations = {{"summary", anomaly.description}};
  observation.evidence = {"host_detector", alarm.score.score, std::nullopt, anomaly.description};
  observation.keep_firing_for = kHold;
  seen.push_back(std::move(observation));
  if (place != host_episodes.end()) {
    place->second.second = now;
    episodes.update(place->second.first, std::move(anomaly), now);
  } else {
    host_episodes[alarm.scope] = {episodes.begin(std::move(anomaly), now), now};
    found.add();
  }
}

void AnomalyDetector::Impl::explain(Anomaly& anomaly, std::string_view metric,
                                    std::optional<std::uint64_t> episode) {
  anomaly.subject = anomaly.metric_name == "host_anomaly" ? "host" : subject_of(anomaly.labels);
  const std::int64_t now = base::to_unix_millis(anomaly.time);
  if (explained_minute != now / 60'000) explained.clear();
  explained_minute = now / 60'000;
  auto known_already = explained.find(metric);
  if (known_already == explained.end())
    known_already = explained.emplace(std::string(metric), processes_near(data, now, metric)).first;
  anomaly.processes = known_already->second;
  const auto begun = episode ? episodes.begun(*episode) : std::nullopt;
  anomaly.description +=
      to_sentence(anomaly.processes) + near_in_time(anomaly.time, begun.value_or(anomaly.time));
}

/// What else happened within a quarter of an hour, and what changed on the host in the quarter
/// before it began (what came later may be the answer to it), as the end of a sentence. What is
/// rare comes before units, which are started all day.
std::string AnomalyDetector::Impl::near_in_time(WallTime time, WallTime begun) const {
  std::string out;
  std::size_t count = 0;
  for (const Finding& finding : *book.snapshot()) {
    using enum FindingKind;  // an incident is made of others
    if (finding.kind == kAnomaly || finding.kind == kForecast || finding.kind == kIncident)
      continue;
    const WallTime at = finding.fired.value_or(finding.started);
    if (at > time + kNear || at + kNear < time) continue;
    if (++count > kMostNear) break;
    out += fmt::format("{}{} of {} ({})", count == 1 ? "; near in time: " : ", ", finding.name,
                       finding.subject, to_string(finding.state));
  }
  count = 0;
  const auto changes = book.changes();
  for (const bool units : {false, true}) {
    for (const Change& change : *changes) {
      if ((change.kind == "unit") != units || change.time > begun || change.time + kNear < begun)
        continue;
      if (++count > kMostNear) break;
      out += fmt::format(
          "{}{} ({} before)", count == 1 ? "; changed near in time: " : ", ", change.text,
          base::format_duration(std::chrono::floor<std::chrono::seconds>(begun - change.time)));
    }
  }
  return out;
}

void AnomalyDetector::Impl::apply_verdicts() {
  std::vector<std::pair<std::uint64_t, bool>> given;
  {
    const std::lock_guard guard(mutex);
    given.swap(verdicts);
  }
  for (const auto& [id, real] : given) {
    // Said again it says nothing new.
    if (auto* entry = episodes.entry(id); entry != nullptr && entry->anomaly.real != real)
      apply_verdict(*entry, real);
  }
}

/// The last verdict counts, as if it had been the only one.
void AnomalyDetector::Impl::apply_verdict(Episodes::Entry& entry, bool real) {
  const Anomaly& anomaly = entry.anomaly;
  const bool goes_on = clock.steady() - entry.seen < kHold;
  verdicts_given.add();
  if (anomaly.metric_name == "host_anomaly") {
    const std::string scope(anomaly.labels.get("scope"));
    entry.moved = host.judge(scope, real, entry.moved);
    if (goes_on) host_episodes.try_emplace(scope, entry.id, entry.seen);
  }
  for (auto& [series, watched] : known) {
    if (watched.metric != anomaly.metric_name || watched.labels != anomaly.labels) continue;
    entry.moved =
        watched.rows.judge(base::to_unix_millis(anomaly.time), anomaly.value, real, entry.moved);
    if (!real && watched.episode == entry.id) watched.episode.reset();
    if (real && goes_on && !watched.episode) watched.episode = entry.id;
    break;
  }
  episodes.judged(entry, real);
  next_save = SteadyTime{};  // a verdict is not lost by a crash
}

/// Goes round all detectors once an hour, a few at a time.
Status AnomalyDetector::Impl::save_some(std::size_t most) {
  if (!store) return {};
  const SteadyTime now = clock.steady();
  const bool all = most > known.size();
  std::vector<std::pair<std::string, std::string>> models;
  if (unsaved.empty() || all) {
    if (now < next_save && !all) return {};
    next_save = now + kSaveEvery;
    unsaved.clear();
    for (const auto& [id, watched] : known) unsaved.push_back(id);
    models = host.save();
  }
  for (; most > 0 && !unsaved.empty(); --most) {
    const auto place = known.find(unsaved.back());
    unsaved.pop_back();
    if (place != known.end() && place->second.rows.rows() > 0)
      models.emplace_back(key_of(place->second), place->second.rows.save());
  }
  return store->save(models, clock.wall());
}

}  // namespace nexus::analyze
