// The Prometheus text exposition format 0.0.4: families sorted by name, series sorted within, HELP
// and label values escaped.
//
// Used by /metrics, `collect --once` and golden tests. Heads (`name{labels} `) are rendered once
// per series and kept; the steady state appends numbers to one reused buffer and allocates nothing.
// Thread safety: an Exposition belongs to one thread at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nexus/knowledge/history.hpp"
#include "nexus/knowledge/series.hpp"

namespace nexus::knowledge {

struct ExposedSample {
  SeriesId id;
  double value;
};

class Exposition {
 public:
  explicit Exposition(const SeriesRegistry& registry);
  ~Exposition();

  /// Renders the samples (any order) into a buffer that stays valid until the next call.
  [[nodiscard]] const std::string& render(std::vector<ExposedSample>& samples);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::knowledge
