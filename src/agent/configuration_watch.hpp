// ConfigurationWatch: whether the files of the configuration say what is applied.
//
// What is compared is what the files mean, and the texts of rule files: a comment in a TOML file,
// or a file that was written again as it was, is no difference. The whole check runs when a file
// has changed (or there is another one), and every kAnyway, for secrets in files of their own.
//
// Thread safety: all members, any thread; look() reads files, without the lock.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "agent/check.hpp"
#include "nexus/analyze/finding.hpp"

namespace nexus::agent {

class ConfigurationWatch {
 public:
  static constexpr std::string_view kName = "configuration_drift";
  static constexpr Millis kAnyway{10 * 60'000};
  /// An edit that nobody has applied by then was forgotten; one that was refused is told at once.
  static constexpr Millis kEditing{10 * 60'000};

  explicit ConfigurationWatch(config::LoadOptions options) : options_(std::move(options)) {}

  /// What is in force from now on.
  void applied(const Checked& checked);
  enum class Why { kFiles, kHost };
  /// A reload was refused: the files are not what is in force. For what the files say: until they
  /// say something that can be applied; for what the host has refused: until they say what is
  /// applied, or a reload succeeds.
  void refused(std::string text, Why why);
  /// What differs; unset: nothing.
  [[nodiscard]] std::optional<analyze::Observation> look(SteadyTime now);

 private:
  /// A file as the file system shows it, without reading it.
  struct Stamp {
    std::string path;
    std::int64_t modified = 0;  // ns
    std::int64_t changed = 0;   // ns
    std::uint64_t inode = 0;
    std::int64_t size = -1;  // there is none
    bool operator==(const Stamp&) const = default;
  };
  using Rules = decltype(analyze::RuleSet::digests);  // texts of rule files
  [[nodiscard]] std::vector<Stamp> stamps(const config::Config& config) const;

  const config::LoadOptions options_;
  mutable std::mutex mutex_;  // guards all below
  std::shared_ptr<const config::Config> config_;
  config::Digests digests_;
  Rules rules_;
  std::uint64_t generation_ = 0;  // of what is applied, or refused
  std::string refusal_;           // of the last reload
  Why refused_for_ = Why::kFiles;
  std::vector<Stamp> seen_;
  SteadyTime next_{};
  std::optional<analyze::Observation> found_;
};

}  // namespace nexus::agent
