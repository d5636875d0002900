// A history on a disk that is closed and opened again, and what it was given.
#pragma once

#include <bit>
#include <map>
#include <optional>

#include "knowledge/disk/support.hpp"
#include "nexus/knowledge/history.hpp"

namespace nexus::knowledge::disk {

inline constexpr std::int64_t kStart = 1'700'000'000'000;

struct Process {
  explicit Process(HistoryDisk disk, std::int64_t now = kStart, HistoryLimits limits = {})
      : clock(base::from_unix_millis(now)), history(registry, limits) {
    opened = history.open_disk(clock, std::move(disk));
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  /// Rows may only be given ascending; the clock goes with them.
  void append(std::uint32_t group, std::int64_t time, const std::vector<SeriesId>& ids,
              const std::vector<double>& values) {
    const std::int64_t now = base::to_unix_millis(clock.wall());
    if (time > now) clock.advance(Millis(time - now));
    history.append({group, time, ids, values});
  }
  /// A gauge, unless it is known as something else.
  SeriesId series(const std::string& name) {
    const auto known = registry.family(name, MetricType::kUntyped, "Help.");
    const auto type = registry.family(known).type;
    return series(name, type == MetricType::kUntyped ? MetricType::kGauge : type);
  }
  SeriesId series(const std::string& name, MetricType type) {
    return must(registry.intern(registry.family(name, type, "Help."), {}));
  }
  [[nodiscard]] Column read(SeriesId id, std::int64_t start = 0,
                            std::int64_t end = kStart * 2) const {
    Column column;
    history.read(id, start, end, column);
    return column;
  }
  /// What a query would find, by name.
  [[nodiscard]] Column read(const std::string& name, std::int64_t start = 0,
                            std::int64_t end = kStart * 2) const {
    const Matcher matcher = must(Matcher::make("__name__", MatchOp::kEqual, name));
    const auto found = history.select({&matcher, 1}, start, end);
    if (found.empty()) return {};
    REQUIRE(found.size() == 1);
    return read(found[0], start, end);
  }

  base::ManualClock clock;
  SeriesRegistry registry{10'000};
  History history;
  Status opened;
};

inline bool same(const Column& a, const Column& b) {
  return a.times == b.times &&
         std::ranges::equal(a.values, b.values, {}, std::bit_cast<std::uint64_t, double>,
                            std::bit_cast<std::uint64_t, double>);
}

}  // namespace nexus::knowledge::disk
