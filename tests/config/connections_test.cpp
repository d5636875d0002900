// [postgres], [redis], [docker], [kubernetes]: their keys, their variables, and their secrets.
#include <catch2/catch.hpp>

#include "config/config_support.hpp"
#include "nexus/config/config.hpp"

using namespace nexus;
using namespace nexus::config;

namespace {

const std::vector<std::string> none;

std::vector<std::string> problems_of(std::string_view text,
                                     std::map<std::string, std::string> variables = {}) {
  LoadOptions options;
  options.environment = environment(std::move(variables));
  return shown(load_text(text, "a.toml", options).problems);
}

}  // namespace

TEST_CASE("connections come from the environment, and their passwords only from there") {
  LoadOptions options;
  options.environment = environment({{"POSTGRES_HOST", "db.example"},
                                     {"POSTGRES_PORT", "5433"},
                                     {"POSTGRES_DB", "shop"},
                                     {"POSTGRES_USER", "watcher"},
                                     {"POSTGRES_PASSWORD", " hunter2 "},
                                     {"REDIS_HOST", "/run/redis.sock"},
                                     {"REDIS_PORT", "6380"},
                                     {"REDIS_PASSWORD", "hunter3"},
                                     {"REDIS_DB", "4"}});
  const auto loaded = load_text("[postgres]\nhost = '10.0.0.1'\nport = 1", "a.toml", options);
  REQUIRE(shown(loaded.problems) == none);
  const auto& postgres = loaded.config.connections.postgres;
  CHECK(postgres.host == "db.example");
  CHECK(postgres.port == 5433);
  CHECK(postgres.database == "shop");
  CHECK(postgres.user == "watcher");
  CHECK(postgres.password.reveal() == " hunter2 ");
  const auto& redis = loaded.config.connections.redis;
  CHECK(redis.host == "/run/redis.sock");
  CHECK(redis.port == 6380);
  CHECK(redis.password.reveal() == "hunter3");
  CHECK(redis.database == 4);
}

TEST_CASE("a password in the file is refused without being shown") {
  CHECK(problems_of("[postgres]\npassword = 'hunter2'") ==
        std::vector<std::string>{
            "a.toml:2:12: postgres.password: a secret does not belong into this file; expected at "
            "most one of password_file, password_env and password_credential"});
  const auto both = problems_of("[redis]\npassword_env = 'A'\npassword_file = '/a'", {{"A", "x"}});
  REQUIRE(both.size() == 1);
  CHECK(both[0].contains("at most one of password_file, password_env and password_credential"));
  CHECK(problems_of("[redis]\npassword_env = 'A'") ==
        std::vector<std::string>{
            "a.toml:2:16: redis.password_env: there is no environment variable of this name"});
  TemporaryDirectory directory;
  const auto open_file = directory.write("password", "hunter2", 0644);
  const auto open_to_others = problems_of("[postgres]\npassword_file = '" + open_file + "'");
  REQUIRE(open_to_others.size() == 1);
  CHECK(open_to_others[0].contains("others can read it (mode 0644)"));
  const auto private_file = directory.write("private", "hunter2\n", 0600);
  const auto loaded = load_text("[postgres]\npassword_file = '" + private_file + "'", "a.toml");
  REQUIRE(shown(loaded.problems) == none);
  CHECK(loaded.config.connections.postgres.password.reveal() == "hunter2");
}

TEST_CASE("Redis over TLS is refused with what can be done instead") {
  const auto problems = problems_of("[redis]\nhost = 'a'\ntls = true\nca_file = '/hunter2'");
  REQUIRE(problems.size() == 2);
  CHECK(problems[0].starts_with("a.toml:3:"));
  for (const auto& problem : problems) {
    CHECK(problem.contains("Redis over TLS is not possible"));
    CHECK_FALSE(problem.contains("hunter2"));
  }
}

TEST_CASE("impossible values of connections are refused, and never shown") {
  for (const auto* text :
       {"[postgres]\nhost = 'hunter2 hunter2'", "[postgres]\nport = 0",
        "[postgres]\ntls = 'hunter2'", "[postgres]\nca_file = 'hunter2'", "[postgres]\ntimeout = 0",
        "[redis]\ndatabase = -1", "[redis]\nhunter2 = 1", "[docker]\nsocket = 'relative'",
        "[kubernetes]\nkubeconfig = 'a'", "[docker]\nmax_containers = 0"}) {
    CAPTURE(text);
    const auto problems = problems_of(text);
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].starts_with("a.toml:2:"));
  }
  CHECK_FALSE(problems_of("[postgres]\ntls = 'hunter2'")[0].contains("hunter2"));
}

TEST_CASE("changed connections are named by their section") {
  const auto before = load_text("", "a").config;
  const auto after = load_text("[postgres]\nport = 1\n[kubernetes]\nall_nodes = true", "a").config;
  CHECK(changed_sections(before, after) == std::vector<std::string>{"postgres", "kubernetes"});
}

TEST_CASE("what of Kubernetes may be changed is named, and nothing of its own can be") {
  for (const auto* text :
       {"[kubernetes]\nchange_in = ['shop', 'kube-system']", "[kubernetes]\nchange_in = ['*']",
        "[kubernetes]\nchange_in = ['a.b']", "[kubernetes]\nchange_in = ['-a']",
        "[kubernetes]\nchange_nodes = 'some'", "[fleet]\nnamespace = 'A_b'",
        "[fleet]\nlock = 'etcd'"}) {
    CAPTURE(text);
    const auto problems = problems_of(text);
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].starts_with("a.toml:2:"));
  }
  CHECK(problems_of("[kubernetes]\nchange_in = ['kube-public']")[0].contains("protected"));
  CHECK(problems_of("[fleet]\nlock = 'kubernetes'\nnamespace = 'kube-system'").empty());
  const auto off = problems_of("[fleet]\nlock = 'kubernetes'\n[kubernetes]\nenabled = false");
  REQUIRE(off.size() == 1);
  CHECK(off[0].starts_with("a.toml:2:"));
  CHECK(off[0].contains("[kubernetes] not to be switched off"));
}
