// services: what runs, whatever runs it, and what may be asked for it.
#include <CLI/CLI.hpp>

#include "agent/client.hpp"
#include "agent/commands.hpp"
#include "agent/commands/client_flags.hpp"
#include "agent/commands/follow.hpp"
#include "nexus/drivers/http_client.hpp"

namespace nexus::agent {
namespace {

namespace json = boost::json;

struct ServiceFlags {
  std::string name;
  std::string kind;
  std::string image;
  std::string container;
  std::string wait;
  std::string timeout;
  std::int64_t replicas = 0;
  std::int64_t revision = 0;
  bool only_if_running = false;
  bool undo = false;
  bool kill = false;
  bool dry_run = false;
  bool no_wait = false;
};
using FlagsPtr = std::shared_ptr<ServiceFlags>;

int list(const ClientFlags& flags, const std::string& kind) {
  const auto answer =
      call(flags, "GET", "/operations/services" + (kind.empty() ? "" : "?kind=" + kind));
  if (!answer) return report(answer.error());
  print_table(flags, *answer, "services",
              {{"NAME", "name"},
               {"KIND", "kind"},
               {"CONDITION", "condition"},
               {"STATE", "state"},
               {"WATCHED", "watched"},
               {"REPLICAS", "replicas"},
               {"WHAT", "description"}});
  const auto* unavailable = find_path(*answer, "unavailable");
  if (unavailable == nullptr || !unavailable->is_array() || flags.output == "json") return 0;
  for (const auto& one : unavailable->get_array()) {
    const auto* whose = find_path(one, "kind");
    const auto* message = find_path(one, "message");
    if (whose != nullptr && message != nullptr)
      fmt::print(stderr, "{}: {}\n", to_cell(*whose), to_cell(*message));
  }
  return 0;
}

int status(const ClientFlags& flags, const std::string& name) {
  const auto answer =
      call(flags, "GET", "/operations/services/" + drivers::url_encode(name) + "/status");
  if (!answer) return report(answer.error());
  print_object(flags, *answer,
               {{"name", "name"},
                {"kind", "kind"},
                {"what", "description"},
                {"condition", "condition"},
                {"state", "state"},
                {"sub-state", "sub_state"},
                {"result", "result"},
                {"health", "health"},
                {"pid", "main_pid"},
                {"since", "since"},
                {"restarts", "restarts"},
                {"replicas", "replicas"},
                {"ready", "ready"},
                {"updated", "updated"},
                {"rollout", "rollout"},
                {"instance", "instance"},
                {"can", "can"}});
  return 0;
}

int post(const ClientFlags& flags, const ServiceFlags& wanted, const std::string& path,
         const json::value& body) {
  return ask_for_action(flags, path, body, wanted.no_wait);
}

std::string path_of(const ServiceFlags& wanted, std::string_view what) {
  return fmt::format("/operations/services/{}/{}", drivers::url_encode(wanted.name), what);
}

/// A verb that has no path of its own: an action of this type.
int act(const ClientFlags& flags, const ServiceFlags& wanted, std::string_view type,
        json::object parameters) {
  return post(flags, wanted, "/operations/actions",
              {{"action_type", type},
               {"target_component", wanted.name},
               {"parameters", std::move(parameters)},
               {"dry_run", wanted.dry_run}});
}

CLI::App* add_verb(CLI::App& services, const FlagsPtr& wanted, const char* verb, const char* help) {
  auto* command = services.add_subcommand(verb, help);
  command
      ->add_option("name", wanted->name,
                   "web.service, web@, docker:NAME, docker:PROJECT/SERVICE, "
                   "kubernetes:NAMESPACE/KIND/NAME, process:PID:START")
      ->required();
  command->add_flag("--dry-run", wanted->dry_run, "Say what would be done, do nothing");
  add_no_wait(*command, wanted->no_wait);
  return command;
}

void add_rollouts(CLI::App& services, CommandContext& context, const FlagsPtr& wanted,
                  const std::shared_ptr<const ClientFlags>& flags) {
  auto* scale = add_verb(services, wanted, "scale", "Have as many instances as are wanted");
  scale->add_option("replicas", wanted->replicas, "How many")
      ->required()
      ->check(CLI::Range(0, 100'000));
  scale->callback([&context, wanted, flags] {
    context.code = post(*flags, *wanted, path_of(*wanted, "scale"),
                        {{"replicas", wanted->replicas}, {"dry_run", wanted->dry_run}});
  });
  auto* rollout = add_verb(services, wanted, "rollout",
                           "New instances in the place of the old ones, one after the other");
  rollout->add_option("--image", wanted->image, "Another image, which has to be there already");
  rollout->add_option("--container", wanted->container, "Of a pod with several: whose image");
  rollout->add_option("--wait", wanted->wait, "Between two instances, e.g. 10s");
  rollout->add_flag("--undo", wanted->undo, "Back to the version before the last rollout");
  rollout->add_option("--revision", wanted->revision, "With --undo: that revision of Kubernetes")
      ->check(CLI::Range(1, INT32_MAX));
  rollout->callback([&context, wanted, flags] {
    json::object body = {{"dry_run", wanted->dry_run}};
    if (!wanted->image.empty()) body["image"] = wanted->image;
    if (!wanted->container.empty()) body["container"] = wanted->container;
    if (!wanted->wait.empty()) body["wait"] = wanted->wait;
    if (wanted->undo) body["undo"] = true;
    if (wanted->revision > 0) body["revision"] = wanted->revision;
    context.code = post(*flags, *wanted, path_of(*wanted, "rollout"), body);
  });
}

void add_jobs(CLI::App& services, CommandContext& context, const FlagsPtr& wanted,
              const std::shared_ptr<const ClientFlags>& flags) {
  auto* restart = add_verb(services, wanted, "restart", "Restart a service through the guardrails");
  restart->add_flag("--only-if-running", wanted->only_if_running, "Of a unit: try-restart");
  restart->add_option("--timeout", wanted->timeout, "Of a container: then it is killed, e.g. 10s");
  restart->callback([&context, wanted, flags] {
    json::object body = {{"dry_run", wanted->dry_run}};
    if (wanted->only_if_running) body["only_if_running"] = true;
    if (!wanted->timeout.empty()) body["timeout"] = wanted->timeout;
    context.code = post(*flags, *wanted, path_of(*wanted, "restart"), body);
  });
  auto* stop = add_verb(services, wanted, "stop", "Stop a service");
  stop->add_option("--timeout", wanted->timeout,
                   "Of a container or process: then it is killed, e.g. 10s");
  stop->add_flag("--kill", wanted->kill, "Of a container: at once");
  stop->callback([&context, wanted, flags] {
    json::object parameters;
    if (!wanted->timeout.empty()) parameters["timeout"] = wanted->timeout;
    if (wanted->kill) parameters["kill"] = true;
    context.code = act(*flags, *wanted, "stop_service", std::move(parameters));
  });
  struct Plain {
    const char* verb;
    const char* help;
    std::string_view type;
  };
  for (const auto& plain :
       {Plain{"start", "Start a service", "start_service"},
        Plain{"reload", "Have a service read its configuration anew", "reload_service"},
        Plain{"enable", "Have a unit come up with the host", "enable_service"},
        Plain{"disable", "Have a unit not come up with the host any more", "disable_service"},
        Plain{"reset", "Have systemd forget that a unit failed", "reset_service"}}) {
    auto* command = add_verb(services, wanted, plain.verb, plain.help);
    command->callback([&context, wanted, flags, type = plain.type] {
      context.code = act(*flags, *wanted, type, {});
    });
  }
}

}  // namespace

void add_services(CLI::App& app, CommandContext& context,
                  const std::shared_ptr<const ClientFlags>& flags) {
  auto wanted = std::make_shared<ServiceFlags>();
  auto* services = app.add_subcommand("services", "Services by name, whatever runs them");
  services->require_subcommand(0, 1);
  services->add_option("--kind", wanted->kind, "Only systemd, docker, kubernetes or process")
      ->check(CLI::IsMember({"systemd", "docker", "kubernetes", "process"}));
  services->callback([&context, wanted, flags, services] {
    if (services->get_subcommands().empty()) context.code = list(*flags, wanted->kind);
  });
  auto* state = services->add_subcommand("status", "State of a service, and what can be done");
  state->add_option("name", wanted->name, "Its name")->required();
  state->callback([&context, wanted, flags] { context.code = status(*flags, wanted->name); });
  add_jobs(*services, context, wanted, flags);
  add_rollouts(*services, context, wanted, flags);
}

}  // namespace nexus::agent
