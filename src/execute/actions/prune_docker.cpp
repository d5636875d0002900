// prune_docker: has a container engine delete what nobody has used for a while. Never a volume.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>

#include "execute/actions.hpp"
#include "execute/cleanup_plan.hpp"
#include "execute/container.hpp"
#include "execute/parameter_values.hpp"
#include "execute/waiting.hpp"

namespace nexus::execute {
namespace {

using namespace std::chrono_literals;

constexpr Millis kLookLimit = 60s;
constexpr Millis kLeastAge = 1h;
constexpr std::array kKinds{kUnnamedImages, kBuildCache, kStoppedContainers};

constexpr std::array<ParameterDescriptor, 3> kParameters{{
    {.name = "what",
     .type = ParameterType::kStrings,
     .required = false,
     .default_value = R"(["dangling_images", "build_cache"])",
     .help = "of dangling_images, build_cache and stopped_containers"},
    {.name = "older_than",
     .type = ParameterType::kDuration,
     .required = false,
     .default_value = "24h",
     .help = "only what was not used for this long, 1h at least"},
    {.name = "max_bytes",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "max_bytes of [allow]",
     .help = "never delete more than this"},
}};

struct Wish {
  std::vector<std::string> kinds;
  Millis older_than{};
  std::uint64_t max_bytes = 0;
};

Result<Wish> wish_of(const plan::Action& action, const config::Config& config) {
  Wish out{.kinds = {std::string(kUnnamedImages), std::string(kBuildCache)},
           .older_than = duration_parameter(action.parameters, "older_than", kLeftoverAge)};
  if (const auto* given = find_parameter<std::vector<std::string>>(action.parameters, "what"))
    out.kinds = *given;
  for (const auto& kind : out.kinds) {
    if (std::ranges::find(kKinds, kind) == kKinds.end())
      return fail(Errc::kInvalidArgument, "parameter \"what\": there is no \"{}\", expected of {}",
                  kind, fmt::join(kKinds, ", "));
  }
  if (out.older_than < kLeastAge)
    return fail(Errc::kInvalidArgument, "parameter \"older_than\": expected 1h or more");
  auto budget = bytes_parameter(action.parameters, "max_bytes");
  if (!budget) return propagate(std::move(budget));
  out.max_bytes = std::min(budget->value_or(config.allow.max_bytes), config.allow.max_bytes);
  return out;
}

struct Found {
  drivers::DockerControl engine;
  std::vector<Leftover> list;
  std::vector<std::string> notes;
};

Result<Found> find(const plan::Action& action, StepContext& context,
                   const drivers::EngineCall& call) {
  auto wish = wish_of(action, *context.config);
  if (!wish) return propagate(std::move(wish));
  auto engine = engine_of(*context.config, context.clock);
  if (!engine) return propagate(std::move(engine));
  Found out{.engine = *std::move(engine), .list = {}, .notes = {}};
  auto left = wish->max_bytes;
  for (const auto& kind : wish->kinds) {
    auto some =
        leftovers_of({.kind = kind, .older_than = wish->older_than, .now = context.clock.wall()},
                     out.engine, *context.config, call, out.notes);
    if (!some) return propagate(std::move(some), "{}", kind);
    for (auto& one : *some) {
      if (one.bytes > left) {
        out.notes.push_back(fmt::format("{}: more than max_bytes", one.name));
        continue;
      }
      left -= one.bytes;
      out.list.push_back(std::move(one));
    }
  }
  return out;
}

std::string line_of(const Leftover& one) {
  return fmt::format("{:>12} {} {}\n", one.bytes, one.kind, one.name);
}

class PruneDocker final : public Step {
 public:
  Status validate(const plan::Action& action, const StepContext& context) const override {
    if (action.target != "docker")
      return fail(Errc::kInvalidArgument, "target: expected \"docker\", got \"{}\"", action.target);
    auto wish = wish_of(action, *context.config);
    if (!wish) return propagate(std::move(wish));
    return {};
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto found = find(action, context, {.deadline = context.clock.steady() + kLookLimit});
    if (!found) return propagate(std::move(found));
    std::uint64_t bytes = 0;
    std::string lines;
    for (const auto& one : found->list) {
      bytes += one.bytes;
      lines += line_of(one);
    }
    return fmt::format("would delete {} things, {} at most\n{}{}", found->list.size(),
                       show_bytes(bytes), lines, notes_of(*found));
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    const drivers::EngineCall call{.deadline = context.clock.steady() + kLookLimit};
    auto found = find(action, context, call);
    if (!found)
      return boost::json::serialize(boost::json::object{{"error", found.error().message()}});
    std::uint64_t bytes = 0;
    for (const auto& one : found->list) bytes += one.bytes;
    return boost::json::serialize(
        boost::json::object{{"unused", found->list.size()}, {"unused_bytes", bytes}});
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    const drivers::EngineCall call{.deadline = run.deadline,
                                   .ended = [&] { return run.cancelled() || run.leaving(); }};
    auto found = find(action, context, call);
    if (!found) return propagate(std::move(found));
    run.begun();
    std::size_t gone = 0;
    std::size_t refused = 0;
    std::uint64_t bytes = 0;
    std::string output;
    for (const auto& one : found->list) {
      if (auto why = why_to_end(context.clock, run))
        return fail(*why, "ended after {} of {} things", gone, found->list.size());
      if (auto ok = execute::remove(one, found->engine, *context.config, call); !ok) {
        ++refused;
        output += "left alone: " + ok.error().message() + "\n";
        continue;
      }
      ++gone;
      bytes += one.bytes;
      output += line_of(one);
    }
    return StepResult{
        .result = fmt::format("deleted {} things, {} at most{}", gone, show_bytes(bytes),
                              refused > 0 ? fmt::format(", {} were left alone", refused) : ""),
        .output = output + notes_of(*found),
        .failed = gone == 0 && refused > 0};
  }

  /// run() has said what went; new leftovers are no failure of it.
  std::optional<bool> verify(const plan::Action&, StepContext&) override { return std::nullopt; }

  Recovered recover(const plan::Action&, StepContext&, std::string& what) override {
    what =
        "what was deleted stays deleted; how far it came is not known, and doing it again does "
        "no harm";
    return Recovered::kUnknown;
  }

 private:
  static std::string notes_of(const Found& found) {
    std::string out;
    for (const auto& note : found.notes) out += "left out: " + note + "\n";
    return out;
  }
};

Status check_prune(const config::RemedyConfig& remedy, const config::Config& config) {
  if (!remedy.target.empty() && !is_template(remedy.target) && remedy.target != "docker")
    return fail(Errc::kInvalidArgument, "target: expected \"docker\", got \"{}\"", remedy.target);
  plan::Action action;
  action.parameters = remedy.parameters;
  auto wish = wish_of(action, config);
  if (!wish) return propagate(std::move(wish));
  return {};
}

}  // namespace

const ActionDescriptor kPruneDocker{
    .name = "prune_docker",
    .help =
        "Has Docker or Podman delete images without a name, build cache and stopped containers "
        "that nobody has used for a while; never a volume, nor what a rollback would need.",
    .target_help = "\"docker\", the engine of [docker]",
    .parameters = kParameters,
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<PruneDocker>(); },
    .check_remedy = check_prune,
};

}  // namespace nexus::execute
