#include "analyze/forecast/models.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze {
namespace {

constexpr std::array<std::string_view, 1> kMigrations = {
    R"(CREATE TABLE forecast_models (series TEXT PRIMARY KEY, time INTEGER NOT NULL,
  near BLOB NOT NULL, far BLOB NOT NULL, fill BLOB NOT NULL) WITHOUT ROWID)"};

constexpr std::int64_t kDay = 86'400'000;
constexpr std::int64_t kLearnt = 14 * kDay;  // of the history, for a series that is new
constexpr std::int64_t kForgotten = kDay;
constexpr std::int64_t kKeptFor = 30 * kDay;  // in the database
constexpr std::int64_t kSaveEvery = 3'600'000;
constexpr std::size_t kSavedPerTick = 4;
constexpr double kToleratedRange = 0.05;
constexpr std::uint32_t kFarLeads = 48;

double tolerance_of(const config::VitalConfig& vital) {
  return vital.minimum && vital.maximum ? kToleratedRange * (*vital.maximum - *vital.minimum) : 0;
}

Combination::Shape shape_of(const config::VitalConfig& vital, Millis step) {
  Combination::Shape shape;
  shape.step = step;
  shape.tolerance = tolerance_of(vital);
  shape.minimum = vital.minimum;
  shape.maximum = vital.maximum;
  shape.leads = step < Millis(3'600'000)
                    ? Combination::leads_up_to(12)
                    : std::vector<std::uint32_t>{1, 2, 4, 8, 12, 24, 36, kFarLeads};
  return shape;
}

ScaleView view_of(const Combination& model, Millis step, std::uint32_t leads) {
  ScaleView out;
  out.step = step;
  if (!model.ready()) return out;
  for (std::uint32_t lead = 1; lead <= leads; ++lead) out.points.push_back(model.at(lead));
  out.records = model.records();
  for (const LeadRecord& record : out.records) out.experts.push_back(model.experts(record.lead));
  return out;
}

/// Seconds until `threshold`, for the value in its own direction.
Reach reach_of(const Fill& fill, const std::optional<double>& threshold, bool rising) {
  Reach out;
  out.threshold = threshold;
  if (!threshold) return out;
  const FillTime time = fill.until(*threshold, rising);
  out.seconds = time.seconds;
  out.earliest = time.earliest;
  out.latest = time.latest;
  return out;
}

std::optional<Capacity> capacity_of(const config::VitalConfig& vital,
                                    const knowledge::Labels& labels, const Fill& fill) {
  const bool rising = vital.direction == config::Direction::kAbove;
  const auto& end = rising ? vital.maximum : vital.minimum;
  // A size without an end of its own is planned for as well; it gets no dates.
  const bool has_end = vital.warning || vital.critical || (rising && end);
  if (!fill.ready() || (!has_end && !vital.name.ends_with("_size_bytes"))) return std::nullopt;
  const FillOutlook outlook = fill.outlook();
  Capacity out;
  out.metric_name = vital.name;
  out.labels = labels;
  out.unit = vital.unit;
  out.current = outlook.level;
  out.per_day = outlook.per_day;
  out.per_day_error = outlook.per_day_error;
  out.certain = outlook.certain;
  out.pattern = outlook.pattern;
  if (constexpr double kNews = 7; outlook.rate_changed_days_ago.value_or(kNews) < kNews) {
    const auto hours = std::chrono::hours(std::llround(*outlook.rate_changed_days_ago * 24));
    out.pattern += ", new rate " + base::format_duration(hours) + " ago";
  }
  out.days_seen = outlook.days_seen;
  out.warning = reach_of(fill, vital.warning, rising);
  out.critical = reach_of(fill, vital.critical, rising);
  out.exhaustion = reach_of(fill, end, rising);
  for (std::size_t i = 0; i < Capacity::kPlanDays.size(); ++i) {
    out.planned[i] = outlook.certain ? fill.at(Capacity::kPlanDays[i] * 86'400.0) : outlook.level;
    if (rising && vital.unit == "percent" && vital.warning && *vital.warning > 0)
      out.needed[i] = std::max(out.planned[i] / *vital.warning, 0.0);
  }
  return out;
}

}  // namespace

Models::Model::Model(const config::VitalConfig& vital)
    : near(shape_of(vital, Millis(300'000))),
      far(shape_of(vital, Millis(3'600'000))),
      fill(Millis(300'000), &near) {}

Status Models::keep(knowledge::StateDb& db) {
  if (Status made = db.migrate("forecast", kMigrations); !made) return made;
  db_ = &db;
  return {};
}

/// Once for all of them, when the last has been looked at.
void Models::tell_older() {
  if (learnt_ > 0 || older_ == 0) return;
  log::info("forecast",
            "{} saved forecasts are of another version: learnt anew from the history, up to {} "
            "back",
            older_, base::format_duration(Millis(kLearnt)));
  older_ = 0;
}

void Models::begin(std::int64_t now) {
  tell_older();
  now_ = now;
  learnt_ = 0;
  std::erase_if(models_, [now](const auto& entry) {
    return now - entry.second.seen > kForgotten || entry.second.fed > now + kDay;
  });
}

Models::Model* Models::find(const config::VitalConfig& vital, const knowledge::Labels& labels) {
  const std::string key = vital.name + to_string(labels);
  if (const auto known = models_.find(key); known != models_.end()) return &known->second;
  if (models_.size() >= kMostModels) {
    if (refused_) refused_->add();
    return nullptr;
  }
  if (learnt_ >= kLearntPerTick) return nullptr;
  ++learnt_;
  Model& model = models_.try_emplace(key, vital).first->second;
  model.fed = now_ - kLearnt;
  model.saved = now_;
  if (db_ != nullptr) load(vital, key, model);
  return &model;
}

void Models::load(const config::VitalConfig& vital, const std::string& key, Model& model) {
  const std::array<knowledge::SqlValue, 1> wanted{key};
  const auto rows =
      db_->query("SELECT time, near, far, fill FROM forecast_models WHERE series = ?", wanted);
  if (!rows || rows->empty()) return;
  const auto& row = rows->front();
  // What is damaged or of another version is learnt anew from the history. The fill looks at the
  // rows of the near combination, so that neither is of use without the other.
  const Status near = model.near.load(row.text(1));
  const Status far = model.far.load(row.text(2));
  const Status fill = model.fill.load(row.text(3));
  bool older = false;
  for (const Status* part : {&near, &far, &fill}) {
    if (*part) continue;
    older |= part->error().code() == Errc::kConflict;
    if (part->error().code() != Errc::kConflict)
      log::warning("forecast", "{}: {}; it is learnt anew", key, part->error().message());
  }
  older_ += older ? 1 : 0;
  if (near && far && fill) model.fed = std::max(model.fed, row.integer(0));
  if (near.has_value() == fill.has_value()) return;
  model.near = Combination(shape_of(vital, Millis(300'000)));
  model.fill = Fill(Millis(300'000), &model.near);
}

/// Means of whole steps; what came before the step that stands is complete.
void Models::take(Model& model, std::int64_t time, double value) {
  const auto into = [&](Bucket& bucket, std::int64_t step, auto&& finish) {
    const std::int64_t slot = time / step;
    if (slot != bucket.slot) {
      if (bucket.count > 0) finish(bucket.slot, bucket.sum / bucket.count);
      bucket = {slot, 0, 0};
    }
    bucket.sum += value;
    bucket.count += 1;
  };
  into(model.near_bucket, 300'000, [&](std::int64_t slot, double mean) {
    model.near.add(slot, mean);
    model.fill.add(slot, mean);
    model.changed = true;
    model.view.reset();
  });
  into(model.far_bucket, 3'600'000,
       [&](std::int64_t slot, double mean) { model.far.add(slot, mean); });
}

void Models::show(Model& model, const config::VitalConfig& vital, const knowledge::Labels& labels) {
  auto view = std::make_shared<ModelView>();
  view->near = view_of(model.near, Millis(300'000), 12);
  view->far = view_of(model.far, Millis(3'600'000), kFarLeads);
  view->capacity = capacity_of(vital, labels, model.fill);
  view->tolerance = tolerance_of(vital);
  model.view = std::move(view);
}

std::shared_ptr<const ModelView> Models::feed(const config::VitalConfig& vital,
                                              const knowledge::Labels& labels,
                                              knowledge::SeriesId series) {
  Model* model = find(vital, labels);
  if (model == nullptr) return nullptr;
  model->seen = now_;
  if (now_ > model->fed) {
    column_.clear();
    data_.read(series, model->fed, now_, column_);
    for (std::size_t i = 0; i < column_.size(); ++i) {
      if (std::isfinite(column_.values[i]) && std::abs(column_.values[i]) < 1e300)
        take(*model, column_.times[i], column_.values[i]);
    }
    model->fed = now_;
  }
  if (!model->view) show(*model, vital, labels);
  return model->view;
}

std::size_t Models::bytes() const {
  std::size_t sum = 0;
  for (const auto& [key, model] : models_)
    sum +=
        sizeof(Model) - sizeof(Fill) + model.near.bytes() + model.far.bytes() + model.fill.bytes();
  return sum;
}

Status Models::write(const std::string& key, Model& model) {
  // What is in the buckets is read again after a start: from the hour's begin, since the hour's
  // mean is of all its values. The smaller scales refuse what they know already.
  const std::int64_t whole =
      std::min({model.near_bucket.slot * 300'000, model.far_bucket.slot * 3'600'000, model.fed});
  const std::array<knowledge::SqlValue, 5> values{key, whole, model.near.save(), model.far.save(),
                                                  model.fill.save()};
  if (Status done =
          db_->execute("INSERT OR REPLACE INTO forecast_models VALUES (?,?,?,?,?)", values);
      !done)
    return done;
  model.changed = false;
  model.saved = now_;
  return {};
}

Status Models::save(bool all) {
  if (db_ == nullptr) return {};
  std::vector<std::pair<const std::string*, Model*>> due;
  for (auto& [key, model] : models_) {
    if (!model.changed || (!all && now_ - model.saved < kSaveEvery)) continue;
    due.emplace_back(&key, &model);
    if (!all && due.size() >= kSavedPerTick) break;
  }
  if (due.empty()) return {};
  return db_->transaction([&]() -> Status {
    for (auto& [key, model] : due)
      if (Status done = write(*key, *model); !done) return done;
    const std::array<knowledge::SqlValue, 1> old{now_ - kKeptFor};
    return db_->execute("DELETE FROM forecast_models WHERE time < ?", old);
  });
}

}  // namespace nexus::analyze
