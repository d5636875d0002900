// The parts below analyze, real ones, on a clock that the test moves.
#pragma once

#include <catch2/catch.hpp>
#include <cmath>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nexus/analyze/book.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/knowledge/history.hpp"
#include "nexus/knowledge/ring.hpp"
#include "nexus/knowledge/self_metrics.hpp"
#include "nexus/knowledge/series.hpp"
#include "nexus/knowledge/state.hpp"
#include "support/self_metrics.hpp"

namespace nexus::analyze::test {

using namespace std::chrono_literals;

using nexus::test::metric;

struct World {
  World() {
    auto opened = knowledge::StateDb::open(":memory:");
    REQUIRE(opened);
    db = std::move(*opened);
    open_book();
  }

  void open_book(std::size_t max_findings = 10'000) {
    book.reset();
    auto opened = Book::open(clock, *db, self, max_findings);
    REQUIRE(opened);
    book = std::move(*opened);
    book->subscribe([this](const Finding& finding) {
      heard.push_back(finding.name + " " + std::string(to_string(finding.state)));
    });
  }

  /// One sample of a raw series, now.
  void sample(const knowledge::Labels& labels, double value) {
    const knowledge::SeriesId id = registry.intern(labels).value();
    samples[id] = value;
  }
  /// Hands what sample() and the rules have pushed to the history.
  void ingest() {
    std::vector<knowledge::SeriesId> ids;
    std::vector<double> values;
    for (const auto& [id, value] : samples) {
      ids.push_back(id);
      values.push_back(value);
    }
    if (!ids.empty()) history.append({1, base::to_unix_millis(clock.wall()), ids, values});
    samples.clear();
    ring->drain([this](const knowledge::BatchView& batch) { history.append(batch); });
  }

  [[nodiscard]] const Finding* find(std::string_view name, std::string_view subject = {}) {
    latest = book->snapshot();
    for (const Finding& finding : *latest) {
      if (finding.name == name && (subject.empty() || finding.subject == subject)) return &finding;
    }
    return nullptr;
  }

  base::ManualClock clock;
  knowledge::SelfMetrics self;
  std::unique_ptr<knowledge::StateDb> db;
  knowledge::SeriesRegistry registry{10'000};
  knowledge::History history{registry, {}};
  std::shared_ptr<knowledge::SampleRing> ring = std::make_shared<knowledge::SampleRing>(1 << 14);
  std::map<knowledge::SeriesId, double> samples;
  std::unique_ptr<Book> book;
  std::vector<std::string> heard;  // "name state", in order
  std::shared_ptr<const Findings> latest;
};

inline Observation observation(std::string name, std::string subject = "host",
                               Severity severity = Severity::kWarning) {
  Observation seen;
  seen.name = std::move(name);
  seen.labels = {{"where", subject}};
  seen.subject = std::move(subject);
  seen.severity = severity;
  return seen;
}

}  // namespace nexus::analyze::test
