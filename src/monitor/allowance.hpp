// Allowance: how many series all sources together ([[scrape]], [[probe]], [push], [statsd],
// [[log]]) may hold, so that the host's own collectors always find room in the registry.
//
// Series that ended count no more; the registry holds them until the history forgets them, which it
// does above four fifths of the limit, ten minutes after their end. Names that change faster than
// that are not given the last tenth of the registry. Thread safety: all members, any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "nexus/knowledge/series.hpp"

namespace nexus::monitor {

/// Times the limit of series of one source: the bytes that all its labels may have.
inline constexpr std::size_t kMeanLabelBytes = 512;

class Allowance {
 public:
  /// Four fifths of what the registry can hold: the host has a fifth, whatever the sources say. Not
  /// beside take(). Without it there is no limit.
  void limit(const knowledge::SeriesRegistry& registry) noexcept {
    registry_ = &registry;
    limit(registry.limit() / 5 * 4);
  }
  void limit(std::size_t series) noexcept { limit_ = series; }

  [[nodiscard]] bool take() noexcept {
    if (taken_.fetch_add(1) < limit_ && has_room()) return true;
    taken_.fetch_sub(1);
    return false;
  }
  void give(std::size_t series) noexcept { taken_.fetch_sub(series); }
  [[nodiscard]] std::size_t taken() const noexcept { return taken_; }
  /// For a name that the registry does not have: what is left above is the host's.
  [[nodiscard]] bool has_room() const noexcept {
    return registry_ == nullptr || registry_->size() < registry_->limit() / 10 * 9;
  }

 private:
  const knowledge::SeriesRegistry* registry_ = nullptr;
  std::atomic<std::size_t> limit_{SIZE_MAX};
  std::atomic<std::size_t> taken_{0};
};

}  // namespace nexus::monitor
