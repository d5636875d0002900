// etc/agent.toml is the reference of every key: these tests are why it cannot go stale.
#include <fmt/core.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "config/config_support.hpp"
#include "config/loader.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/config.hpp"

using namespace nexus;
using namespace nexus::config;

namespace {

const std::vector<std::string> none;

std::string reference() {
  std::ifstream file(NEXUS_SOURCE_DIR "/etc/agent.toml");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

bool is_default(std::string_view line) {
  return line.size() > 2 && line[0] == '#' && line[1] >= 'a' && line[1] <= 'z';
}
bool is_example(std::string_view line) {
  return line.starts_with("#     ") && line[6] != ' ';
}

/// The reference with the chosen kind of line uncommented. Lines keep their numbers.
template <typename Chosen>
std::string uncomment(std::string_view text, Chosen chosen, std::size_t prefix) {
  std::string out;
  for (const auto line : base::split(text, '\n')) {
    out += chosen(line) ? line.substr(prefix) : line;
    out += '\n';
  }
  return out;
}

std::string with_examples() {
  std::string text = uncomment(reference(), is_example, 6);
  // The shipped line stands for the example of the same key.
  return uncomment(
      text, [](std::string_view line) { return is_default(line) && line != "#watch = []"; }, 1);
}

std::string vital_row(const VitalConfig& vital) {
  const auto threshold = [&](const std::optional<double>& value) {
    if (!value) return std::string("-");
    return fmt::format("{} {}", vital.direction == Direction::kAbove ? ">" : "<",
                       base::format_double(*value));
  };
  return fmt::format("# | {:<34} | {:<16} | {:>11} | {:>11} | {:>3} | {}", vital.name, vital.unit,
                     threshold(vital.warning), threshold(vital.critical),
                     base::format_duration(vital.pending), vital.expr.text);
}

}  // namespace

TEST_CASE("the shipped file loads as it is, and says nothing but the defaults") {
  const auto loaded = load_text(reference(), "agent.toml");
  CHECK(shown(loaded.problems) == none);
  CHECK(loaded.config == load_text("", "empty").config);
}

TEST_CASE("every default that the reference shows is the default") {
  const auto text = uncomment(reference(), is_default, 1);
  const auto loaded = load_text(text, "agent.toml");
  CHECK(shown(loaded.problems) == none);
  CHECK(changed_sections(loaded.config, load_text("", "empty").config).empty());
  CHECK(loaded.config == load_text("", "empty").config);
}

TEST_CASE("the examples of the reference are valid") {
  TemporaryDirectory directory;
  directory.write("deploy-token", "0123456789abcdef-deploy\n", 0400);
  const auto token_file = directory.write("backup.token", "0123456789abcdef-backup\n", 0600);
  auto text = with_examples();
  const std::string shipped = "/etc/nexus/backup.token";
  text.replace(text.find("token_file = \"" + shipped) + 14, shipped.size(), token_file);
  LoadOptions options;
  options.environment = environment(
      {{"CREDENTIALS_DIRECTORY", directory.path()}, {"GRAFANA_TOKEN", "0123456789abcdef-grafana"}});
  const auto loaded = load_text(text, "agent.toml", options);
  CHECK(shown(loaded.problems) == none);
  CHECK(loaded.config.auth.tokens.size() == 3);
  CHECK(loaded.config.remedies.size() == 4);
  CHECK(loaded.config.services.size() == 3);
  CHECK(loaded.config.commands.size() == 1);
  CHECK(loaded.config.alerts.size() == 1);
  CHECK(loaded.config.vitals.size() == default_vitals().size() + 1);
}

TEST_CASE("the reference shows every key that can be read") {
  const auto text = with_examples();
  LoadOptions options;
  Loader loader(options);
  loader.read_text(text, "agent.toml");
  (void)loader.finish();

  const auto document = parse_document(text, "agent.toml");
  std::set<std::string> shown_keys;
  const auto collect = [&](const auto& self, const Node& node, const std::string& path) -> void {
    if (const auto* table = node.as<Table>()) {
      for (const auto& entry : *table) {
        const auto key = path.empty() ? entry.key : path + "." + entry.key;
        shown_keys.insert(key);
        self(self, entry.value, key);
      }
    } else if (const auto* array = node.as<Array>()) {
      for (const auto& item : *array) self(self, item, path);
    }
  };
  collect(collect, document.root, "");
  // Explained in a comment, for an example would name a file or variable that is not there.
  for (const auto* section : {"postgres", "redis"}) {
    for (const auto* key : {"password", "password_file", "password_env", "password_credential"})
      shown_keys.insert(fmt::format("{}.{}", section, key));
  }
  for (const auto& key : loader.known_keys()) {
    if (key == "auth.token.token") continue;  // known so that it can be refused with advice
    const bool source = key.starts_with("scrape.") || key.starts_with("probe.") ||
                        key.starts_with("request.") || key.starts_with("notify.");
    const auto last = key.substr(key.rfind('.') + 1);
    // The same ways to a secret as of [[auth.token]]; only one of them fits into an example.
    if (source &&
        (last == "password" || last == "token" || last == "secret" || last.ends_with("_env") ||
         last.ends_with("_credential") || (key.starts_with("notify.") && last.ends_with("_file"))))
      continue;
    INFO(key << " is read, but etc/agent.toml does not show it");
    CHECK(shown_keys.contains(key));
  }
  CHECK(loader.known_keys().size() > 100);
}

TEST_CASE("the reference lists the shipped vitals") {
  std::string expected = fmt::format("# | {:<34} | {:<16} | {:>11} | {:>11} | {:>3} | {}\n", "name",
                                     "unit", "warning", "critical", "for", "expression");
  for (const auto& vital : default_vitals()) expected += vital_row(vital) + "\n";
  INFO("etc/agent.toml must contain:\n" << expected);
  CHECK(reference().contains(expected));
}
