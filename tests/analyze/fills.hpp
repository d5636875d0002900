// Replays of what fills: a steady fill and what disturbs one on real hosts, by seed, each with the
// date that is true by what had happened until then.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <numbers>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace nexus::analyze::test {

constexpr std::int64_t kRowsADay = 288;
constexpr std::int64_t kRowsAnHour = 12;

/// One series of five-minute rows that is full at 100.
struct FillReplay {
  /// Without noise, at `row`, as it would go on if nothing but what returns began after `known`.
  std::function<double(std::int64_t row, std::int64_t known)> level;
  double noise = 0.05;
  double grain = 0;          // what values are rounded to
  std::int64_t event = 0;    // row
  std::int64_t settled = 0;  // rows after the event from which on a right date is to be expected
  std::int64_t rows = 0;
  std::pair<std::int64_t, std::int64_t> gap{0, 0};  // rows that are missing: [first, last)

  [[nodiscard]] std::optional<double> truth(std::int64_t row) const {
    constexpr std::int64_t kFarthest = 200 * kRowsADay;
    for (std::int64_t ahead = 0; ahead < kFarthest; ahead += kRowsAnHour)
      if (level(row + ahead, row) >= 100) return static_cast<double>(ahead) * 300;
    return std::nullopt;
  }
};

/// What is drawn by a seed: odd ones have a daily cycle.
struct FillDraw {
  std::mt19937 random;
  double start = 0;
  double rate = 0;  // a day
  double wave = 0;
  double phase = 0;
  double jump = 0;
  std::int64_t event = 0;

  explicit FillDraw(unsigned seed) : random(seed * 7919U + 17U) {
    start = uniform(20, 40);
    rate = (100 - start) / uniform(25, 40);
    wave = seed % 2 == 1 ? rate * uniform(0.5, 1.5) : 0;
    phase = uniform(0, 6);
    jump = rate * uniform(1, 6);
    event = static_cast<std::int64_t>(uniform(4, 6.5) * kRowsADay);
  }
  double uniform(double low, double high) {
    // Not a distribution of the library: the same numbers everywhere.
    return low + (high - low) * static_cast<double>(random()) / 4294967296.0;
  }
  [[nodiscard]] double steady(std::int64_t row) const {
    const double day = static_cast<double>(row) / kRowsADay;
    return start + rate * day + wave * std::sin(2 * std::numbers::pi * day + phase);
  }
};

/// From 0 to 1 in so many rows, beginning at `begin`.
inline double ramp(std::int64_t row, std::int64_t begin, std::int64_t rows) {
  return std::clamp(static_cast<double>(row - begin + 1) / static_cast<double>(rows), 0.0, 1.0);
}

struct FillScenario {
  std::string name;
  std::function<FillReplay(unsigned seed)> make;
};

inline FillReplay replay_of(const FillDraw& draw,
                            std::function<double(std::int64_t, std::int64_t)> level) {
  FillReplay out;
  out.level = std::move(level);
  FillDraw more = draw;
  out.noise = draw.rate * more.uniform(0.002, 0.1);
  out.event = draw.event;
  out.rows = draw.event + 8 * kRowsADay;
  return out;
}

/// A jump over `up` rows that is cleaned up `after` rows later, over `down` rows; 0: never.
inline FillReplay jump_replay(unsigned seed, std::int64_t up, std::int64_t after,
                              std::int64_t down = 1) {
  const FillDraw d(seed);
  auto out = replay_of(d, [=](std::int64_t row, std::int64_t known) {
    double level = d.steady(row);
    if (known >= d.event) level += d.jump * ramp(std::min(row, known), d.event, up);
    if (after > 0 && known >= d.event + after)
      level -= d.jump * ramp(std::min(row, known), d.event + after, down);
    return level;
  });
  out.settled = after > 0 ? after + down : up;
  return out;
}

inline std::vector<FillScenario> fill_scenarios() {
  constexpr std::int64_t day = kRowsADay;
  constexpr std::int64_t hour = kRowsAnHour;
  std::vector<FillScenario> all;
  const auto add = [&](std::string name, std::function<FillReplay(unsigned)> make) {
    all.push_back({std::move(name), std::move(make)});
  };
  add("steady", [](unsigned seed) {
    const FillDraw d(seed);
    return replay_of(d, [=](std::int64_t row, std::int64_t) { return d.steady(row); });
  });
  add("one jump up", [](unsigned seed) { return jump_replay(seed, 1, 0); });
  add("one jump, in 20 min", [](unsigned seed) { return jump_replay(seed, 4, 0); });
  add("one jump, in 2 h", [](unsigned seed) { return jump_replay(seed, 2 * hour, 0); });
  add("one jump, in 8 h", [](unsigned seed) { return jump_replay(seed, 8 * hour, 0); });
  add("jump, cleaned after 1 h", [](unsigned seed) { return jump_replay(seed, 1, hour); });
  add("jump, cleaned after 6 h", [](unsigned seed) { return jump_replay(seed, 1, 6 * hour); });
  add("jump, cleaned after 1 d", [](unsigned seed) { return jump_replay(seed, 1, day); });
  add("jump, cleaned after 3 d", [](unsigned seed) { return jump_replay(seed, 1, 3 * day); });
  add("jump in 2 h, cleaned in 2 h, 1 d later",
      [](unsigned seed) { return jump_replay(seed, 2 * hour, day, 2 * hour); });
  add("jump, cleaned over 12 h, 1 d later",
      [](unsigned seed) { return jump_replay(seed, 1, day, 12 * hour); });
  add("jump in 12 h, cleaned at once, 1 d later",
      [](unsigned seed) { return jump_replay(seed, 12 * hour, day); });
  add("two jumps, 3 d apart", [](unsigned seed) {
    const FillDraw d(seed);
    auto out = replay_of(d, [=](std::int64_t row, std::int64_t known) {
      return d.steady(row) + (known >= d.event - 3 * day && row >= d.event - 3 * day ? d.jump : 0) +
             (known >= d.event && row >= d.event ? d.jump * 0.7 : 0);
    });
    return out;
  });
  add("jump, the wave and noise of a busy disk", [](unsigned seed) {
    auto out = jump_replay(seed, 1, 0);
    out.noise *= 10;
    return out;
  });
  add("jump, values in coarse units", [](unsigned seed) {
    auto out = jump_replay(seed, 1, 0);
    out.grain = FillDraw(seed).rate / 4;
    return out;
  });
  for (const bool jitter : {false, true}) {
    add(jitter ? "daily jump and clean-up, +-1.5 h" : "daily jump and clean-up",
        [=](unsigned seed) {
          const FillDraw d(seed);
          auto out = replay_of(d, [=](std::int64_t row, std::int64_t) {
            const std::int64_t of_day = row / day;
            std::mt19937 random(seed * 131U + static_cast<unsigned>(of_day));
            const auto shift = [&] {
              const auto drawn = static_cast<std::int64_t>(random() % 37) - 18;
              return jitter ? drawn : 0;
            };
            const std::int64_t up = day / 3 + shift();
            const std::int64_t down = 5 * day / 6 + shift();
            const std::int64_t at = row % day;
            return d.steady(row) + (at >= up && at < down ? d.jump : 0);
          });
          return out;
        });
    add(jitter ? "daily jumps are the growth, +-1.5 h" : "daily jumps are the growth",
        [=](unsigned seed) {
          const FillDraw d(seed);
          return replay_of(d, [=](std::int64_t row, std::int64_t) {
            const std::int64_t of_day = row / day;
            std::mt19937 random(seed * 131U + static_cast<unsigned>(of_day));
            const auto drawn = static_cast<std::int64_t>(random() % 37) - 18;
            const std::int64_t at = day / 3 + (jitter ? drawn : 0);
            return d.start + 0.2 * d.rate * static_cast<double>(row) / day +
                   0.8 * d.rate * static_cast<double>(of_day + (row % day >= at ? 1 : 0));
          });
        });
  }
  for (const double every : {2.0, 2.5, 3.0}) {
    add("jumps every " + std::to_string(every).substr(0, 3) + " days are most of the growth",
        [=](unsigned seed) {
          const FillDraw d(seed);
          auto out = replay_of(d, [=](std::int64_t row, std::int64_t) {
            const auto gap = static_cast<std::int64_t>(every * kRowsADay);
            return d.start + 0.3 * d.rate * static_cast<double>(row) / kRowsADay +
                   0.7 * d.rate * every * static_cast<double>((row + d.event % gap) / gap);
          });
          out.event = 10 * kRowsADay;
          out.rows = 20 * kRowsADay;
          return out;
        });
  }
  add("three pulses in a week", [](unsigned seed) {
    const FillDraw d(seed);
    auto out = replay_of(d, [=](std::int64_t row, std::int64_t known) {
      double level = d.steady(row);
      for (const std::int64_t begin : {d.event - 3 * day, d.event - 3 * day / 2, d.event})
        if (known >= begin && row >= begin && (known < begin + day || row < begin + day))
          level += d.jump;
      return level;
    });
    out.settled = day;
    return out;
  });
  const auto weekly = [](double share) {
    return [=](unsigned seed) {
      const FillDraw d(seed);
      auto out = replay_of(d, [=](std::int64_t row, std::int64_t) {
        return d.start +
               0.5 * d.rate *
                   ((1 - share) * static_cast<double>(row) / day +
                    share * 7 * static_cast<double>((row + d.event % (7 * day)) / (7 * day)));
      });
      out.event = 28 * day;
      out.rows = 42 * day;
      return out;
    };
  };
  add("weekly steps are all of the growth", weekly(1));
  add("weekly steps are half of the growth", weekly(0.5));
  add("grows on five days of seven, in office hours", [](unsigned seed) {
    const FillDraw d(seed);
    auto out = replay_of(d, [=](std::int64_t row, std::int64_t) {
      const auto of = [&](std::int64_t r) {  // days of growth until then
        const double at = std::clamp(static_cast<double>(r % day) / day, 0.35, 0.75);
        const auto of_week = (r / day) % 7;
        return static_cast<double>(r / day / 7 * 5 + std::min<std::int64_t>(of_week, 5)) +
               (of_week < 5 ? (at - 0.35) / 0.4 : 0);
      };
      return d.start + d.rate * of(row);
    });
    out.event = 10 * day;
    out.rows = 24 * day;
    return out;
  });
  add("quiet, one jump", [](unsigned seed) {
    const FillDraw d(seed);
    auto out = replay_of(d, [=](std::int64_t row, std::int64_t known) {
      return d.start + (known >= d.event && row >= d.event ? 3 * d.jump : 0);
    });
    if (seed % 2 == 0) out.noise = 0;
    return out;
  });
  add("quiet, two jumps", [](unsigned seed) {
    const FillDraw d(seed);
    auto out = replay_of(d, [=](std::int64_t row, std::int64_t known) {
      return d.start + (known >= d.event && row >= d.event ? 2 * d.jump : 0) +
             (known >= d.event - 2 * day && row >= d.event - 2 * day ? d.jump : 0);
    });
    if (seed % 2 == 0) out.noise = 0;
    return out;
  });
  add("quiet, a jump cleaned after 1 d", [](unsigned seed) {
    const FillDraw d(seed);
    auto out = replay_of(d, [=](std::int64_t row, std::int64_t known) {
      const auto at = std::min(row, known);
      return d.start + (at >= d.event && at < d.event + day ? 3 * d.jump : 0);
    });
    if (seed % 2 == 0) out.noise = 0;
    return out;
  });
  const auto stops = [](double jumps) {
    return [=](unsigned seed) {
      const FillDraw d(seed);
      return replay_of(d, [=](std::int64_t row, std::int64_t known) {
        if (known < d.event) return d.steady(row);
        const double over =
            d.rate * static_cast<double>(std::max<std::int64_t>(row - d.event, 0)) / day;
        return d.steady(row) - over + (row >= d.event ? jumps * d.jump : 0);
      });
    };
  };
  add("stops", stops(0));
  add("jumps and stops", stops(1));
  const auto faster = [](double times, double jumps) {
    return [=](unsigned seed) {
      const FillDraw d(seed);
      auto out = replay_of(d, [=](std::int64_t row, std::int64_t known) {
        if (known < d.event) return d.steady(row);
        const double over =
            d.rate * static_cast<double>(std::max<std::int64_t>(row - d.event, 0)) / day;
        return d.steady(row) + (times - 1) * over + (row >= d.event ? jumps * d.jump : 0);
      });
      const double left = 100 - d.steady(d.event) - jumps * d.jump;
      out.rows = std::min(out.rows,
                          d.event + static_cast<std::int64_t>((left / d.rate / times - 0.1) * day));
      return out;
    };
  };
  add("three times as fast", faster(3, 0));
  add("a jump, and three times as fast", faster(3, 1));
  add("twenty times as fast", faster(20, 0));
  add("reboot: 40 min missing, less by half a jump", [](unsigned seed) {
    const FillDraw d(seed);
    auto out = replay_of(d, [=](std::int64_t row, std::int64_t known) {
      return d.steady(row) - (known >= d.event && row >= d.event ? d.jump / 2 : 0);
    });
    out.gap = {d.event, d.event + 8};
    out.settled = 8;
    return out;
  });
  add("12 h missing, then as before", [](unsigned seed) {
    const FillDraw d(seed);
    auto out = replay_of(d, [=](std::int64_t row, std::int64_t) { return d.steady(row); });
    out.gap = {d.event, d.event + 12 * hour};
    out.settled = 12 * hour;
    return out;
  });
  const auto cleaned = [](double low, double high) {
    return [=](unsigned seed) {
      FillDraw d(seed);
      const double drop = d.rate * static_cast<double>(d.event) / day * d.uniform(low, high);
      return replay_of(d, [=](std::int64_t row, std::int64_t known) {
        return d.steady(row) - (known >= d.event && row >= d.event ? drop : 0);
      });
    };
  };
  add("clean-up of a fifth of the rise", cleaned(0.15, 0.25));
  add("clean-up of half of the rise", cleaned(0.4, 0.6));
  add("clean-up of all of the rise", cleaned(0.9, 1));
  const auto teeth = [](double low, double high) {
    return [=](unsigned seed) {
      FillDraw d(seed);
      std::vector<std::int64_t> begins{0};
      while (begins.back() < 60 * day)
        begins.push_back(begins.back() + static_cast<std::int64_t>(d.uniform(low, high) * day));
      const double rise = d.rate * 3;
      auto out = replay_of(d, [=](std::int64_t row, std::int64_t) {
        const auto next = std::ranges::upper_bound(begins, row);
        const auto since = static_cast<double>(row - *std::prev(next)) / day;
        return d.start + std::min(rise * since, 60.0);
      });
      out.rows = 30 * day;
      out.event = begins[1] + 1;
      return out;
    };
  };
  add("never: saw teeth of 1 to 3 days", teeth(1, 3));
  add("never: saw teeth of 7 days", teeth(7, 7));
  add("never: saw teeth of 4 to 9 days", teeth(4, 9));
  add("never (D9): boot", [](unsigned seed) {
    FillDraw d(seed);
    const double size = d.uniform(2, 6);
    auto out = replay_of(d, [=](std::int64_t row, std::int64_t) {
      return 55 + size * (1 - std::exp(-static_cast<double>(row) / 6));
    });
    out.event = day / 2;
    out.rows = 6 * day;
    return out;
  });
  add("never (D9): package run", [](unsigned seed) {
    FillDraw d(seed);
    const double size = d.uniform(1, 10);
    return replay_of(d, [=](std::int64_t row, std::int64_t known) {
      const auto at = std::min(row, known);
      return 60 + size * ramp(at, d.event, 3) * (at >= d.event ? 1 : 0) -
             (at >= d.event + 40 ? size / 3 : 0);
    });
  });
  add("never (D9): package run every third day", [](unsigned seed) {
    FillDraw d(seed);
    const double size = d.uniform(1, 10);
    return replay_of(d, [=](std::int64_t row, std::int64_t) {
      const auto at = (row + d.event) % (3 * day);
      return 60 + (at > 100 && at < 140 ? size * ramp(at, 100, 3) : 0);
    });
  });
  add("never (D9): nightly job", [](unsigned seed) {
    FillDraw d(seed);
    const double size = d.uniform(5, 25);
    return replay_of(d, [=](std::int64_t row, std::int64_t) {
      const auto at = row % day;
      return 65 + (at > 24 && at < 36 ? size * ramp(at, 24, 12) : 0);
    });
  });
  return all;
}

}  // namespace nexus::analyze::test
