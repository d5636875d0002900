// rotate_logs: puts a log aside and begins a new one, without losing what is written meanwhile.
//
// The log is exchanged for an empty file in one step, so that it is never missing; its writer goes
// on in the old one until it is told (a signal to a unit's main process, or a listed command) and
// opens the new. The old one is compressed only when nobody has it open for writing any more; one
// that is not let go of in time is left for the next rotation. So no byte is lost, whenever the
// agent or the writer dies in between.
#include <boost/json.hpp>

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "execute/actions.hpp"
#include "execute/cleanup_plan.hpp"
#include "execute/parameter_values.hpp"
#include "execute/process_guard.hpp"
#include "execute/waiting.hpp"
#include "nexus/config/config.hpp"
#include "nexus/drivers/systemd.hpp"
#include "nexus/host/privileged.hpp"
#include "nexus/host/roots.hpp"

namespace nexus::execute {
namespace {

using namespace std::chrono_literals;

constexpr Millis kAskEvery = 100ms;

constexpr std::array<ParameterDescriptor, 9> kParameters{{
    {.name = "unit",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "",
     .help = "whose main process is told to open the log anew, by `signal`"},
    {.name = "signal",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "HUP",
     .help = "HUP, USR1 or USR2"},
    {.name = "process",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "",
     .help = "instead of unit: a process as PID:START"},
    {.name = "command",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "",
     .help = "instead of unit: the name of a [[command]] that makes the writer open the log anew"},
    {.name = "copytruncate",
     .type = ParameterType::kBool,
     .required = false,
     .default_value = "false",
     .help = "copy and empty the log, for a writer that cannot be told; lines may be lost"},
    {.name = "compress",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "zstd",
     .help = "zstd, gzip or none"},
    {.name = "keep",
     .type = ParameterType::kInteger,
     .required = false,
     .default_value = "7",
     .help = "so many rotated ones stay, 1 to 1000; the oldest go"},
    {.name = "min_size",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "1",
     .help = "a smaller log is left as it is, e.g. \"100MiB\""},
    {.name = "wait",
     .type = ParameterType::kDuration,
     .required = false,
     .default_value = "10s",
     .help = "for the writer to let go of the old log before it is compressed"},
}};

struct Wish {
  std::string unit;
  std::string process;
  std::string command;
  int signal = SIGHUP;
  bool copy = false;
  std::optional<host::Compression> compress;
  std::size_t keep = 7;
  std::uint64_t min_size = 1;
  Millis wait{};
};

Status check_teller(const Wish& wish, const config::Config& config) {
  const int tellers =
      !wish.unit.empty() + !wish.process.empty() + !wish.command.empty() + wish.copy;
  if (tellers != 1) {
    return fail(Errc::kInvalidArgument,
                "expected one of the parameters unit, process, command and copytruncate: somebody "
                "has to tell the writer to open the log anew");
  }
  const bool listed =
      wish.command.empty() || is_template(wish.command) ||
      std::ranges::any_of(config.commands, [&](const auto& c) { return c.name == wish.command; });
  if (!listed) return fail(Errc::kNotFound, "\"{}\" is not listed as a [[command]]", wish.command);
  return {};
}

Result<Wish> wish_of(const config::Parameters& given, const config::Config& config) {
  Wish out;
  out.unit = text_parameter(given, "unit");
  out.process = text_parameter(given, "process");
  out.command = text_parameter(given, "command");
  const auto signal = text_parameter(given, "signal", "HUP");
  constexpr std::array<std::pair<std::string_view, int>, 3> kSignals{
      {{"HUP", SIGHUP}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}}};
  const auto known = std::ranges::find(kSignals, signal, &std::pair<std::string_view, int>::first);
  if (known == kSignals.end())
    return fail(Errc::kInvalidArgument,
                "parameter \"signal\": expected HUP, USR1 or USR2, got \"{}\"", signal);
  out.signal = known->second;
  if (const auto* copy = find_parameter<bool>(given, "copytruncate")) out.copy = *copy;
  const auto how = text_parameter(given, "compress", "zstd");
  if (how == "zstd") out.compress = host::Compression::kZstd;
  if (how == "gzip") out.compress = host::Compression::kGzip;
  if (!out.compress && how != "none")
    return fail(Errc::kInvalidArgument,
                "parameter \"compress\": expected zstd, gzip or none, got \"{}\"", how);
  const auto* keep = find_parameter<std::int64_t>(given, "keep");
  if (keep != nullptr && (*keep < 1 || *keep > 1000))
    return fail(Errc::kInvalidArgument, "parameter \"keep\": expected 1 to 1000, got {}", *keep);
  if (keep != nullptr) out.keep = static_cast<std::size_t>(*keep);
  auto size = bytes_parameter(given, "min_size");
  if (!size) return propagate(std::move(size));
  out.min_size = std::max<std::uint64_t>(size->value_or(1), 1);
  out.wait = duration_parameter(given, "wait", 10s);
  if (auto ok = check_teller(out, config); !ok) return propagate(std::move(ok));
  return out;
}

/// A log below one of [allow] paths.
struct Log {
  std::string root;  // as the agent sees it
  std::string path;  // relative to it
  [[nodiscard]] std::string name() const { return path.substr(path.rfind('/') + 1); }
  [[nodiscard]] std::string directory() const {
    const auto slash = path.rfind('/');
    return slash == std::string::npos ? "" : path.substr(0, slash + 1);
  }
};

Result<Log> log_of(std::string_view target, const config::Config& config) {
  host::Roots roots;
  roots.rootfs = config.collect.rootfs;
  for (const auto& root : config.allow.paths) {
    if (target.starts_with(root + "/") && target.size() > root.size() + 1)
      return Log{roots.root(root), std::string(target.substr(root.size() + 1))};
  }
  return fail(Errc::kPermissionDenied,
              "target: expected a log below one of [allow] paths, got \"{}\"", target);
}

Result<host::FoundFile> find_log(const Log& log) {
  auto top = host::open_root(log.root);
  if (!top) return propagate(std::move(top));
  auto file = host::open_below(top->get(), log.path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!file) return propagate(std::move(file), "{}", log.root);
  auto found = host::look_at(file->get());
  if (!found) return propagate(std::move(found), "{}/{}", log.root, log.path);
  return found;
}

std::string directory_of(const Log& log) {
  if (log.directory().empty()) return log.root;
  return log.root + "/" + log.directory().substr(0, log.directory().size() - 1);
}

/// What a compression that was killed half way has left: .NAME-20261126-031500.zst.0123abcd.
Result<std::vector<host::FoundFile>> half_packed(const Log& log) {
  const auto prefix = "." + log.name() + "-";
  const auto is_half = [&](const std::string& name) {
    constexpr std::size_t kEnd = 9;  // a dot and eight digits
    if (!name.starts_with(prefix) || name.size() < prefix.size() + kEnd) return false;
    const auto rest = std::string_view(name).substr(name.size() - kEnd);
    return rest.front() == '.' && base::parse_uint(rest.substr(1), 16).has_value();
  };
  auto walk = host::files_below(directory_of(log), {.wanted = is_half, .take = {}, .go_on = {}});
  if (!walk) return propagate(std::move(walk));
  return std::move(walk->files);
}

/// NAME-20261126-031500[.zst|.gz], oldest first.
Result<std::vector<host::FoundFile>> all_rotated(const Log& log) {
  const auto prefix = log.name() + "-";
  const auto is_rotated = [&](const std::string& name) {
    if (!name.starts_with(prefix)) return false;
    auto rest = std::string_view(name).substr(prefix.size());
    const auto date = base::take_until(rest, '-');
    const auto time = base::take_until(rest, '.');
    return date.size() == 8 && base::parse_uint(date) && time.size() == 6 &&
           base::parse_uint(time) && (rest.empty() || rest == "zst" || rest == "gz");
  };
  auto walk = host::files_below(directory_of(log), {.wanted = is_rotated, .take = {}, .go_on = {}});
  if (!walk) return propagate(std::move(walk));
  std::ranges::sort(walk->files, {}, &host::FoundFile::path);
  return std::move(walk->files);
}

/// Those of them that have bytes; or those without, which a rotation that went no further has left
/// and which count for nothing.
Result<std::vector<host::FoundFile>> rotated(const Log& log, bool empty = false) {
  auto all = all_rotated(log);
  if (all)
    std::erase_if(*all, [&](const auto& file) { return (file.identity.size == 0) != empty; });
  return all;
}

bool is_packed(const std::string& name) {
  return name.ends_with(".zst") || name.ends_with(".gz");
}

std::string stamp(WallTime now) {
  auto text = base::to_rfc3339(now);  // 2026-11-26T03:15:00.000Z
  std::string out;
  for (const char c : text.substr(0, 19)) {
    if (c == 'T') out += '-';
    if (c >= '0' && c <= '9') out += c;
  }
  return out;
}

/// What the log is called from now on: of this second, or of the first after it in which no other
/// one has the name, compressed or not. Nothing is overwritten.
Result<std::string> next_name(const Log& log, WallTime now) {
  const auto there = all_rotated(log);
  if (!there) return std::unexpected(there.error());
  while (true) {
    auto name = log.name() + "-" + stamp(now);
    const auto has_name = [&](const host::FoundFile& file) {
      return std::string_view(file.path).substr(file.path.rfind('/') + 1).starts_with(name);
    };
    if (std::ranges::none_of(*there, has_name)) return name;
    now += 1s;
  }
}

class RotateLogs final : public Step {
 public:
  [[nodiscard]] Status validate(const plan::Action& action,
                                const StepContext& context) const override {
    auto wish = wish_of(action.parameters, *context.config);
    if (!wish) return propagate(std::move(wish));
    auto log = log_of(action.target, *context.config);
    if (!log) return propagate(std::move(log));
    return {};
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto wish = wish_of(action.parameters, *context.config);
    if (!wish) return propagate(std::move(wish));
    auto log = log_of(action.target, *context.config);
    if (!log) return propagate(std::move(log));
    auto file = find_log(*log);
    if (!file) return propagate(std::move(file));
    if (small(*file, *wish)) {
      return is_left_over(*log, *wish)
                 ? fmt::format("would take up an older log of {} again, which is not compressed",
                               action.target)
                 : fmt::format("would leave {} as it is: it has {} bytes", action.target,
                               file->identity.size);
    }
    auto old = rotated(*log);
    if (!old) return propagate(std::move(old));
    const auto name = next_name(*log, context.clock.wall());
    if (!name) return std::unexpected(name.error());
    std::string out = fmt::format("would {} {} ({} bytes) to {}/{}{}", wish->copy ? "copy" : "move",
                                  action.target, file->identity.size, directory_of(*log), *name,
                                  wish->compress ? std::string(host::suffix(*wish->compress)) : "");
    for (std::size_t i = 0; i + wish->keep < old->size() + 1; ++i)
      out += fmt::format("\nwould delete {}", (*old)[i].path);
    return out;
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    auto log = log_of(action.target, *context.config);
    if (!log) return "{}";
    auto file = find_log(*log);
    if (!file)
      return boost::json::serialize(boost::json::object{{"error", file.error().message()}});
    return boost::json::serialize(
        boost::json::object{{"inode", static_cast<std::uint64_t>(file->identity.inode)},
                            {"bytes", file->identity.size}});
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto wish = wish_of(action.parameters, *context.config);
    if (!wish) return propagate(std::move(wish));
    auto log = log_of(action.target, *context.config);
    if (!log) return propagate(std::move(log));
    auto file = find_log(*log);
    if (!file) return propagate(std::move(file));
    const bool moves = !small(*file, *wish);
    if (!moves && !is_left_over(*log, *wish)) {
      return StepResult{.result = fmt::format("{} has {} bytes and was left as it is",
                                              action.target, file->identity.size),
                        .output = {}};
    }
    // Whom to tell is known before anything is moved.
    auto writer = writer_of(*wish, context);
    if (!writer) return propagate(std::move(writer));
    const auto name = next_name(*log, context.clock.wall());
    if (!name) return std::unexpected(name.error());
    run.begun();
    if (moves) {
      auto moved = wish->copy
                       ? context.privileged.copy_truncate(log->root, log->path, file->identity,
                                                          *name, go_on(context, run))
                       : context.privileged.rotate(log->root, log->path, file->identity, *name);
      if (!moved) return propagate(std::move(moved));
    }
    const auto what =
        moves ? fmt::format("{} bytes of {} are in {}", file->identity.size, action.target, *name)
              : fmt::format("an older log of {} is taken up again", action.target);
    if (auto told = tell(*wish, *writer, context, run); !told) {
      return fail(told.error().code(),
                  "{}, and its writer goes on in the old one: it could not be told: {}", what,
                  told.error().message());
    }
    StepResult out{.result = what, .output = {}};
    sweep(*log, context, out);
    if (auto why = pack(*log, *wish, context, run, out); why)
      return fail(*why, "{}; its compression was ended", out.result);
    prune(*log, *wish, context, out);
    return out;
  }

  /// What a rotation is for is the disk's or the log's size: for a `verify` expression.
  std::optional<bool> verify(const plan::Action&, StepContext&) override { return std::nullopt; }

  Recovered recover(const plan::Action& action, StepContext&, std::string& what) override {
    what = fmt::format(
        "{} may have been moved aside without its writer being told: it goes on in the old one, "
        "nothing is lost, and the next rotation compresses it",
        action.target);
    return Recovered::kUnknown;
  }

 private:
  static bool small(const host::FoundFile& file, const Wish& wish) {
    return static_cast<std::uint64_t>(file.identity.size) < wish.min_size;
  }

  /// A rotation that did not come to its end: its log is not compressed, and may be written to.
  static bool is_left_over(const Log& log, const Wish& wish) {
    const auto old = rotated(log);
    return wish.compress && old &&
           std::ranges::any_of(*old, [](const auto& file) { return !is_packed(file.path); });
  }

  static Result<std::optional<host::ProcessFacts>> writer_of(const Wish& wish,
                                                             StepContext& context) {
    host::ProcessId id;
    if (!wish.process.empty()) {
      auto given = host::parse_process(wish.process);
      if (!given) return propagate(std::move(given), "parameter \"process\"");
      id = *given;
    } else if (!wish.unit.empty()) {
      if (context.systemd == nullptr) return fail(Errc::kUnavailable, "there is no systemd here");
      auto status = context.systemd->status(wish.unit);
      if (!status) return propagate(std::move(status));
      if (status->main_pid == 0)
        return fail(Errc::kConflict, "{} has no main process that could be told", status->name);
      id.pid = static_cast<pid_t>(status->main_pid);
    } else {
      return std::nullopt;
    }
    auto facts = host::process_facts(id);
    if (!facts) return propagate(std::move(facts));
    auto why = process_protected(*facts, *context.config);
    if (!why) why = protected_by_container(*facts, context);
    if (why) return fail(Errc::kPermissionDenied, "{}", *why);
    auto heeds = host::heeds_signal(facts->id, wish.signal);
    if (!heeds) return propagate(std::move(heeds));
    if (!*heeds) {
      return fail(Errc::kConflict,
                  "process {} ({}) does not handle the signal, which would end it: expected "
                  "another signal, a command, or copytruncate",
                  host::to_string(facts->id), facts->name);
    }
    return std::optional(*std::move(facts));
  }

  static Status tell(const Wish& wish, const std::optional<host::ProcessFacts>& writer,
                     StepContext& context, const StepRun& run) {
    if (wish.copy) return {};
    if (writer) {
      auto sent = context.privileged.signal(writer->id, wish.signal, 0ms);
      if (!sent) return propagate(std::move(sent));
      return {};
    }
    const auto command =
        std::ranges::find(context.config->commands, wish.command, &config::CommandConfig::name);
    if (command == context.config->commands.end())
      return fail(Errc::kNotFound, "\"{}\" is not listed as a [[command]]", wish.command);
    auto exit = context.privileged.run_listed({.name = command->name, .argv = command->argv},
                                              run.fencing_token, as_child(run));
    if (!exit) return propagate(std::move(exit));
    if (exit->status != 0)
      return fail(Errc::kConflict, "command \"{}\" ended with exit status {}: {}", wish.command,
                  exit->status, exit->output);
    return {};
  }

  /// Compresses what nobody writes to any more: the one just put aside, and those that were not let
  /// go of last time. Why it was ended, if it was.
  static std::optional<Errc> pack(const Log& log, const Wish& wish, StepContext& context,
                                  const StepRun& run, StepResult& out) {
    if (!wish.compress) return std::nullopt;
    const auto until = std::min(run.deadline, context.clock.steady() + wish.wait);
    while (true) {
      auto old = rotated(log);
      std::size_t held = 0;
      for (const auto& file : old ? *old : std::vector<host::FoundFile>{}) {
        if (is_packed(file.path)) continue;
        auto bytes = context.privileged.compress(log.root, log.directory() + file.path,
                                                 *wish.compress, go_on(context, run));
        if (bytes) {
          out.output +=
              fmt::format("{}: {} bytes, compressed {}\n", file.path, file.identity.size, *bytes);
        } else if (bytes.error().code() == Errc::kConflict) {
          ++held;
        } else {
          out.output += bytes.error().message() + "\n";
        }
      }
      if (held == 0) return std::nullopt;
      if (const auto why = why_to_end(context.clock, run)) return why;
      const auto now = context.clock.steady();
      if (now >= until) {
        out.result += "; its writer has not let go of it yet, so that it is not compressed";
        return std::nullopt;
      }
      pause_until(context.clock, std::min(until, now + kAskEvery));
    }
  }

  static std::function<bool()> go_on(const StepContext& context, const StepRun& run) {
    return [&context, &run] { return !why_to_end(context.clock, run); };
  }

  static void sweep(const Log& log, StepContext& context, StepResult& out) {
    auto left = half_packed(log).value_or(std::vector<host::FoundFile>{});
    std::ranges::move(rotated(log, true).value_or(std::vector<host::FoundFile>{}),
                      std::back_inserter(left));
    for (const auto& file : left) {
      auto gone = context.privileged.remove(log.root, log.directory() + file.path, file.identity);
      if (gone) out.output += fmt::format("deleted {}, which was never finished\n", file.path);
    }
  }

  static void prune(const Log& log, const Wish& wish, StepContext& context, StepResult& out) {
    auto old = rotated(log);
    if (!old) return;
    for (std::size_t i = 0; i + wish.keep < old->size(); ++i) {
      const auto& file = (*old)[i];
      auto gone = context.privileged.remove(log.root, log.directory() + file.path, file.identity);
      out.output += gone ? fmt::format("deleted {}\n", file.path)
                         : "left alone: " + gone.error().message() + "\n";
    }
  }
};

Status check_rotation(const config::RemedyConfig& remedy, const config::Config& config) {
  auto wish = wish_of(remedy.parameters, config);
  if (!wish) return propagate(std::move(wish));
  if (remedy.target.empty() || is_template(remedy.target)) return {};
  auto log = log_of(remedy.target, config);
  if (!log) return propagate(std::move(log));
  return {};
}

}  // namespace

const ActionDescriptor kRotateLogs{
    .name = "rotate_logs",
    .help =
        "Puts a log aside, tells its writer to open a new one, compresses the old one once nobody "
        "writes to it, and keeps the newest; loses nothing unless copytruncate is asked for.",
    .target_help = "the path of a log below one of [allow] paths",
    .parameters = kParameters,
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<RotateLogs>(); },
    .check_remedy = check_rotation,
};

}  // namespace nexus::execute
