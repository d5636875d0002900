#include "nexus/analyze/combination.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "analyze/forecast/experts/archive.hpp"
#include "analyze/forecast/experts/state.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze {

#ifdef NEXUS_TUNE
Tuning kTuning;
#endif

namespace {

constexpr std::uint32_t kVersion = 7;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr double kLargest = 1e30;         // |z|: squares fit a double with room to spare
constexpr double kOutOfProportion = 1e6;  // mean changes, for a single value
constexpr std::uint32_t kFewOutliers = 3;
constexpr std::int64_t kLongestFill = 2016;  // rows; a longer gap starts anew
constexpr std::uint32_t kFineLeads = 12;
constexpr std::uint32_t kEveryLead = 4;  // beyond it two neighbours are much alike

constexpr std::array<const char*, kFirstSeasonal> kExpertNames{
    "last",     "mean0.4", "mean0.2", "mean0.05", "mean0.02", "median12",
    "median48", "damped",  "theta",   "line",     "ridge"};
constexpr std::array<const char*, kSeasonExperts> kSeasonNames{
    "ago", "ago+slow", "ago+fast", "profile+slow", "profile+quick", "profile+last", "profile*last"};

std::string name_of(std::size_t expert) {
  if (expert < kFirstSeasonal) return kExpertNames[expert];
  if (expert == kSeasonRidge) return "season ridge";
  const std::size_t seasonal = expert - kFirstSeasonal;
  return fmt::format("{} {}", Seasons::kNames[seasonal / kSeasonExperts],
                     kSeasonNames[seasonal % kSeasonExperts]);
}

}  // namespace

Combination::State::State(const Shape& the_shape)
    : shape(the_shape),
      seasons(Seasons::of(shape.step)),
      leads(shape.leads.size()),
      ridges(leads),
      errors(leads * kExperts),
      references(leads * kExperts),
      counts(leads * kExperts),
      weights(leads * kExperts),
      sizes(leads),
      levels(leads, {0.1F, 0.1F, 0.025F, 0.025F}),
      quantiles(leads, {-1.6F, 1.6F, -2.46F, 2.46F}),
      record(leads),
      echoes(leads),
      unrest(leads, 1.0F),
      histograms(leads) {
  const std::uint32_t longest = *std::ranges::max_element(seasons.length);
  values = ValueRing(std::max(longest, 2U) + last_lead() + 1);
  states.resize(last_lead() + 1);
  std::uint32_t total = 0;
  for (std::size_t s = 0; s < Seasons::kCount; ++s) {
    profile_at[s] = total;
    total += seasons.profiled(s) ? seasons.length[s] : 0;
  }
  profiles.resize(total, kNaN);
  total = 0;
  for (const std::uint32_t lead : shape.leads) {
    waiting_at.push_back(total);
    total += lead;
  }
  waiting.resize(total);
  for (std::size_t j = 0; j < leads; ++j) weights[j * kExperts + kMeanFast] = shorten(1);
}

bool Combination::State::add(std::int64_t at, double value) {
  if (rows > 0 && at <= slot) return false;
  const bool given = std::isfinite(value);
  if (rows == 0) {
    if (!given) return true;
    anchor = value;
    slot = at - 1;
  }
  if (at - slot > kLongestFill) {  // nothing before it says anything about what comes
    Shape same = shape;
    const auto changes = change_count;
    *this = State(same);
    change_count = changes + 1;
    return add(at, value);
  }
  while (slot + 1 < at) take(rows == 0 ? 0 : static_cast<float>(point(1).mean - anchor), false);
  double z = given ? value - anchor : 0;
  bool learn = given;
  if (given && known > kFewestRows) {
    const double usual = std::max(scale * kOutOfProportion, 1e-9 * std::abs(anchor));
    const bool wild = std::abs(z - static_cast<double>(value_at(0))) > usual &&
                      (scale > 0 || std::abs(z) > kOutOfProportion * (1 + std::abs(anchor)));
    outliers = wild ? outliers + 1 : 0;
    learn = !wild || outliers > kFewOutliers;
  }
  if (!learn) z = rows == 0 ? 0 : point(1).mean - anchor;
  take(static_cast<float>(std::clamp(z, -kLargest, kLargest)), learn);
  return true;
}

void Combination::State::take(float z, bool learn) {
  if (learn) {
    ++known;
    if (rows > 0) {
      verify(z);
      watch_level(z);
    }
    lowest = known == 1 ? z : std::min(lowest, z);
    highest = known == 1 ? z : std::max(highest, z);
  }
  store(z);
  issue();
}

/// Rows that stand out on one side for long are a new level.
void Combination::State::watch_level(float z) {
  const double off = static_cast<double>(z) - static_cast<double>(present[kLevelSlowest]);
  const bool out = std::abs(off) > kTuning.change_scales * spread && known > 48 && spread > 0;
  const int sign = off > 0 ? 1 : -1;
  side = !out ? 0 : (side * sign > 0 ? side + sign : sign);
  if (!out) spread += std::max(0.003, 1.0 / static_cast<double>(known)) * (std::abs(off) - spread);
  if (std::abs(side) < kTuning.change_rows) return;
  side = 0;
  spread = std::max(spread, std::abs(off) / 20);
  forget();
}

void Combination::State::store(float z) {
  std::array<float, Seasons::kCount> before;
  std::array<float, Seasons::kCount> usual;
  for (std::size_t s = 0; s < Seasons::kCount; ++s) {
    before[s] = rows == 0 ? kNaN : naive(s, 1, 1);
    usual[s] = profile(s, slot + 1);
  }
  ++rows;
  ++slot;
  values.push(z);
  present = smoothers.add(z, before, usual);
  states[(rows - 1) % states.size()] = PackedRow::of(present);
  for (std::size_t s = 0; s < Seasons::kCount; ++s)
    if (seasons.profiled(s) && (slot + 1) % seasons.length[s] == 0) finish_season(s);
}

/// A whole season stands in the ring: the profile moves toward it, the mean of all seasons at
/// first.
void Combination::State::finish_season(std::size_t s) {
  const std::size_t m = seasons.length[s];
  if (rows < m) return;
  const float speed = std::max(static_cast<float>(kTuning.profile_speed),
                               1.0F / static_cast<float>(profile_seasons[s] + 1));
  for (std::size_t i = 0; i < m; ++i) {
    const float value = value_at(m - 1 - i);
    float& usual = profiles[profile_at[s] + i];
    usual = profile_seasons[s] == 0 ? value : usual + speed * (value - usual);
  }
  ++profile_seasons[s];
}

void Combination::State::issue() {
  for (std::size_t j = 0; j < leads; ++j) {
    const std::uint32_t k = shape.leads[j];
    Waiting& next = waiting[waiting_at[j] + (rows - 1) % k];
    Opinions said = opinions(present, k, k);
    std::array<float, Ridges::kFeatures> x;
    bool seasonal = false;
    features(present, 0, k, k, x, seasonal);
    const float z = said[kLast];
    said[kRidge] = z + ridges.leading(j, x);
    said[kSeasonRidge] = seasonal ? z + ridges.all(j, x) : kNaN;
    next.mean = mix(j, said);
    next.ridge = shorten(said[kRidge] - next.mean);
    next.season_ridge = shorten(said[kSeasonRidge] - next.mean);
    const float plain = this->size(j);
    next.plain = shorten(plain);
    const float size = plain * hour_factor(k);
    next.size = shorten(size);
    const float round = 1e-6F * std::abs(z);  // of a float: a value that stays is inside
    std::array<float, 4> ends{};
    for (std::size_t i = 0; i < ends.size(); ++i) {
      ends[i] = bounded(next.mean + size * quantiles[j][i]) + (i % 2 == 0 ? -round : round);
      if (i >= 2) ends[i] = i == 2 ? std::min(ends[2], ends[0]) : std::max(ends[3], ends[1]);
      // Outward: values that come back are often just at an end.
      const float far = ends[i] - next.mean;
      next.ends[i] = i % 2 == 0 ? shorten_down(far) : shorten_up(far);
    }
  }
}

/// Between two learnt leads both are asked about this one, and count by how near they are.
ForecastPoint Combination::State::point(std::uint32_t lead) const {
  const auto above = std::ranges::lower_bound(shape.leads, lead);
  const std::size_t hi =
      std::min<std::size_t>(static_cast<std::size_t>(above - shape.leads.begin()), leads - 1);
  const std::size_t lo = hi > 0 && shape.leads[hi] > lead ? hi - 1 : hi;
  const double share = lo == hi ? 0
                                : (static_cast<double>(lead) - shape.leads[lo]) /
                                      (static_cast<double>(shape.leads[hi]) - shape.leads[lo]);
  const auto of = [&](std::size_t j) {
    const Waiting& issued = waiting[waiting_at[j] + (rows - 1) % shape.leads[j]];
    std::array<double, 5> out{};
    double mean = static_cast<double>(issued.mean);
    if (shape.leads[j] != lead) {
      Opinions said = opinions(present, lead, lead);
      std::array<float, Ridges::kFeatures> x;
      bool seasonal = false;
      features(present, 0, lead, lead, x, seasonal);
      said[kRidge] = said[kLast] + ridges.leading(j, x);
      said[kSeasonRidge] = seasonal ? said[kLast] + ridges.all(j, x) : kNaN;
      mean = static_cast<double>(mix(j, said));
    }
    out[0] = mean;
    const auto hour = static_cast<double>(hour_factor(lead) / hour_factor(shape.leads[j]));
    const double round = 1e-6 * std::abs(mean);
    for (std::size_t i = 0; i < issued.ends.size(); ++i) {
      const double far = hour * static_cast<double>(lengthen(issued.ends[i]));
      const auto end = static_cast<double>(bounded(static_cast<float>(mean + far)));
      out[i + 1] = end + (i % 2 == 0 ? -round : round);
    }
    return out;
  };
  const auto a = of(lo);
  const auto b = of(hi);
  std::array<double, 5> v{};
  // What two leads have learnt fits one between them a little less than it does them.
  const double wider = 1 + kTuning.between * 4 * share * (1 - share);
  for (std::size_t i = 0; i < v.size(); ++i) {
    v[i] = a[i] + share * (b[i] - a[i]);
    if (i == 0 || lo == hi) continue;
    const double end = v[0] + wider * (v[i] - v[0]);
    const auto held = static_cast<double>(bounded(static_cast<float>(end)));
    v[i] = i % 2 == 1 ? std::min(v[i], std::max(end, held)) : std::max(v[i], std::min(end, held));
  }
  for (double& value : v) {
    value += anchor;
    if (shape.minimum) value = std::max(value, *shape.minimum);
    if (shape.maximum) value = std::min(value, *shape.maximum);
  }
  return {v[0], v[1], v[2], v[3], v[4]};
}

template <typename Archive>
void Combination::State::archive(Archive& a) {
  a.value(rows);
  a.value(known);
  a.value(slot);
  a.value(anchor);
  a.value(lowest);
  a.value(highest);
  a.value(scale);
  a.value(outliers);
  a.value(change_count);
  a.value(quick_error);
  a.value(burst);
  a.value(hours);
  a.value(surprise);
  a.value(spread);
  a.value(side);
  values.archive(a);
  a.value(present);
  a.values(states);
  a.values(profiles);
  a.value(profile_seasons);
  smoothers.archive(a);
  ridges.archive(a);
  a.values(waiting);
  a.values(errors);
  a.values(references);
  a.values(counts);
  a.values(weights);
  a.values(sizes);
  a.values(levels);
  a.values(quantiles);
  a.values(record);
  a.values(echoes);
  a.values(unrest);
  histograms.archive(a);
}

void Combination::State::shape_of(std::vector<std::int64_t>& out) const {
  out = {shape.step.count()};
  for (const std::uint32_t lead : shape.leads) out.push_back(lead);
}

std::vector<std::uint32_t> Combination::leads_up_to(std::uint32_t farthest) {
  std::vector<std::uint32_t> leads;
  farthest = std::max(farthest, 1U);
  if (farthest <= kFineLeads) {
    for (std::uint32_t lead = 1; lead <= farthest; ++lead)
      if (lead <= kEveryLead || lead % 2 == 0 || lead == farthest) leads.push_back(lead);
    return leads;
  }
  // i^p for i = 1..12 where 12^p is the farthest.
  const double power = std::log(static_cast<double>(farthest)) / std::log(kFineLeads);
  for (std::uint32_t i = 1; i <= kFineLeads; ++i) {
    const auto lead = static_cast<std::uint32_t>(std::lround(std::pow(i, power)));
    leads.push_back(leads.empty() ? lead : std::max(lead, leads.back() + 1));
  }
  leads.back() = std::max(farthest, kFineLeads);
  return leads;
}

Combination::Combination(const Shape& shape) : state_(std::make_unique<State>(shape)) {
  NEXUS_CHECK(!shape.leads.empty() && shape.leads.size() <= kMostLeads && shape.leads[0] > 0 &&
              std::ranges::is_sorted(shape.leads));
}
Combination::Combination(Combination&&) noexcept = default;
Combination& Combination::operator=(Combination&&) noexcept = default;
Combination::~Combination() = default;

bool Combination::add(std::int64_t slot, double value) {
  return state_->add(slot, value);
}

bool Combination::ready() const noexcept {
  return state_->known >= kFewestRows;
}

std::uint64_t Combination::rows() const noexcept {
  return state_->known;
}

std::int64_t Combination::last_slot() const noexcept {
  return state_->slot;
}

std::uint64_t Combination::changes() const noexcept {
  return state_->change_count;
}

float Combination::kept(std::size_t ago) const noexcept {
  return state_->rows == 0 ? 0 : state_->value_at(ago);
}

double Combination::base() const noexcept {
  return state_->anchor;
}

std::size_t Combination::keeps() const noexcept {
  return state_->values.keeps();
}

ForecastPoint Combination::at(std::uint32_t lead) const {
  if (state_->rows == 0) return {};
  return state_->point(std::clamp(lead, 1U, state_->last_lead()));
}

std::vector<LeadRecord> Combination::records() const {
  std::vector<LeadRecord> out;
  for (std::size_t j = 0; j < state_->leads; ++j) {
    const auto& r = state_->record[j];
    out.push_back({state_->shape.leads[j], static_cast<double>(r.count),
                   static_cast<double>(r.error), static_cast<double>(r.last),
                   static_cast<double>(r.seasonal), static_cast<double>(r.in80),
                   static_cast<double>(r.in95), static_cast<double>(r.tolerated)});
  }
  return out;
}

std::string Combination::seasons() const {
  std::string out;
  for (std::size_t s = Seasons::kCount; s-- > 0;) {
    bool used = false;
    for (std::size_t j = 0; j < state_->leads; ++j)
      for (std::size_t e = 0; e < kSeasonExperts; ++e)
        used |=
            lengthen(state_->weights[j * kExperts + kFirstSeasonal + s * kSeasonExperts + e]) > 0;
    if (used) out += (out.empty() ? "" : "+") + std::string(Seasons::kNames[s]);
  }
  return out;
}

std::string Combination::experts(std::uint32_t lead) const {
  const auto above = std::ranges::lower_bound(state_->shape.leads, lead);
  const std::size_t j = std::min<std::size_t>(
      static_cast<std::size_t>(above - state_->shape.leads.begin()), state_->leads - 1);
  std::array<float, kExperts> w;
  for (std::size_t e = 0; e < kExperts; ++e) w[e] = lengthen(state_->weights[j * kExperts + e]);
  const float total = std::accumulate(w.begin(), w.end(), 0.0F);
  std::array<std::size_t, kExperts> order;
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return w[a] > w[b]; });
  std::string out;
  for (std::size_t i = 0; i < 3 && w[order[i]] > 0; ++i)
    out += fmt::format("{}{} {:.2f}", i == 0 ? "" : ", ", name_of(order[i]), w[order[i]] / total);
  return out;
}

std::size_t Combination::bytes() const noexcept {
  const State& s = *state_;
  return sizeof(State) + s.values.bytes() + s.states.size() * sizeof(PackedRow) +
         s.profiles.size() * 4 + s.waiting.size() * sizeof(State::Waiting) + s.errors.size() * 12 +
         s.leads * (4 + 32 + sizeof(State::Record) + sizeof(State::Echo) + 4) + s.ridges.bytes() +
         s.histograms.bytes() + 2 * 60 * 4;
}

std::string Combination::save() const {
  ArchiveWriter out;
  std::vector<std::int64_t> shape;
  state_->shape_of(shape);
  out.value(kVersion);
  out.values(shape);
  state_->archive(out);
  std::string text = out.take();
  const std::uint64_t sum = base::fnv1a(text);
  text.append(reinterpret_cast<const char*>(&sum), sizeof sum);
  return text;
}

Status Combination::load(std::string_view saved) {
  std::uint64_t sum = 0;
  if (saved.size() < sizeof sum) return fail(Errc::kCorrupt, "the saved forecast is cut off");
  std::memcpy(&sum, saved.data() + saved.size() - sizeof sum, sizeof sum);
  saved.remove_suffix(sizeof sum);
  if (sum != base::fnv1a(saved)) return fail(Errc::kCorrupt, "the saved forecast is damaged");
  ArchiveReader in(saved);
  std::uint32_t version = 0;
  in.value(version);
  std::vector<std::int64_t> mine;
  state_->shape_of(mine);
  std::vector<std::int64_t> theirs(mine.size());
  in.values(theirs);
  if (version != kVersion || !in.ok() || mine != theirs)
    return fail(Errc::kConflict, "the saved forecast has another shape or version");
  auto loaded = std::make_unique<State>(state_->shape);
  loaded->archive(in);
  if (!in.complete()) return fail(Errc::kCorrupt, "the saved forecast is damaged");
  state_ = std::move(loaded);
  return {};
}

}  // namespace nexus::analyze
