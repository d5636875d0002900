// `manual` and `completion`: documents that the package ships, written from the command line's own
// description and the descriptors of collectors and actions, so that they cannot go stale.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "agent/commands.hpp"
#include "nexus/base/version.hpp"
#include "nexus/execute/step.hpp"
#include "nexus/monitor/collector.hpp"
#include "nexus/monitor/source_kinds.hpp"
#include "nexus/publish/receiver.hpp"

namespace nexus::agent {
namespace {

/// Text for roff: backslashes, dashes that are copied, and lines that would start a request.
std::string roff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out.starts_with('.') || out.starts_with('\'') ? "\\&" + out : out;
}

bool is_hidden(const CLI::App& app) {
  return app.get_group().empty();
}

std::vector<CLI::App*> visible(CLI::App& app) {
  std::vector<CLI::App*> out;
  for (auto* sub : app.get_subcommands([](CLI::App*) { return true; })) {
    if (!is_hidden(*sub)) out.push_back(sub);
  }
  return out;
}

void print_options(const CLI::App& app) {
  for (const auto* option : app.get_options()) {
    if (option->get_name() == "--help") continue;
    fmt::print(".RS\n.TP\n.B {}\n{}\n.RE\n", roff(option->get_name(false, true)),
               roff(option->get_description()));
  }
}

void print_commands(CLI::App& app, const std::string& prefix) {
  for (auto* sub : visible(app)) {
    const auto name = prefix + sub->get_name();
    fmt::print(".TP\n.B {}\n{}\n", roff(name), roff(sub->get_description()));
    print_options(*sub);
    print_commands(*sub, name + " ");
  }
}

void print_manual(CLI::App& app) {
  fmt::print(".TH NEXUS\\-AGENT 8 \"\" \"nexus\\-agent {}\" \"System administration\"\n",
             base::version());
  fmt::print(
      ".SH NAME\nnexus\\-agent \\- monitoring, forecasts and guarded remediation of one host\n");
  fmt::print(
      ".SH SYNOPSIS\n.B nexus\\-agent\n[\\fIoptions\\fR] \\fIcommand\\fR [\\fIarguments\\fR]\n");
  fmt::print(".SH DESCRIPTION\n{}\n", roff(app.get_description()));
  fmt::print(".SH OPTIONS\n");
  print_options(app);
  fmt::print(".SH COMMANDS\n");
  print_commands(app, "");
  fmt::print(".SH COLLECTORS\n");
  for (const auto* collector : monitor::collectors()) {
    fmt::print(".TP\n.B {}\n{} ({} by default)\n", roff(collector->name), roff(collector->help),
               collector->enabled_by_default ? "on" : "off");
  }
  fmt::print(".SH SOURCES\n");
  for (const auto& kind : monitor::source_kinds())
    fmt::print(".TP\n.B {}\n{}\n", roff(kind.table), roff(kind.help));
  fmt::print(".SH ACTIONS\n");
  for (const auto* action : execute::actions())
    fmt::print(".TP\n.B {}\n{}\n", roff(action->name), roff(action->help));
  fmt::print(".SH NOTIFIERS\n");
  for (const auto* receiver : publish::receivers())
    fmt::print(".TP\n.B {}\n{}\n", roff(receiver->name), roff(receiver->help));
  fmt::print(
      ".SH FILES\n.TP\n.I /etc/nexus/agent.toml\nThe configuration; every key is shown there with "
      "its default.\n");
  fmt::print(".TP\n.I /etc/nexus/conf.d/*.toml\nRead after it, in name order.\n");
  fmt::print(
      ".TP\n.I /run/nexus\\-agent/agent.sock\nThe HTTP API for the command line and for curl.\n");
  fmt::print(
      ".TP\n.I /var/lib/nexus\\-agent/stop\nAs long as this file exists the agent does not act.\n");
  fmt::print(
      ".SH SIGNALS\nSIGHUP reads the configuration anew; a bad one is refused and said in the log. "
      "SIGTERM stops in order.\n");
  fmt::print(".SH EXIT STATUS\n0: well; 1: bad input, or the agent refused; 2: wrong usage.\n");
}

void collect_words(CLI::App& app, const std::string& path, std::string& cases) {
  std::string words;
  for (auto* sub : visible(app)) words += sub->get_name() + " ";
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) words += "--" + name + " ";
  }
  if (words.ends_with(' ')) words.pop_back();
  cases += fmt::format("    '{}') words='{}' ;;\n", path, words);
  for (auto* sub : visible(app))
    collect_words(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), cases);
}

void print_bash_completion(CLI::App& app) {
  std::string cases;
  collect_words(app, "", cases);
  fmt::print(R"bash(# bash completion for nexus-agent, written by `nexus-agent completion bash`
_nexus_agent() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} path= word words= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${{COMP_WORDS[i]}}
    [[ $word == -* ]] || path+=${{path:+ }}$word
  done
  case $path in
    'describe') words="$(nexus-agent list collectors; nexus-agent list actions; nexus-agent list notifiers) scrape probe statsd push log" && words=$(awk '{{print $1}}' <<<"$words") ;;
{}    *) COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -F _nexus_agent nexus-agent
)bash",
             cases);
}

}  // namespace

void add_documents(CLI::App& app) {
  app.add_subcommand("manual", "Write the man page nexus-agent(8)")->group("")->callback([&app] {
    print_manual(app);
  });
  auto* completion = app.add_subcommand("completion", "Write a shell completion")->group("");
  completion->require_subcommand(1);
  completion->add_subcommand("bash", "For bash")->callback([&app] { print_bash_completion(app); });
}

}  // namespace nexus::agent
