#include "agent/configuration_watch.hpp"

#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "nexus/analyze/rule_file.hpp"
#include "nexus/config/config.hpp"

namespace nexus::agent {
namespace {

constexpr std::size_t kMostNamed = 5;

std::int64_t nanos(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

/// Files that differ, by what is in them.
std::vector<std::string> changed_files(const config::Digests& before,
                                       const config::Digests& after) {
  std::vector<std::string> out;
  for (const auto& [path, digest] : before) {
    const auto found = after.find(path);
    if (found == after.end() || found->second != digest) out.push_back(path);
  }
  for (const auto& [path, digest] : after) {
    if (!before.contains(path)) out.push_back(path);
  }
  return out;
}

std::string named(std::vector<std::string> names) {
  const std::size_t all = names.size();
  if (all > kMostNamed) names.resize(kMostNamed);
  const std::string more = all > kMostNamed ? fmt::format(" and {} more", all - kMostNamed) : "";
  return fmt::format("{}{}", fmt::join(names, ", "), more);
}

std::string first_of(const std::vector<config::Problem>& problems) {
  const std::string more =
      problems.size() > 1 ? fmt::format(" (and {} more)", problems.size() - 1) : "";
  return config::to_string(problems.front()) + more;
}

/// Sections of the files that mean something else than what is applied; rule files among them.
std::vector<std::string> differences(const config::Config& before, const config::Config& after,
                                     bool rules_differ) {
  auto out = before == after ? std::vector<std::string>() : config::changed_sections(before, after);
  if (rules_differ && std::ranges::find(out, "rule_files") == out.end())
    out.emplace_back("rule_files");
  return out;
}

analyze::Observation observe(std::string text, const std::vector<std::string>& files,
                             const std::vector<std::string>& sections, Millis pending) {
  analyze::Observation seen;
  seen.kind = analyze::FindingKind::kDrift;
  seen.name = ConfigurationWatch::kName;
  seen.severity = config::Severity::kWarning;
  seen.subject = "nexus-agent";
  seen.evidence.source = files.empty() ? "configuration" : files.front();
  seen.evidence.value = static_cast<double>(files.size());
  seen.evidence.text = std::move(text);
  seen.annotations = {{"summary", seen.evidence.text}};
  if (!files.empty()) seen.annotations.emplace("files", named(files));
  if (!sections.empty())
    seen.annotations.emplace("sections", fmt::format("{}", fmt::join(sections, ", ")));
  seen.pending = pending;
  return seen;
}

}  // namespace

void ConfigurationWatch::applied(const Checked& checked) {
  const std::lock_guard guard(mutex_);
  config_ = checked.config;
  digests_ = checked.digests;
  rules_ = checked.rules->digests;
  refusal_.clear();
  ++generation_;
  next_ = {};
}

void ConfigurationWatch::refused(std::string text, Why why) {
  const std::lock_guard guard(mutex_);
  refusal_ = std::move(text);
  refused_for_ = why;
  ++generation_;
  next_ = {};
}

std::vector<ConfigurationWatch::Stamp> ConfigurationWatch::stamps(
    const config::Config& config) const {
  std::vector<std::string> paths = {options_.file};
  std::error_code error;
  const auto directory = std::filesystem::path(options_.file).parent_path() / "conf.d";
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error))
    paths.push_back(entry->path().string());
  const auto rules = analyze::find_rule_files(config.rule_files);
  paths.insert(paths.end(), rules.begin(), rules.end());
  std::ranges::sort(paths);
  std::vector<Stamp> out;
  for (auto& path : paths) {
    Stamp& stamp = out.emplace_back();
    struct stat status{};
    if (::stat(path.c_str(), &status) == 0) {
      stamp.modified = nanos(status.st_mtim);
      stamp.changed = nanos(status.st_ctim);
      stamp.inode = status.st_ino;
      stamp.size = status.st_size;
    }
    stamp.path = std::move(path);
  }
  return out;
}

std::optional<analyze::Observation> ConfigurationWatch::look(SteadyTime now) {
  std::shared_ptr<const config::Config> in_force;
  config::Digests before;
  Rules rules;
  std::string refusal;
  auto refused_for = Why::kFiles;
  std::uint64_t of = 0;
  {
    const std::lock_guard guard(mutex_);
    in_force = config_;
    before = digests_;
    rules = rules_;
    refusal = refusal_;
    refused_for = refused_for_;
    of = generation_;
  }
  if (in_force == nullptr) return std::nullopt;
  auto present = stamps(*in_force);
  {
    const std::lock_guard guard(mutex_);
    if (present == seen_ && now < next_) return found_;
  }
  const Checked fresh = check(options_);
  const auto files = changed_files(before, fresh.digests);
  std::optional<analyze::Observation> found;
  // What it was refused for was mended, and is an edit now that nobody has tried to apply.
  if (fresh.problems.empty() && refused_for == Why::kFiles) refusal.clear();
  if (!refusal.empty() && !fresh.problems.empty()) refusal = first_of(fresh.problems);
  const auto sections = fresh.problems.empty()
                            ? differences(*in_force, *fresh.config, fresh.rules->digests != rules)
                            : std::vector<std::string>();
  const bool differs = !fresh.problems.empty() || !sections.empty();
  if (differs && !refusal.empty()) {
    found = observe(
        fmt::format("a reload was refused, and what was applied before goes on: {}", refusal),
        files, sections, Millis(0));
  } else if (!fresh.problems.empty()) {
    found = observe(fmt::format("the configuration was edited and is not applied; a reload, or the "
                                "next start, would be refused: {}",
                                first_of(fresh.problems)),
                    files, sections, kEditing);
  } else if (differs) {
    found = observe(
        fmt::format("the configuration was edited and is not applied: {} ({}); `systemctl reload "
                    "nexus-agent` applies it",
                    files.empty() ? "a secret in a file of its own" : named(files),
                    fmt::join(sections, ", ")),
        files, sections, kEditing);
  }
  const std::lock_guard guard(mutex_);
  if (of != generation_) return found_;  // another was applied meanwhile; the next look sees it
  seen_ = std::move(present);
  next_ = now + kAnyway;
  if (!differs || refusal.empty()) refusal_.clear();
  found_ = std::move(found);
  return found_;
}

}  // namespace nexus::agent
