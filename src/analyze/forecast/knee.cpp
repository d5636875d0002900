#include "nexus/analyze/knee.hpp"

#include <algorithm>
#include <cmath>

#include "analyze/forecast/student_t.hpp"

namespace nexus::analyze {
namespace {

constexpr std::size_t kBins = 24;
constexpr std::size_t kFewestBins = 3;  // on either side of a knee
constexpr double kDegrades = 1.5;
constexpr double kOfLine = 0.7;
constexpr double kSignificant = 0.001;

struct Bin {
  double x, y;
};

struct Fit {
  double flat = 0, slope = 0, rest = 0;
};

/// y = flat + slope * x by least squares.
template <typename X>
Fit fit_to(const std::vector<Bin>& bins, X&& x_of) {
  const auto n = static_cast<double>(bins.size());
  double mean_x = 0;
  double mean_y = 0;
  for (const Bin& bin : bins) {
    mean_x += x_of(bin.x) / n;
    mean_y += bin.y / n;
  }
  double xx = 0;
  double xy = 0;
  for (const Bin& bin : bins) {
    xx += (x_of(bin.x) - mean_x) * (x_of(bin.x) - mean_x);
    xy += (x_of(bin.x) - mean_x) * (bin.y - mean_y);
  }
  Fit out;
  out.slope = xx > 0 ? xy / xx : 0;
  out.flat = mean_y - out.slope * mean_x;
  for (const Bin& bin : bins) {
    const double off = bin.y - out.flat - out.slope * x_of(bin.x);
    out.rest += off * off;
  }
  return out;
}

std::vector<Bin> bins_of(std::vector<std::pair<float, float>> rows) {
  std::ranges::sort(rows);
  std::vector<Bin> bins;
  std::vector<float> responses;
  for (std::size_t b = 0; b < kBins; ++b) {
    const std::size_t from = b * rows.size() / kBins;
    const std::size_t to = (b + 1) * rows.size() / kBins;
    double load = 0;
    responses.clear();
    for (std::size_t i = from; i < to; ++i) {
      load += static_cast<double>(rows[i].first) / static_cast<double>(to - from);
      responses.push_back(rows[i].second);
    }
    const auto middle = responses.begin() + static_cast<std::ptrdiff_t>(responses.size() / 2);
    std::ranges::nth_element(responses, middle);
    bins.push_back({load, static_cast<double>(*middle)});
  }
  return bins;
}

}  // namespace

void KneeTrend::add(double load, double response) {
  constexpr double kLargest = 1e30;  // squares fit a double with room to spare
  if (!(load >= 0 && load < kLargest) || !(std::abs(response) < kLargest)) return;
  const std::pair row(static_cast<float>(load), static_cast<float>(response));
  if (rows_.size() < kMost) {
    rows_.push_back(row);
    return;
  }
  rows_[next_] = row;
  next_ = (next_ + 1) % kMost;
}

std::optional<Knee> KneeTrend::fit() const {
  if (rows_.size() < kFewest) return std::nullopt;
  const std::vector<Bin> bins = bins_of(rows_);
  const double span = bins.back().x - bins.front().x;
  if (!(span > 1e-6 * bins.back().x)) return std::nullopt;  // one load only
  const Fit constant = fit_to(bins, [](double) { return 0.0; });
  const Fit line = fit_to(bins, [](double x) { return x; });
  Fit best;
  double knee = 0;
  bool any = false;
  for (std::size_t b = kFewestBins; b + kFewestBins <= bins.size(); ++b) {
    const double at = (bins[b - 1].x + bins[b].x) / 2;
    const Fit hinge = fit_to(bins, [at](double x) { return std::max(0.0, x - at); });
    if (any && hinge.rest >= best.rest) continue;
    best = hinge;
    knee = at;
    any = true;
  }
  const double highest = bins.back().x;
  if (!any || !(best.slope > 0) || !(best.flat >= 0) ||
      best.flat + best.slope * (highest - knee) < kDegrades * best.flat ||
      best.rest > kOfLine * line.rest)
    return std::nullopt;
  // F with one and n - 3 degrees of freedom (flat, slope, knee) is the square of Student's t.
  const auto degrees = static_cast<double>(bins.size()) - 3;
  const double gained = constant.rest - best.rest;
  Knee out{knee, best.flat, best.slope, 0, 0, rows_.size()};
  if (!(gained > 0)) return std::nullopt;
  if (best.rest > 0)
    out.p_value = student_t_two_sided(std::sqrt(gained / best.rest * degrees), degrees);
  if (out.p_value >= kSignificant) return std::nullopt;
  out.highest = static_cast<double>(std::ranges::max_element(rows_)->first);
  return out;
}

}  // namespace nexus::analyze
