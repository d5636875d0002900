// Runs collectors over a host tree: recorded (tests/hosts/NAME) or written by the test.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/monitor/collector.hpp"
#include "nexus/monitor/observed.hpp"

namespace nexus::monitor::testing {

/// A directory below the temporary directory, removed at the end.
class TemporaryTree {
 public:
  TemporaryTree();
  ~TemporaryTree();
  TemporaryTree(const TemporaryTree&) = delete;
  TemporaryTree& operator=(const TemporaryTree&) = delete;

  /// Writes `path` ("proc/stat", "sys/block/sda/device/model") with its directories.
  void write(std::string_view path, std::string_view content) const;
  void remove(std::string_view path) const;
  [[nodiscard]] std::string path() const { return root_.string(); }
  [[nodiscard]] host::Roots roots() const;

 private:
  std::filesystem::path root_;
};

/// Whether a collector reads only files below its roots: a recorded tree has all it needs. The
/// others tell of the running machine or of the agent.
[[nodiscard]] bool is_file_based(std::string_view collector);

/// tests/hosts/NAME
[[nodiscard]] std::string host_path(std::string_view name);
[[nodiscard]] host::Roots roots_at(const std::string& tree);

/// Keeps what is added: the number of samples, their sum, and (unless told not to) `name{labels}
/// value` lines.
class RecordingSink final : public Sink {
 public:
  enum class Keep { kLines, kCountOnly };
  RecordingSink(const knowledge::SeriesRegistry& registry, Keep keep)
      : registry_(registry), keep_(keep) {}
  using Sink::add;
  void add(FamilyId family, std::span<const LabelView> labels, double value) override;

  void clear();
  /// All lines, sorted, each ended by a newline.
  [[nodiscard]] std::string text() const;
  /// The value of the line that begins with `series` and a blank; fails the test when there is
  /// none.
  [[nodiscard]] double value(std::string_view series) const;
  [[nodiscard]] bool has(std::string_view series) const;
  [[nodiscard]] std::size_t count() const noexcept { return count_; }

 private:
  const knowledge::SeriesRegistry& registry_;
  const Keep keep_;
  std::size_t count_ = 0;
  std::vector<std::string> lines_;
};

/// One collector on one tree with all that it needs.
class CollectorRig {
 public:
  explicit CollectorRig(std::string_view name, host::Roots roots, config::Parameters options = {},
                        RecordingSink::Keep keep = RecordingSink::Keep::kLines);

  /// Runs the collector; the sink then holds this run's samples only.
  Status run();
  /// The message of a run that must fail.
  [[nodiscard]] std::string failure();

  host::Roots roots;
  base::ManualClock clock;
  knowledge::SeriesRegistry registry{200'000};
  config::Parameters options;
  Observed observed;
  RecordingSink sink;
  std::unique_ptr<Collector> collector;
};

}  // namespace nexus::monitor::testing
