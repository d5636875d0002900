// cleanup_disk: makes room on a file system by deleting what nobody misses, safest first, and stops
// as soon as there is room enough.
#include <boost/json.hpp>

#include <array>

#include "execute/actions.hpp"
#include "execute/cleanup_plan.hpp"
#include "execute/container.hpp"
#include "execute/parameter_values.hpp"
#include "execute/waiting.hpp"
#include "nexus/host/privileged.hpp"

namespace nexus::execute {
namespace {

constexpr std::size_t kMostListed = 1000;  // files in a dry run or in an output

constexpr std::array<ParameterDescriptor, 5> kParameters{{
    {.name = "used_percent",
     .type = ParameterType::kNumber,
     .required = false,
     .default_value = "80",
     .help = "delete until the file system is that full at most"},
    {.name = "free",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "",
     .help = "instead of used_percent: free this much, e.g. \"2GiB\""},
    {.name = "max_bytes",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "max_bytes of [allow]",
     .help = "never delete more than this"},
    {.name = "older_than",
     .type = ParameterType::kDuration,
     .required = false,
     .default_value = "",
     .help = "only what was not used for this long, even where a kind asks for less"},
    {.name = "kinds",
     .type = ParameterType::kStrings,
     .required = false,
     .default_value = "all",
     .help = "only these kinds, e.g. [\"packages\", \"rotated_logs\"]"},
}};

std::string line_of(const CleanupFile& file) {
  if (file.leftover)
    return fmt::format("{:>12} {} {}\n", file.bytes(), file.kind, file.leftover->name);
  return fmt::format("{:>12} {} {}/{}\n", file.bytes(), file.kind, file.root, file.file.path);
}

std::uint64_t sum(const CleanupPlan& plan, std::size_t count) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < count; ++i) bytes += plan.files[i].bytes();
  return bytes;
}

std::string show_notes(const CleanupPlan& plan) {
  std::string out;
  for (const auto& note : plan.notes) out += "left out: " + note + "\n";
  return out;
}

/// What has gone so far.
struct Freed {
  std::uint64_t bytes = 0;
  std::size_t files = 0;
  std::size_t refused = 0;  // in use, or not as they were
  /// Of the budget, what those that were refused did not use.
  std::uint64_t unspent_bytes = 0;
  std::size_t unspent_files = 0;
  std::string output;
};

class CleanupDisk final : public Step {
 public:
  [[nodiscard]] Status validate(const plan::Action& action,
                                const StepContext& context) const override {
    if (!action.target.starts_with('/'))
      return fail(Errc::kInvalidArgument, "target: expected a mount point, got \"{}\"",
                  action.target);
    auto wish = cleanup_wish(action, *context.config);
    if (!wish) return propagate(std::move(wish));
    return {};
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto plan = make_plan(action, context);
    if (!plan) return propagate(std::move(plan));
    if (plan->wanted == 0) return "would delete nothing: there is room enough";
    const auto count = enough_of(*plan);
    const auto bytes = sum(*plan, count);
    std::string out = fmt::format("would delete {} files to free {} of the {} wanted{}\n", count,
                                  show_bytes(bytes), show_bytes(plan->wanted),
                                  bytes < plan->wanted ? ": there is no more that may go" : "");
    for (std::size_t i = 0; i < std::min(count, kMostListed); ++i) out += line_of(plan->files[i]);
    if (count > kMostListed) out += fmt::format("and {} more\n", count - kMostListed);
    return out + show_notes(*plan);
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    auto space = space_of(action.target, *context.config);
    if (!space)
      return boost::json::serialize(boost::json::object{{"error", space.error().message()}});
    return boost::json::serialize(boost::json::object{{"size_bytes", space->size},
                                                      {"available_bytes", space->available},
                                                      {"used_percent", space->used_percent()}});
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto wish = cleanup_wish(action, *context.config);
    if (!wish) return propagate(std::move(wish));
    auto plan = plan_cleanup(action.target, *wish, *context.config,
                             {.now = context.clock.wall(),
                              .go_on = [&] { return !why_to_end(context.clock, run); },
                              .clock = &context.clock});
    if (!plan) return propagate(std::move(plan));
    run.begun();
    Freed freed;
    const auto is_done = [&] {
      return freed.bytes >= plan->wanted || (!wish->free && is_enough(action, *wish, context));
    };
    for (const auto* files : {&plan->files, &plan->spare}) {
      const bool spare = files == &plan->spare;
      for (const auto& file : *files) {
        if (is_done()) break;
        if (spare && (freed.unspent_files == 0 || file.file.bytes > freed.unspent_bytes)) continue;
        if (auto why = why_to_end(context.clock, run); why) {
          return fail(*why, "{} after {} files and {} of {}",
                      *why == Errc::kTimeout ? "the time limit was reached" : "ended", freed.files,
                      show_bytes(freed.bytes), show_bytes(plan->wanted));
        }
        if (file.leftover)
          remove_leftover(action, file, spare, context, run, freed);
        else
          remove(file, spare, context, freed);
      }
    }
    const bool enough = is_done();
    return StepResult{
        .result =
            fmt::format("freed {} in {} files{}{}", show_bytes(freed.bytes), freed.files,
                        freed.refused > 0 ? fmt::format(", {} were left alone", freed.refused) : "",
                        enough ? ""
                               : fmt::format("; {} were wanted, and there is no more that "
                                             "may go",
                                             show_bytes(plan->wanted))),
        .output = freed.output + show_notes(*plan),
        .failed = !enough};
  }

  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    auto wish = cleanup_wish(action, *context.config);
    if (!wish) return false;
    // run() has counted as much as was wanted, or has failed; how much is free now says less, for
    // others write. So there is nothing to look at a second time.
    if (wish->free) return std::nullopt;
    return is_enough(action, *wish, context);
  }

  /// What was deleted stays deleted, and nothing is half done: only whether it was enough is asked.
  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    auto wish = cleanup_wish(action, *context.config);
    auto space = space_of(action.target, *context.config);
    if (!wish || !space) {
      what = !wish ? wish.error().message() : space.error().message();
      return Recovered::kUnknown;
    }
    what = fmt::format("{} is {:.1f} % full", action.target, space->used_percent());
    if (wish->free) return Recovered::kUnknown;
    return space->used_percent() <= wish->used_percent ? Recovered::kDone : Recovered::kNotDone;
  }

 private:
  static Result<CleanupPlan> make_plan(const plan::Action& action, StepContext& context) {
    auto wish = cleanup_wish(action, *context.config);
    if (!wish) return propagate(std::move(wish));
    return plan_cleanup(action.target, *wish, *context.config,
                        {.now = context.clock.wall(), .go_on = {}, .clock = &context.clock});
  }

  static bool is_enough(const plan::Action& action, const CleanupWish& wish, StepContext& context) {
    const auto space = space_of(action.target, *context.config);
    return space && space->used_percent() <= wish.used_percent;
  }

  static void remove(const CleanupFile& file, bool spare, StepContext& context, Freed& freed) {
    auto gone = context.privileged.remove(file.root, file.file.path, file.file.identity);
    note(file, gone, file.file.bytes, spare, freed);
  }

  /// Layers are shared: what has come free is what there is more of afterwards.
  static void remove_leftover(const plan::Action& action, const CleanupFile& file, bool spare,
                              StepContext& context, const StepRun& run, Freed& freed) {
    const auto& config = *context.config;
    auto engine = engine_of(config, context.clock);
    if (!engine) return note(file, propagate(std::move(engine)), 0, spare, freed);
    const auto before = space_of(action.target, config);
    auto gone = execute::remove(
        *file.leftover, *engine, config,
        {.deadline = run.deadline, .ended = [&] { return run.cancelled() || run.leaving(); }});
    const auto after = space_of(action.target, config);
    const bool more = before && after && after->available > before->available;
    note(file, gone, more ? after->available - before->available : 0, spare, freed);
  }

  static void note(const CleanupFile& file, const Status& gone, std::uint64_t bytes, bool spare,
                   Freed& freed) {
    const bool list = freed.files + freed.refused < kMostListed;
    if (gone) {
      ++freed.files;
      freed.bytes += bytes;
      if (spare) {
        freed.unspent_bytes -= file.file.bytes;
        --freed.unspent_files;
      }
      if (list) freed.output += line_of(file);
      return;
    }
    ++freed.refused;
    if (!spare) {
      freed.unspent_bytes += file.file.bytes;
      ++freed.unspent_files;
    }
    if (list) freed.output += "left alone: " + gone.error().message() + "\n";
  }
};

Status check_cleanup(const config::RemedyConfig& remedy, const config::Config& config) {
  plan::Action action;
  action.parameters = remedy.parameters;
  std::erase_if(action.parameters, [](const auto& entry) {
    const auto* text = std::get_if<std::string>(&entry.second);
    return text != nullptr && is_template(*text);
  });
  auto wish = cleanup_wish(action, config);
  if (!wish) return propagate(std::move(wish));
  if (!remedy.target.empty() && !is_template(remedy.target) && !remedy.target.starts_with('/'))
    return fail(Errc::kInvalidArgument, "target: expected a mount point, got \"{}\"",
                remedy.target);
  return {};
}

}  // namespace

const ActionDescriptor kCleanupDisk{
    .name = "cleanup_disk",
    .help =
        "Makes room on a file system: deletes package caches, old journals, rotated logs, "
        "temporary "
        "files, core dumps, and what a container engine keeps and nobody uses, safest first, until "
        "there is enough; only below [allow] paths, never what is open, never a volume.",
    .target_help = "a mount point, e.g. \"/\"",
    .parameters = kParameters,
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<CleanupDisk>(); },
    .check_remedy = check_cleanup,
    .details = cleanup_kinds,
};

}  // namespace nexus::execute
