// SelfMetrics: the agent's own metrics (`nexus_*`), over prometheus-cpp's core registry.
//
// Handles are cheap to copy and lock-free to use; they stay valid as long as the SelfMetrics they
// came from. The `agent` collector copies all of them into the history, so they are on /metrics and
// in PromQL like every other series. Cardinality: label values must come from a closed set
// (collector names, outcomes), never from input. Thread safety: all members, any thread.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "nexus/knowledge/labels.hpp"
#include "nexus/knowledge/series.hpp"

namespace nexus::knowledge {

class Counter {
 public:
  void add(double by = 1) const;
  [[nodiscard]] double value() const;

 private:
  friend class SelfMetrics;
  explicit Counter(void* impl) : impl_(impl) {}
  void* impl_;
};

class Gauge {
 public:
  void set(double value) const;
  void add(double by) const;
  [[nodiscard]] double value() const;

 private:
  friend class SelfMetrics;
  explicit Gauge(void* impl) : impl_(impl) {}
  void* impl_;
};

class SelfMetrics {
 public:
  SelfMetrics();
  ~SelfMetrics();

  /// Same name and labels: same counter. Names end in _total for counters.
  [[nodiscard]] Counter counter(std::string_view name, std::string_view help,
                                std::initializer_list<LabelView> labels = {});
  [[nodiscard]] Gauge gauge(std::string_view name, std::string_view help,
                            std::initializer_list<LabelView> labels = {});

  struct Reading {
    std::string_view name;
    MetricType type;
    std::string_view help;
    std::span<const LabelView> labels;
    double value;
  };
  /// Visits every metric; views are valid during the call.
  void visit(const std::function<void(const Reading&)>& visitor) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::knowledge
