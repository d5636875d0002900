#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <vector>

#include "analyze/forecast/student_t.hpp"
#include "nexus/analyze/forecast.hpp"

using namespace nexus;
using namespace nexus::analyze;

namespace {

struct Points {
  std::vector<std::int64_t> times;
  std::vector<double> values;
};

/// x in seconds (with at most three decimals), y.
Points points(std::initializer_list<std::pair<double, double>> xy) {
  Points out;
  for (const auto& [x, y] : xy) {
    out.times.push_back(std::llround(x * 1000));
    out.values.push_back(y);
  }
  return out;
}

/// NIST StRD, linear regression, data set Norris: y, x.
Points norris() {
  return points({{0.2, 0.1},     {337.4, 338.8}, {118.2, 118.1}, {884.6, 888.0}, {10.1, 9.2},
                 {226.5, 228.1}, {666.3, 668.5}, {996.3, 998.5}, {448.6, 449.1}, {777.0, 778.9},
                 {558.2, 559.2}, {0.4, 0.3},     {0.6, 0.1},     {775.5, 778.1}, {666.9, 668.8},
                 {338.0, 339.3}, {447.5, 448.9}, {11.6, 10.8},   {556.0, 557.7}, {228.1, 228.3},
                 {995.8, 998.0}, {887.6, 888.8}, {120.2, 119.6}, {0.3, 0.3},     {0.3, 0.6},
                 {556.8, 557.6}, {339.1, 339.3}, {887.2, 888.0}, {999.0, 998.5}, {779.0, 778.9},
                 {11.1, 10.2},   {118.3, 117.6}, {229.2, 228.9}, {669.1, 668.4}, {448.9, 449.2},
                 {0.5, 0.2}});
}

}  // namespace

TEST_CASE("the line through NIST's Norris data has the certified values") {
  const Points data = norris();
  REQUIRE(data.times.size() == 36);
  const auto fit = fit_line(data.times, data.values);
  REQUIRE(fit);
  const double last = static_cast<double>(data.times.back()) / 1000;
  CHECK(fit->n == 36);
  CHECK(fit->slope == Approx(1.00211681802045).epsilon(1e-12));
  CHECK(fit->at(-last) == Approx(-0.262323073774029).epsilon(1e-11));
  CHECK(fit->residual_error == Approx(0.884796396144373).epsilon(1e-12));
  CHECK(fit->r_squared.value() == Approx(0.999993745883712).epsilon(1e-14));
  CHECK(fit->residual_error / std::sqrt(fit->sxx) == Approx(0.429796848199937e-3).epsilon(1e-11));
  CHECK(fit->slope_p_value() < 1e-80);
}

TEST_CASE("Anscombe's first set: slope, intercept, R squared, error and p-value as published") {
  const Points data = points({{10, 8.04},
                              {8, 6.95},
                              {13, 7.58},
                              {9, 8.81},
                              {11, 8.33},
                              {14, 9.96},
                              {6, 7.24},
                              {4, 4.26},
                              {12, 10.84},
                              {7, 4.82},
                              {5, 5.68}});
  const auto fit = fit_line(data.times, data.values);
  REQUIRE(fit);
  CHECK(fit->slope == Approx(0.5000909090909091).epsilon(1e-12));
  CHECK(fit->at(-5) == Approx(3.0000909090909092).epsilon(1e-12));
  CHECK(fit->r_squared.value() == Approx(0.66654246).epsilon(1e-7));
  CHECK(fit->residual_error == Approx(1.236603).epsilon(1e-6));
  CHECK(fit->slope_p_value() == Approx(0.00217).epsilon(1e-3));
  // 95 % prediction interval at x = 10: 8.0010 +- 2.262157 * 1.236603 * sqrt(1 + 1/11 + 1/110)
  CHECK(fit->at(5) == Approx(8.0010).epsilon(1e-9));
  CHECK(fit->half_width(5, 0.95) ==
        Approx(2.2621571627409915 * 1.23660332273794 * std::sqrt(1.1)).epsilon(1e-9));
}

TEST_CASE("a straight line is found exactly and a constant has no slope") {
  std::vector<std::int64_t> times;
  std::vector<double> line, constant;
  for (int i = 0; i < 60; ++i) {
    times.push_back(1'700'000'000'000 + i * 1000);
    line.push_back(10 + 0.5 * i);
    constant.push_back(42);
  }
  const auto rising = fit_line(times, line);
  REQUIRE(rising);
  CHECK(rising->slope == Approx(0.5).epsilon(1e-12));
  CHECK(rising->intercept == Approx(39.5).epsilon(1e-12));
  CHECK(rising->r_squared.value() == Approx(1.0));
  CHECK(rising->slope_p_value() < 1e-12);
  const auto flat = fit_line(times, constant);
  REQUIRE(flat);
  CHECK(flat->slope == 0);
  CHECK(flat->intercept == 42);
  CHECK(flat->residual_error == 0);
  CHECK_FALSE(flat->r_squared);  // there is nothing to explain
  CHECK(flat->half_width(3600, 0.95) == 0);
  CHECK(flat->slope_p_value() == 1);
}

TEST_CASE("hostile numbers: no fit, or a finite one") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<std::int64_t> times = {1000, 2000, 3000, 4000};
  CHECK_FALSE(fit_line({}, {}));
  CHECK_FALSE(fit_line(times, std::vector<double>{1, 2, 3}));
  CHECK_FALSE(fit_line(times, std::vector<double>{nan, inf, 1, 2}));
  CHECK_FALSE(fit_line(std::vector<std::int64_t>{5, 5, 5}, std::vector<double>{1, 2, 3}));
  const auto gap = fit_line(times, std::vector<double>{1, nan, 3, 4});
  REQUIRE(gap);
  CHECK(gap->n == 3);
  CHECK(gap->slope == Approx(1));
  const auto huge = fit_line(times, std::vector<double>{1e300, 2e300, 3e300, 4e300});
  REQUIRE(huge);
  CHECK(huge->slope == Approx(1e300));
  CHECK(huge->r_squared.value() == Approx(1));
  const auto tiny = fit_line(times, std::vector<double>{1e-300, 2e-300, 3e-300, 4e-300});
  REQUIRE(tiny);
  CHECK(tiny->slope == Approx(1e-300));
  const double most = std::numeric_limits<double>::max();
  const auto extreme = fit_line(times, std::vector<double>{-most, most, -most, most});
  if (extreme) CHECK(std::isfinite(extreme->slope));
  const auto backwards =
      fit_line(std::vector<std::int64_t>{4000, 3000, 2000, 1000}, std::vector<double>{4, 3, 2, 1});
  REQUIRE(backwards);
  CHECK(backwards->slope == Approx(1));
  CHECK(backwards->intercept == Approx(1));
}

TEST_CASE("Student's t quantiles agree with the tables") {
  struct Known {
    double p, degrees, t;
  };
  const Known known[] = {
      {0.975, 1, 12.706204736174698},   {0.975, 2, 4.302652729749464},
      {0.975, 5, 2.570581835636314},    {0.975, 9, 2.2621571627409915},
      {0.975, 10, 2.2281388519649385},  {0.975, 30, 2.0422724563012373},
      {0.975, 100, 1.9839715185235518}, {0.95, 10, 1.8124611228107335},
      {0.995, 10, 3.169272672616951},   {0.9, 10, 1.3721836411102863},
      {0.975, 1e12, 1.959963984540054},
  };
  for (const Known& k : known) {
    INFO(k.p << " " << k.degrees);
    CHECK(student_t_quantile(k.p, k.degrees) == Approx(k.t).epsilon(1e-9));
    CHECK(student_t_quantile(1 - k.p, k.degrees) == Approx(-k.t).epsilon(1e-9));
  }
  CHECK(student_t_quantile(0.5, 7) == 0);
  CHECK(std::isnan(student_t_quantile(0, 5)));
  CHECK(std::isnan(student_t_quantile(1, 5)));
  CHECK(std::isnan(student_t_quantile(0.9, 0)));
}

TEST_CASE(
    "Student's t quantiles agree with the closed forms of 2 and 4 degrees, and invert the tail") {
  for (const double p : {0.51, 0.6, 0.75, 0.9, 0.975, 0.99, 0.9999, 0.9999999}) {
    INFO(p);
    const double a = 4 * p * (1 - p);
    CHECK(student_t_quantile(p, 2) == Approx((2 * p - 1) * std::sqrt(2 / a)).epsilon(1e-9));
    const double q = std::cos(std::acos(std::sqrt(a)) / 3) / std::sqrt(a);
    CHECK(student_t_quantile(p, 4) == Approx(2 * std::sqrt(q - 1)).epsilon(1e-9));
    for (const double v : {1.0, 1.5, 3.0, 7.0, 58.0, 99.0, 250.0, 3598.0, 1e5, 9.9e6, 1.1e7}) {
      INFO(v);
      const double t = student_t_quantile(p, v);
      CHECK(student_t_two_sided(t, v) == Approx(2 * (1 - p)).epsilon(1e-8));
    }
  }
}

TEST_CASE("incomplete beta: closed forms and symmetry") {
  CHECK(incomplete_beta(1, 1, 0.3) == Approx(0.3).epsilon(1e-13));
  CHECK(incomplete_beta(2, 3, 0.4) == Approx(0.5248).epsilon(1e-13));
  CHECK(incomplete_beta(0.5, 0.5, 0.5) == Approx(0.5).epsilon(1e-13));
  CHECK(incomplete_beta(5, 0.5, 0) == 0);
  CHECK(incomplete_beta(5, 0.5, 1) == 1);
  for (const double a : {0.5, 3.0, 40.0, 500.0}) {
    CHECK(incomplete_beta(a, 0.5, 0.9) + incomplete_beta(0.5, a, 0.1) == Approx(1).epsilon(1e-12));
  }
}
