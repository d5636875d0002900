// drop_caches: frees memory that the kernel keeps files in. It costs reads afterwards and is for
// figures that mislead, not for speed.
#include <boost/json.hpp>

#include <array>

#include "execute/actions.hpp"
#include "execute/cleanup_plan.hpp"
#include "execute/parameter_values.hpp"
#include "execute/waiting.hpp"
#include "nexus/host/file.hpp"
#include "nexus/host/privileged.hpp"

namespace nexus::execute {
namespace {

constexpr std::array<ParameterDescriptor, 2> kParameters{{
    {.name = "what",
     .type = ParameterType::kInteger,
     .required = false,
     .default_value = "1",
     .help = "1: pages of files; 2: directory entries and inodes; 3: both"},
    {.name = "sync",
     .type = ParameterType::kBool,
     .required = false,
     .default_value = "true",
     .help = "write what is dirty first, so that it can be dropped too"},
}};

Result<int> what_of(const config::Parameters& parameters) {
  const auto* given = find_parameter<std::int64_t>(parameters, "what");
  if (given == nullptr) return 1;
  if (*given < 1 || *given > 3)
    return fail(Errc::kInvalidArgument, "parameter \"what\": expected 1, 2 or 3, got {}", *given);
  return static_cast<int>(*given);
}

/// Bytes of a line of /proc/meminfo.
std::uint64_t meminfo(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    auto line = base::take_until(text, '\n');
    if (base::take_until(line, ':') != name) continue;
    return base::parse_uint(base::take_word(line)).value_or(0) * 1024;
  }
  return 0;
}

struct Memory {
  std::uint64_t free = 0;
  std::uint64_t cached = 0;
  std::uint64_t slab = 0;  // that can be reclaimed
};

Result<Memory> memory(const StepContext& context) {
  auto text = host::read_file(context.config->collect.procfs + "/meminfo");
  if (!text) return propagate(std::move(text));
  return Memory{.free = meminfo(*text, "MemFree"),
                .cached = meminfo(*text, "Cached"),
                .slab = meminfo(*text, "SReclaimable")};
}

class DropCaches final : public Step {
 public:
  [[nodiscard]] Status validate(const plan::Action& action, const StepContext&) const override {
    if (action.target != "host")
      return fail(Errc::kInvalidArgument, "target: expected \"host\", got \"{}\"", action.target);
    if (auto what = what_of(action.parameters); !what) return propagate(std::move(what));
    return {};
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto what = what_of(action.parameters);
    if (!what) return propagate(std::move(what));
    auto now = memory(context);
    if (!now) return propagate(std::move(now));
    return fmt::format(
        "would write {} to /proc/sys/vm/drop_caches: files take {}, reclaimable slabs {}", *what,
        show_bytes(now->cached), show_bytes(now->slab));
  }

  std::string evidence(const plan::Action&, StepContext& context) override {
    const auto now = memory(context);
    if (!now) return "{}";
    return boost::json::serialize(boost::json::object{{"free_bytes", now->free},
                                                      {"cached_bytes", now->cached},
                                                      {"reclaimable_slab_bytes", now->slab}});
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto what = what_of(action.parameters);
    if (!what) return propagate(std::move(what));
    auto before = memory(context);
    if (!before) return propagate(std::move(before));
    const auto* sync = find_parameter<bool>(action.parameters, "sync");
    auto dropped = context.privileged.drop_caches(*what, sync == nullptr || *sync, as_child(run));
    if (!dropped) return propagate(std::move(dropped));
    auto after = memory(context);
    if (!after) return propagate(std::move(after));
    return StepResult{.result = fmt::format("files took {} and take {}; {} were free and {} are",
                                            show_bytes(before->cached), show_bytes(after->cached),
                                            show_bytes(before->free), show_bytes(after->free)),
                      .output = {}};
  }

  /// How much is free afterwards is the host's to say: for a `verify` expression.
  std::optional<bool> verify(const plan::Action&, StepContext&) override { return std::nullopt; }

  Recovered recover(const plan::Action&, StepContext&, std::string& what) override {
    what = "whether the caches were dropped leaves no trace";
    return Recovered::kUnknown;
  }
};

}  // namespace

const ActionDescriptor kDropCaches{
    .name = "drop_caches",
    .help =
        "Makes the kernel forget files that it keeps in memory; what is dirty is written first.",
    .target_help = "\"host\"",
    .parameters = kParameters,
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<DropCaches>(); },
};

}  // namespace nexus::execute
