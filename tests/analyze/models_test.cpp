// What the nexus_ functions say of series whose course is known.
#include "nexus/analyze/models.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "analyze/rules/memory_store.hpp"
#include "nexus/knowledge/promql.hpp"

using namespace nexus;
using namespace nexus::analyze;
using knowledge::Labels;

namespace {

constexpr std::int64_t kSecond = 1000;

/// m{s="..."} with a sample a second from 1 on.
void fill(MemoryStore& store, std::string_view name, std::size_t count, auto&& value_of) {
  for (std::size_t i = 1; i <= count; ++i) {
    REQUIRE(store.append(Labels("m", {{"s", name}}), static_cast<std::int64_t>(i) * kSecond,
                         value_of(i)));
  }
}

/// The only element's value; nothing when there is none.
std::optional<double> ask(const MemoryStore& store, std::string_view text, std::int64_t time) {
  const auto query = knowledge::promql::Query::parse(text);
  REQUIRE(query);
  const auto value = query->instant(store, time);
  REQUIRE(value);
  const auto& vector = std::get<knowledge::promql::Vector>(*value);
  REQUIRE(vector.size() <= 1);
  if (vector.empty()) return std::nullopt;
  return vector.front().value;
}

}  // namespace

TEST_CASE("models: forecasts along a line, with an interval that noise widens") {
  MemoryStore store;
  fill(store, "line", 600, [](std::size_t i) { return 10 + 0.5 * static_cast<double>(i); });
  fill(store, "noise", 600,
       [](std::size_t i) { return 10 + 0.5 * static_cast<double>(i) + (i % 2 == 0 ? 3.0 : -3.0); });
  fill(store, "two", 2, [](std::size_t) { return 1.0; });
  const std::int64_t now = 602 * kSecond;
  CHECK(ask(store, "nexus_forecast(m{s='line'}[10m], 60)", now) == Approx(10 + 0.5 * 662));
  CHECK(ask(store, "nexus_forecast(m{s='line'}[10m], 0)", now) == Approx(10 + 0.5 * 602));
  CHECK(ask(store, "nexus_forecast_lower(m{s='line'}[10m], 60)", now) == Approx(341));
  CHECK(ask(store, "nexus_forecast(m{s='noise'}[10m], 60)", now) == Approx(341).margin(0.5));
  const double lower = *ask(store, "nexus_forecast_lower(m{s='noise'}[10m], 60)", now);
  const double upper = *ask(store, "nexus_forecast_upper(m{s='noise'}[10m], 60)", now);
  CHECK(lower < 341 - 5);
  CHECK(upper > 341 + 5);
  CHECK(upper < 341 + 8);
  CHECK_FALSE(ask(store, "nexus_forecast(m{s='two'}[10m], 60)", now));
  CHECK_FALSE(ask(store, "nexus_forecast(m{s='line'}[10m], NaN)", now));
}

TEST_CASE("models: time to a threshold") {
  MemoryStore store;
  fill(store, "up", 600, [](std::size_t i) { return static_cast<double>(i) / 10; });
  fill(store, "flat", 600, [](std::size_t) { return 5.0; });
  fill(store, "shaking", 600, [](std::size_t i) { return i % 2 == 0 ? 4.0 : 6.0; });
  const std::int64_t now = 600 * kSecond;
  CHECK(ask(store, "nexus_time_to(m{s='up'}[10m], 90)", now) == Approx(300));
  CHECK(ask(store, "nexus_time_to(m{s='up'}[10m], 90)", now + 60 * kSecond) == Approx(240));
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  CHECK(ask(store, "nexus_time_to(m{s='up'}[10m], 30)", now) == kInfinity);
  CHECK(ask(store, "nexus_time_to(m{s='flat'}[10m], 30)", now) == kInfinity);
  CHECK(ask(store, "nexus_time_to(m{s='flat'}[10m], 5)", now) == 0);
  CHECK(ask(store, "nexus_time_to(m{s='shaking'}[10m], 30)", now) == kInfinity);
}

TEST_CASE("models: an anomaly stands out, the usual does not") {
  MemoryStore store;
  const auto wave = [](std::size_t i) { return std::sin(static_cast<double>(i) / 10) * 10; };
  fill(store, "usual", 600, wave);
  fill(store, "spike", 600, [&](std::size_t i) { return i == 600 ? 80.0 : wave(i); });
  fill(store, "flat", 600, [](std::size_t) { return 5.0; });
  fill(store, "step", 600, [](std::size_t i) { return i == 600 ? 6.0 : 5.0; });
  fill(store, "few", 8, wave);
  fill(store, "nan", 600, [&](std::size_t i) { return i % 7 == 0 ? std::nan("") : wave(i); });
  const std::int64_t now = 600 * kSecond;
  const double usual = *ask(store, "nexus_anomaly(m{s='usual'}[10m])", now);
  const double spike = *ask(store, "nexus_anomaly(m{s='spike'}[10m])", now);
  CHECK(usual < 0.6);
  CHECK(spike > 0.65);
  CHECK(ask(store, "nexus_anomaly(m{s='spike'}[10m])", now) == spike);  // the same every time
  CHECK(ask(store, "nexus_anomaly(m{s='flat'}[10m])", now) == 0);
  CHECK(ask(store, "nexus_anomaly(m{s='step'}[10m])", now) == 1);
  CHECK_FALSE(ask(store, "nexus_anomaly(m{s='few'}[10m])", now));
  CHECK(ask(store, "nexus_anomaly(m{s='nan'}[10m])", now));
}
