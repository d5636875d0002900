// Secrets come from files, the environment or systemd; no message ever holds one.
#include <fmt/core.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "config/config_support.hpp"

using namespace nexus;
using namespace nexus::config;

namespace {

const std::vector<std::string> none;
constexpr const char* kSecret = "hunter2hunter2hunter2";

LoadOptions options_with(std::map<std::string, std::string> variables) {
  LoadOptions options;
  options.environment = environment(std::move(variables));
  return options;
}

std::string token(std::string_view source) {
  return fmt::format("[[auth.token]]\nname = 'one'\nrole = 'operator'\n{}\n", source);
}

/// The only problem of that text; it must not hold the secret.
std::string problem_of(std::string_view text, const LoadOptions& options = {}) {
  const auto loaded = load_text(text, "a.toml", options);
  CHECK(loaded.config.auth.tokens.empty());
  const auto problems = shown(loaded.problems);
  for (const auto& problem : problems) CHECK_FALSE(problem.contains("hunter"));
  REQUIRE(problems.size() == 1);
  return problems.front();
}

}  // namespace

TEST_CASE("a token's secret is read from a private file, the environment or a credential") {
  TemporaryDirectory directory;
  const auto file = directory.write("token", std::string(kSecret) + "\n", 0600);
  directory.write("credential", std::string(kSecret) + "\r\n", 0440);
  const auto options =
      options_with({{"TOKEN", kSecret}, {"CREDENTIALS_DIRECTORY", directory.path()}});
  for (const auto& source : {"token_file = '" + file + "'", std::string("token_env = 'TOKEN'"),
                             std::string("token_credential = 'credential'")}) {
    CAPTURE(source);
    const auto loaded = load_text(token(source), "a.toml", options);
    REQUIRE(shown(loaded.problems) == none);
    REQUIRE(loaded.config.auth.tokens.size() == 1);
    CHECK(loaded.config.auth.tokens[0].name == "one");
    CHECK(loaded.config.auth.tokens[0].role == Role::kOperator);
    CHECK(loaded.config.auth.tokens[0].token.reveal() == kSecret);
  }
}

TEST_CASE("secret files must be private, readable, long enough and regular") {
  TemporaryDirectory directory;
  const auto problem = [&](const std::string& path) {
    return problem_of(token("token_file = '" + path + "'"));
  };
  CHECK(problem(directory.write("a", kSecret, 0644)).contains("others can read it (mode 0644)"));
  CHECK(problem(directory.write("b", kSecret, 0604)).contains("others can read it"));
  CHECK(problem(directory.write("c", kSecret, 0660)).contains("others can read it"));
  CHECK(problem(directory.write("d", "", 0600)).contains("the secret is empty"));
  CHECK(problem(directory.write("e", "\n\n", 0600)).contains("the secret is empty"));
  CHECK(problem(directory.write("f", "hunter2", 0600)).contains("fewer than 16 characters"));
  CHECK(problem(directory.write("g", "hunter2 hunter2 hunter2", 0600)).contains("bearer token"));
  CHECK(problem(directory.write("h", std::string(5000, 'x'), 0600)).contains("larger than"));
  CHECK(problem(directory.path() + "/absent").starts_with("a.toml:4:14: auth.token.token_file: "));
  CHECK(problem("relative").contains("expected an absolute path"));
  CHECK_FALSE(problem(directory.path()).empty());
  const auto fifo = directory.path() + "/fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(problem(fifo).contains("not a regular file"));
}

TEST_CASE("exactly one source of a secret, and never the secret itself") {
  const auto options = options_with({{"TOKEN", kSecret}});
  CHECK(problem_of(token("")) ==
        "a.toml:1:1: auth.token.token_file: expected exactly one of token_file, token_env and "
        "token_credential");
  CHECK(problem_of(token("token_env = 'TOKEN'\ntoken_file = '/x'"), options)
            .ends_with("expected exactly one of token_file, token_env and token_credential"));
  CHECK(problem_of(token(fmt::format("token = '{}'", kSecret))) ==
        "a.toml:4:9: auth.token.token: a secret does not belong into this file; expected exactly "
        "one of token_file, token_env and token_credential");
  CHECK(problem_of(token("token_env = 'ABSENT'"), options)
            .contains("no environment variable of this name"));
  CHECK(problem_of(token("token_credential = 'x'"), options).contains("CREDENTIALS_DIRECTORY"));
  CHECK(problem_of(token("token_credential = '../x'"), options).contains("not a path"));
}

TEST_CASE("a secret in the wrong place is not repeated") {
  for (const char* mistake :
       {"token_env = 'hunter2hunter2hunter2'", "token_file = 'hunter2hunter2hunter2'",
        "token_credential = 'hunter2hunter2hunter2'", "token_env = 'X'\nrole2 = 'hunter2hunter2'",
        "token = hunter2hunter2", "token = \"hunter2hunter2", "token_env = 'X'\ntoken hunter2",
        "token_file = ['hunter2hunter2hunter2']"}) {
    CAPTURE(mistake);
    const auto problems = shown(load_text(token(mistake), "a.toml").problems);
    CHECK_FALSE(problems.empty());
    for (const auto& problem : problems) CHECK_FALSE(problem.contains("hunter"));
  }
  // A secret where a table belongs, and beside it.
  for (const char* text :
       {"auth = 'hunter2hunter2hunter2'", "[auth]\ntoken = 'hunter2hunter2hunter2'",
        "[auth]\ntoken = ['hunter2hunter2hunter2']", "[auth]\nanonymous_role = 'hunter2hunter2'",
        "postgres = 'postgres://u:hunter2@h'", "redis = 'redis://:hunter2@h'",
        "postgres = ['hunter2']", "scrape = 'http://u:hunter2@h'", "scrape = ['hunter2']",
        "probe = 'http://u:hunter2@h'"}) {
    CAPTURE(text);
    const auto problems = shown(load_text(text, "a.toml").problems);
    CHECK(problems.size() == 1);
    for (const auto& problem : problems) CHECK_FALSE(problem.contains("hunter"));
  }
  const auto problems =
      shown(load_text("[[auth.token]]\nname = 'hunter 2'\nrole = 'hunter2'\ntoken_env = 'X'", "a")
                .problems);
  CHECK(problems.size() == 3);
  for (const auto& problem : problems) CHECK_FALSE(problem.contains("hunter"));
}

TEST_CASE("two tokens must differ in name and in secret") {
  const auto options = options_with({{"A", kSecret}, {"B", std::string(kSecret) + "2"}});
  const auto two = [&](std::string_view name, std::string_view variable) {
    return shown(load_text(token("token_env = 'A'") +
                               fmt::format("[[auth.token]]\nname = '{}'\ntoken_env = '{}'\n", name,
                                           variable),
                           "a.toml", options)
                     .problems);
  };
  CHECK(two("two", "B") == none);
  CHECK(two("one", "B") ==
        std::vector<std::string>{"a.toml:6:8: auth.token: there are two of the name \"one\"; the "
                                 "other is at a.toml:2:8"});
  CHECK(two("two", "A") ==
        std::vector<std::string>{"a.toml:6:8: auth.token.name: has the same secret as \"one\""});
}
