// exec: a listed command ([[command]]), with the notification in its environment.
#include <fmt/format.h>

#include <algorithm>

#include "nexus/host/subprocess.hpp"
#include "publish/message.hpp"
#include "publish/receivers.hpp"

namespace nexus::publish {
namespace {

constexpr std::size_t kLongestVariable = 100'000;  // execve takes 128 KiB for each

class Exec final : public Receiver {
 public:
  Exec(config::ReceiverConfig config, const ReceiverContext& context, std::vector<std::string> argv)
      : config_(std::move(config)),
        clock_(context.clock),
        origin_(context.origin),
        wording_(config_, context),
        argv_(std::move(argv)) {}

  Delivery send(const Notification& notification, const std::function<bool()>& cancelled) override {
    const auto message = wording_.message(notification);
    host::Command command;
    command.argv = argv_;
    const auto set = [&](std::string_view name, std::string_view value) {
      std::string text(value);
      std::erase(text, '\0');
      command.environment.push_back(fmt::format("NEXUS_{}={}", name, cut(text, kLongestVariable)));
    };
    set("STATUS", message.resolved ? "resolved" : "firing");
    set("SEVERITY", config::to_string(message.severity));
    set("TITLE", message.title);
    set("TEXT", to_text(message));
    set("HOST", origin_.host);
    set("GROUP", notification.group_key);
    set("NOTIFICATION", notification.id);
    const auto json = alerts_to_json(notification.alerts);
    set("ALERTS", json.size() <= kLongestVariable ? json : "[]");
    const auto ended = host::run(command, clock_, clock_.steady() + config_.timeout, cancelled);
    if (!ended) return Delivery::retry(cut(one_line(ended.error().message()), 300));
    if (ended->status == 0) return Delivery::sent();
    return Delivery::disliked(fmt::format("{} ended with {}: {}", argv_.front(), ended->status,
                                          cut(one_line(ended->output), 200)));
  }

 private:
  const config::ReceiverConfig config_;
  Clock& clock_;
  const Origin origin_;
  const Wording wording_;
  const std::vector<std::string> argv_;
};

constexpr OptionDescriptor kOptions[] = {
    {"command", OptionType::kString, true, "", "the name of a [[command]]"},
};

Result<std::unique_ptr<Receiver>> make(const config::ReceiverConfig& config,
                                       const ReceiverContext& context) {
  const auto name = text_option(config, "command");
  const auto& commands = context.config->commands;
  const auto found = std::ranges::find(commands, name, &config::CommandConfig::name);
  if (found == commands.end()) return fail(Errc::kNotFound, "there is no [[command]] \"{}\"", name);
  return std::make_unique<Exec>(config, context, found->argv);
}

void check(const config::ReceiverConfig& config, const config::Config& all,
           const Complain& complain) {
  const auto name = text_option(config, "command");
  if (!name.empty() &&
      std::ranges::find(all.commands, name, &config::CommandConfig::name) == all.commands.end())
    complain("command", fmt::format("there is no [[command]] \"{}\"", name));
}

}  // namespace

const ReceiverDescriptor kExec = {
    .name = "exec",
    .help = "a listed command, with NEXUS_STATUS, NEXUS_TITLE, NEXUS_TEXT, ... in its environment",
    .options = kOptions,
    .secrets = {},
    .digests = false,
    .make = make,
    .check = check,
    .has_words = true,
};

}  // namespace nexus::publish
