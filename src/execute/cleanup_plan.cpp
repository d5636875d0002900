#include "execute/cleanup_plan.hpp"

#include <fmt/format.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <span>
#include <tuple>

#include "execute/container.hpp"
#include "execute/parameter_values.hpp"
#include "nexus/drivers/docker_leftovers.hpp"
#include "nexus/host/roots.hpp"

namespace nexus::execute {
namespace {

using namespace std::chrono_literals;

/// A kind of files that can go without anybody missing them.
struct Kind {
  int rank;
  std::string_view name;
  std::string_view path;
  std::span<const std::string_view> match;
  Millis older_than;
  std::uint32_t depth;
  std::span<const std::string_view> except = {};  // paths below it; '*' takes '/' too
};

constexpr std::array<std::string_view, 1> kDeb{"*.deb"};
constexpr std::array<std::string_view, 1> kRpm{"*.rpm"};
constexpr std::array<std::string_view, 1> kPacman{"*.pkg.tar.*"};
// What journald has closed; the one that it writes has no "@" and is open.
constexpr std::array<std::string_view, 2> kJournal{"*@*.journal", "*.journal~"};
constexpr std::array<std::string_view, 9> kRotated{"*.gz",
                                                   "*.xz",
                                                   "*.bz2",
                                                   "*.zst",
                                                   "*.old",
                                                   "*.[1-9]",
                                                   "*.[1-9][0-9]",
                                                   "*-20[0-9][0-9][01][0-9][0-3][0-9]",
                                                   "*-20[0-9][0-9][01][0-9][0-3][0-9].log"};
constexpr std::array<std::string_view, 1> kCore{"core.*"};

/// Never, whatever their age: who logged in, and what the audit saw. How long these are kept is for
/// people to say, by a [[cleanup]] of their own.
constexpr std::array<std::string_view, 7> kTraces{"audit/*", "auth.log*", "secure*", "wtmp*",
                                                  "btmp*",   "lastlog*",  "faillog*"};
/// Of programs that run: where a window system is, and the private /tmp of services.
constexpr std::array<std::string_view, 3> kRunning{".X*-lock", "systemd-private-*",
                                                   "snap-private-tmp/*"};

// Of packages an hour: an installation that is under way has read or written them since.
constexpr std::array<Kind, 10> kKinds{{
    {10, "packages", "/var/cache/apt/archives", kDeb, 1h, 1},
    {10, "packages", "/var/cache/dnf", kRpm, 1h, 4},
    {10, "packages", "/var/cache/zypp/packages", kRpm, 1h, 4},
    {10, "packages", "/var/cache/pacman/pkg", kPacman, 1h, 0},
    // A week of what a host tells of itself stays: whoever can fill a disk must not have root erase
    // the traces of it.
    {20, "journal", "/var/log/journal", kJournal, 7 * 24h, 1},
    {30, "rotated_logs", "/var/log", kRotated, 7 * 24h, 6, kTraces},
    {40, "temporary", "/tmp", {}, 10 * 24h, 8, kRunning},
    {40, "temporary", "/var/tmp", {}, 30 * 24h, 8, kRunning},
    {50, "core_dumps", "/var/lib/systemd/coredump", kCore, 24h, 0},
    {60, "crashes", "/var/crash", {}, 7 * 24h, 2},
}};

/// What a container engine keeps and nobody uses.
struct EngineKind {
  int rank;
  std::string_view name;
  bool by_itself;  // goes without being named in `kinds`
};
// A container that has stopped may hold what somebody still wants to look at.
constexpr std::array<EngineKind, 3> kEngineKinds{{
    {70, kUnnamedImages, true},
    {80, kBuildCache, true},
    {90, kStoppedContainers, false},
}};
constexpr Millis kEngineLimit = 30s;

struct Rule {
  int rank;
  std::string name;
  std::string path;
  std::vector<std::string> match;
  Millis older_than;
  std::uint32_t depth;
  std::span<const std::string_view> except;
  const EngineKind* engine = nullptr;  // not of files, but of the container engine
};

std::vector<Rule> rules_of(const config::Config& config) {
  std::vector<Rule> out;
  for (const auto& kind : kKinds) {
    out.push_back({kind.rank,
                   std::string(kind.name),
                   std::string(kind.path),
                   {kind.match.begin(), kind.match.end()},
                   kind.older_than,
                   kind.depth,
                   kind.except});
  }
  for (const auto& kind : kEngineKinds)
    out.push_back({kind.rank, std::string(kind.name), {}, {}, kLeftoverAge, 0, {}, &kind});
  for (const auto& own : config.cleanups)
    out.push_back({own.rank, own.name, own.path, own.match, own.older_than, own.depth, {}});
  std::ranges::stable_sort(out, {}, &Rule::rank);
  return out;
}

bool is_below(std::string_view path, std::string_view root) {
  return path == root || (path.starts_with(root) && path.size() > root.size() &&
                          (root.ends_with('/') || path[root.size()] == '/'));
}

bool is_allowed(const std::string& path, const config::Config& config) {
  return std::ranges::any_of(config.allow.paths,
                             [&](const auto& root) { return is_below(path, root); });
}

std::string seen(const std::string& path, const config::Config& config) {
  host::Roots roots;
  roots.rootfs = config.collect.rootfs;
  return roots.root(path);
}

bool matches(std::string_view glob, const std::string& text) {
  return fnmatch(std::string(glob).c_str(), text.c_str(), 0) == 0;
}

/// Of the files of one rule the longest unused, as many as may go: the youngest of those kept is on
/// top, so that a directory of millions takes no more memory than one of that many.
class Oldest {
 public:
  explicit Oldest(std::size_t most) : most_(most) {}
  void add(CleanupFile file) {
    if (files_.size() == most_) {
      if (most_ == 0 || !less(file, files_.front())) return;
      std::ranges::pop_heap(files_, less);
      files_.pop_back();
    }
    files_.push_back(std::move(file));
    std::ranges::push_heap(files_, less);
  }
  std::vector<CleanupFile> take() {
    std::ranges::sort_heap(files_, less);
    return std::move(files_);
  }

 private:
  static bool less(const CleanupFile& a, const CleanupFile& b) {
    return std::tie(a.file.used, a.file.path) < std::tie(b.file.used, b.file.path);
  }
  const std::size_t most_;
  std::vector<CleanupFile> files_;
};

/// One rule's files, longest unused first.
Result<std::vector<CleanupFile>> files_of(const Rule& rule, const CleanupWish& wish,
                                          const config::Config& config, dev_t device,
                                          const host::OpenFiles& open, const CleanupLimits& limits,
                                          CleanupPlan& plan) {
  const auto root = seen(rule.path, config);
  const auto unused_for = std::max(rule.older_than, wish.older_than);
  const auto youngest = limits.now - unused_for;
  const auto own = seen(config.agent.data_dir, config);
  Oldest oldest(2UL * config.allow.max_files);  // as many again, should those not go
  std::size_t in_use = 0;
  std::size_t young = 0;
  host::WalkWish walk_wish;
  walk_wish.depth = rule.depth;
  walk_wish.go_on = limits.go_on;
  walk_wish.wanted = [&](const std::string& name) {
    return rule.match.empty() ||
           std::ranges::any_of(rule.match, [&](const auto& glob) { return matches(glob, name); });
  };
  walk_wish.take = [&](host::FoundFile&& file) {
    if (file.identity.device != device || is_below(root + "/" + file.path, own) ||
        std::ranges::any_of(rule.except, [&](auto glob) { return matches(glob, file.path); }))
      return;
    if (file.used > youngest) {
      ++young;
      return;
    }
    if (open.files.contains({file.identity.device, file.identity.inode})) {
      ++in_use;
      return;
    }
    oldest.add({rule.name, root, std::move(file)});
  };
  auto walk = host::files_below(root, walk_wish);
  if (!walk) return propagate(std::move(walk));
  if (young > 0) {
    plan.notes.push_back(fmt::format("{}: {} files were used or changed within the last {}",
                                     rule.path, young, base::format_duration(unused_for)));
  }
  if (in_use > 0) plan.notes.push_back(fmt::format("{}: {} files are open", rule.path, in_use));
  if (walk->unreadable > 0) {
    plan.notes.push_back(
        fmt::format("{}: {} directories cannot be read", rule.path, walk->unreadable));
  }
  if (!walk->complete)
    plan.notes.push_back(fmt::format("{}: not all entries were looked at", rule.path));
  return oldest.take();
}

/// What the engine keeps on that device; nothing where there is no engine, or another device is
/// its.
std::vector<CleanupFile> leftovers(const Rule& rule, const CleanupWish& wish,
                                   const config::Config& config, dev_t device,
                                   const CleanupLimits& limits, CleanupPlan& plan) {
  std::vector<CleanupFile> out;
  if (limits.clock == nullptr || (wish.kinds.empty() && !rule.engine->by_itself)) return out;
  auto engine = engine_of(config, *limits.clock);
  if (!engine) {
    if (!wish.kinds.empty()) plan.notes.push_back(engine.error().message());
    return out;
  }
  const drivers::EngineCall call{.deadline = limits.clock->steady() + kEngineLimit,
                                 .ended = [&] { return limits.go_on && !limits.go_on(); }};
  auto root = drivers::data_root(engine->engine(), call.deadline);
  auto space = root ? space_of(*root, config) : Result<Space>(std::unexpected(root.error()));
  auto found = space ? leftovers_of({.kind = rule.engine->name,
                                     .older_than = std::max(rule.older_than, wish.older_than),
                                     .now = limits.now},
                                    *engine, config, call, plan.notes)
                     : Result<std::vector<Leftover>>(std::unexpected(space.error()));
  if (!found) {
    plan.notes.push_back(fmt::format("{}: {}", rule.name, found.error().message()));
    return out;
  }
  if (space->device != device) return out;
  for (auto& one : *found) {
    CleanupFile item{.kind = rule.name, .root = "docker", .file = {}};
    item.leftover = std::move(one);
    out.push_back(std::move(item));
  }
  return out;
}

std::uint64_t bytes_wanted(const CleanupWish& wish, const Space& space) {
  if (wish.free) return *wish.free;
  const double most = static_cast<double>(space.size) * (1.0 - wish.used_percent / 100.0);
  const double missing = most - static_cast<double>(space.available);
  return missing <= 0 ? 0 : static_cast<std::uint64_t>(std::ceil(missing));
}

}  // namespace

std::string cleanup_kinds() {
  std::string out = "what it deletes by itself, in this order\n";
  for (const auto& kind : kKinds) {
    std::string match;
    for (const auto glob : kind.match) match += fmt::format(" {}", glob);
    out += fmt::format("  {:<3} {:<13} {}{}{}\n", kind.rank, kind.name, kind.path,
                       match.empty() ? "" : ":" + match,
                       kind.older_than > 0s
                           ? fmt::format(", unused for {}", base::format_duration(kind.older_than))
                           : "");
  }
  for (const auto& kind : kEngineKinds) {
    out += fmt::format("  {:<3} {:<13} of the container engine, unused for {}{}\n", kind.rank,
                       kind.name, base::format_duration(kLeftoverAge),
                       kind.by_itself ? "" : ", only when named in kinds");
  }
  return out;
}

Result<CleanupWish> cleanup_wish(const plan::Action& action, const config::Config& config) {
  CleanupWish out;
  const auto& given = action.parameters;
  auto free = bytes_parameter(given, "free");
  if (!free) return propagate(std::move(free));
  out.free = *free;
  if (out.free == 0)
    return fail(Errc::kInvalidArgument, "parameter \"free\": expected more than 0");
  out.used_percent = number_parameter(given, "used_percent").value_or(out.used_percent);
  if (!(out.used_percent > 0 && out.used_percent < 100))
    return fail(Errc::kInvalidArgument,
                "parameter \"used_percent\": expected a number between 0 and 100");
  auto budget = bytes_parameter(given, "max_bytes");
  if (!budget) return propagate(std::move(budget));
  out.max_bytes = std::min(budget->value_or(config.allow.max_bytes), config.allow.max_bytes);
  out.older_than = duration_parameter(given, "older_than", Millis(0));
  const auto* kinds = find_parameter<std::vector<std::string>>(given, "kinds");
  if (kinds == nullptr) return out;
  const auto rules = rules_of(config);
  for (const auto& kind : *kinds) {
    if (is_template(kind) || std::ranges::find(rules, kind, &Rule::name) != rules.end()) continue;
    std::string known;
    for (const auto& rule : rules) {
      if (!known.contains(rule.name)) known += (known.empty() ? "" : ", ") + rule.name;
    }
    return fail(Errc::kInvalidArgument, "parameter \"kinds\": there is no \"{}\", expected of {}",
                kind, known);
  }
  out.kinds = *kinds;
  return out;
}

Result<Space> space_of(const std::string& path, const config::Config& config) {
  const auto place = seen(path, config);
  auto directory = host::open_root(place);
  if (!directory) return propagate(std::move(directory));
  struct statvfs space{};
  struct stat status{};
  if (::fstatvfs(directory->get(), &space) != 0 || ::fstat(directory->get(), &status) != 0)
    return std::unexpected(Error::from_errno("look at the file system of " + place));
  const auto blocks = [&](std::uint64_t count) { return count * space.f_frsize; };
  return Space{.size = blocks(space.f_blocks - space.f_bfree + space.f_bavail),
               .available = blocks(space.f_bavail),
               .device = status.st_dev,
               .knows_reads = (space.f_flag & (ST_NOATIME | ST_RDONLY)) == 0};
}

Result<CleanupPlan> plan_cleanup(const std::string& target, const CleanupWish& wish,
                                 const config::Config& config, const CleanupLimits& limits) {
  auto space = space_of(target, config);
  if (!space) return propagate(std::move(space));
  CleanupPlan plan;
  plan.wanted = bytes_wanted(wish, *space);
  if (plan.wanted == 0) return plan;
  auto open = host::open_files();
  if (!open) return propagate(std::move(open));
  if (!space->knows_reads)
    plan.notes.push_back("mounted noatime: \"unused\" is \"not written\" here");
  std::uint64_t budget = wish.max_bytes;
  std::set<ino_t> taken;  // all are on one device
  for (const auto& rule : rules_of(config)) {
    if (!wish.kinds.empty() && std::ranges::find(wish.kinds, rule.name) == wish.kinds.end())
      continue;
    if (rule.engine != nullptr) {
      for (auto& item : leftovers(rule, wish, config, space->device, limits, plan)) {
        if (item.bytes() > budget || plan.files.size() >= config.allow.max_files) continue;
        budget -= item.bytes();
        plan.files.push_back(std::move(item));
      }
      continue;
    }
    if (!is_allowed(rule.path, config)) {
      plan.notes.push_back(fmt::format("{} is not below [allow] paths", rule.path));
      continue;
    }
    auto files = files_of(rule, wish, config, space->device, *open, limits, plan);
    if (!files) {
      if (files.error().code() != Errc::kNotFound) plan.notes.push_back(files.error().message());
      continue;
    }
    for (auto& file : *files) {
      // A file of two kinds goes once: what is below /var/log/journal is below /var/log too.
      if (!taken.insert(file.file.identity.inode).second) continue;
      if (file.file.bytes > budget || plan.files.size() >= config.allow.max_files) {
        if (plan.spare.size() < config.allow.max_files) plan.spare.push_back(std::move(file));
        continue;
      }
      budget -= file.file.bytes;
      plan.files.push_back(std::move(file));
    }
  }
  return plan;
}

std::size_t enough_of(const CleanupPlan& plan) {
  std::uint64_t freed = 0;
  std::size_t count = 0;
  while (count < plan.files.size() && freed < plan.wanted) freed += plan.files[count++].bytes();
  return count;
}

std::string show_bytes(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace nexus::execute
