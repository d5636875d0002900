// Processes that no manager looks after: known by pid and start time, never by a name.
#include <algorithm>
#include <charconv>
#include <filesystem>

#include "execute/process_guard.hpp"
#include "execute/services.hpp"
#include "execute/signal_step.hpp"
#include "nexus/config/config.hpp"

namespace nexus::execute {
namespace {

/// One that outlives who started it, and that no unit but a session or a slice has.
bool is_on_its_own(const host::ProcessFacts& process) {
  return process.id.pid > 1 && !process.is_kernel_thread && process.state != 'Z' &&
         !process.unit.ends_with(".service") && !process.unit.ends_with(".socket") &&
         (process.parent == 1 || process.session == process.id.pid);
}

ServiceState state_of(const host::ProcessFacts& process) {
  ServiceState out;
  out.name = "process:" + host::to_string(process.id);
  out.kind = "process";
  out.state = std::string(1, process.state);
  out.condition = process.state == 'Z' ? ServiceCondition::kDown : ServiceCondition::kUp;
  out.description = process.name;  // its arguments may be nobody's business
  out.instance = host::to_string(process.id);
  out.main_pid = static_cast<std::uint32_t>(process.id.pid);
  if (!process.unit.empty()) out.more.emplace("unit", process.unit);
  return out;
}

class Processes final : public ServiceManager {
 public:
  Status check(ServiceVerb, const std::string& name, const config::Config&) const override {
    auto id = host::parse_process(name);
    if (!id) return propagate(std::move(id));
    return {};
  }

  Result<std::vector<ServiceState>> list(StepContext& context, std::size_t limit,
                                         SteadyTime) override {
    const auto& procfs = context.config->collect.procfs;
    std::vector<ServiceState> out;
    std::error_code failed;
    std::filesystem::directory_iterator entry(procfs, failed);
    for (; !failed && entry != std::filesystem::directory_iterator() && out.size() < limit;
         entry.increment(failed)) {
      const auto text = entry->path().filename().string();
      pid_t pid = 0;
      const auto read = std::from_chars(text.data(), text.data() + text.size(), pid);
      if (read.ec != std::errc() || read.ptr != text.data() + text.size()) continue;
      const auto facts = host::process_facts({.pid = pid}, procfs);
      if (facts && is_on_its_own(*facts)) out.push_back(state_of(*facts));
    }
    if (failed) return std::unexpected(Error(failed, "look at " + procfs));
    std::ranges::sort(out, {}, &ServiceState::main_pid);
    return out;
  }

  Result<ServiceState> status(const std::string& name, Look, StepContext& context,
                              SteadyTime) override {
    auto id = host::parse_process(name);
    if (!id) return propagate(std::move(id));
    auto facts = host::process_facts(*id, context.config->collect.procfs);
    if (!facts) return propagate(std::move(facts));
    return state_of(*facts);
  }

  Step* step(ServiceVerb verb) override {
    if (verb == ServiceVerb::kStop) return end_.get();
    return verb == ServiceVerb::kReload ? hang_up_.get() : nullptr;
  }

  std::string why_not(ServiceVerb) const override {
    return "nobody manages the process: it can be stopped, or told to read its configuration "
           "anew, and no more";
  }

 private:
  const std::unique_ptr<Step> end_ = make_signal_step({.signal = "TERM", .kill_after = "timeout"});
  const std::unique_ptr<Step> hang_up_ =
      make_signal_step({.signal = "HUP", .kill_after = "timeout"});
};

}  // namespace

const ServiceManagerDescriptor kProcessServices{
    .kind = "process",
    .help = "processes that no manager looks after, by pid and start time",
    .target_help = kProcessTargetHelp,
    .make = []() -> std::unique_ptr<ServiceManager> { return std::make_unique<Processes>(); },
};

}  // namespace nexus::execute
