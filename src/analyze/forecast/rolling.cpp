#include "nexus/analyze/rolling.hpp"

#include <cmath>

namespace nexus::analyze {
namespace {

ForecastPath path_of(const Combination& model, std::size_t origin, std::int64_t time,
                     std::uint32_t leads) {
  ForecastPath path;
  path.origin = origin;
  path.time = time;
  path.points.reserve(leads);
  for (std::uint32_t lead = 1; lead <= leads; ++lead) path.points.push_back(model.at(lead));
  return path;
}

}  // namespace

std::vector<std::size_t> rolling_origins(std::size_t rows, std::uint32_t leads, std::size_t count) {
  std::vector<std::size_t> origins;
  if (count == 0 || rows <= leads) return origins;
  const std::size_t last = rows - leads;
  const std::size_t first = std::min(rows / 2, last);
  if (count == 1) return {last};
  const double step = static_cast<double>(last - first) / static_cast<double>(count - 1);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t origin =
        i + 1 == count ? last : first + static_cast<std::size_t>(static_cast<double>(i) * step);
    if (origins.empty() || origin > origins.back()) origins.push_back(origin);
  }
  return origins;
}

Rolled roll(std::span<const std::int64_t> times, std::span<const double> values,
            const RollingPlan& plan) {
  Combination::Shape shape;
  shape.step = plan.step;
  shape.leads = Combination::leads_up_to(plan.leads);
  shape.minimum = plan.minimum;
  shape.maximum = plan.maximum;
  Rolled out{{}, 0, 0, Combination(shape)};
  const std::int64_t step = plan.step.count();
  auto next = plan.origins.begin();
  for (std::size_t i = 0; i <= values.size(); ++i) {
    for (; next != plan.origins.end() && *next == i; ++next) {
      if (i > 0 && out.model.ready())
        out.paths.push_back(path_of(out.model, i, times[i - 1], plan.leads));
    }
    if (i == values.size()) break;
    if (!std::isfinite(values[i])) ++out.missing;
    // Rounded from the first row's own place, so that a minute's jitter moves no row.
    const std::int64_t slot =
        times[0] / step +
        std::llround(static_cast<double>(times[i] - times[0]) / static_cast<double>(step));
    if (!out.model.add(slot, values[i])) ++out.out_of_order;
  }
  return out;
}

}  // namespace nexus::analyze
