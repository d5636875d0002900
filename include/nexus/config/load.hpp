// From agent.toml, conf.d/*.toml, the environment and flags to a Config, with every problem found,
// at once.
//
// Order, later wins: defaults, FILE, the conf.d directory beside it (files in name order; arrays of
// tables such as
// [[vital]] and the list [services] watch append, other keys override), environment variables
// (DESIGN.md section 7), overrides from flags. An empty file is valid. Unknown keys, wrong types,
// impossible values, duplicate names and unreadable secret files are problems with file, line,
// column and what was expected. Secrets never appear in a message. A syntax error costs its
// statement, not the rest of the file.
//
// What only higher rooms know (PromQL, plugin names and options) is checked by agent/check, which
// reports Problems too. Thread safety: pure functions of their arguments and the files.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "nexus/config/config.hpp"

namespace nexus::config {

struct LoadOptions {
  std::string file = "/etc/nexus/agent.toml";
  bool file_must_exist = true;
  /// Looks an environment variable up (the daemon gives process_environment); injected so that
  /// tests do not touch the process. Unset: there is no environment. Empty variables count as
  /// absent.
  std::function<std::optional<std::string>(const std::string&)> environment;
  /// Dotted keys from flags, e.g. {"agent.data_dir", "/tmp/x"}; values are parsed as TOML, or taken
  /// as a string.
  std::vector<std::pair<std::string, std::string>> overrides;
};

/// 64 bits over the contents of files, by path: whether they have changed since.
using Digests = std::map<std::string, std::uint64_t, std::less<>>;

struct Loaded {
  Config config;                   // usable only when problems is empty
  std::vector<Problem> problems;   // in file order
  std::vector<std::string> files;  // that were read, in order
  Digests digests;                 // of what was in them
};

[[nodiscard]] Loaded load(const LoadOptions& options);

/// One TOML text instead of files; `name` is used in messages. No environment unless given.
[[nodiscard]] Loaded load_text(std::string_view text, std::string_view name,
                               const LoadOptions& options = {});

/// One sentence for each environment variable of DESIGN.md section 7 that is set and that this
/// version does nothing with; never a value.
[[nodiscard]] std::vector<std::string> unused_variables(const LoadOptions& options);

/// The environment of this process.
[[nodiscard]] std::optional<std::string> process_environment(const std::string& name);

/// The vitals that ship inside the binary (the same table is shown, commented, in etc/agent.toml).
[[nodiscard]] const std::vector<VitalConfig>& default_vitals();

/// Widens the one-minute windows of shipped vitals to four collection intervals where that is
/// longer: a rate needs two samples in its window.
void widen_windows(std::vector<VitalConfig>& vitals, Millis interval);

/// What differs between two configurations, by section name ("http", "vital", ...), for the reload
/// log.
[[nodiscard]] std::vector<std::string> changed_sections(const Config& before, const Config& after);
/// Sections that a reload cannot apply to a running agent (data_dir, listen, roots), with the
/// reason.
[[nodiscard]] std::vector<std::string> needs_restart(const Config& before, const Config& after);

}  // namespace nexus::config
