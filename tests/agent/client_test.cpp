#include "agent/client.hpp"

#include <catch2/catch.hpp>

#include "support/temporary_directory.hpp"

using namespace nexus;
using namespace nexus::agent;

namespace {

std::string socket_of(const nexus::test::TemporaryDirectory& directory, const std::string& text) {
  directory.write("agent.toml", text);
  config::LoadOptions options;
  options.file = directory.file("agent.toml");
  return find_socket(options);
}

}  // namespace

TEST_CASE("the socket is the running agent's, then the configured one, then the default") {
  const nexus::test::TemporaryDirectory directory;
  const std::string config = "[agent]\ndata_dir = \"" + directory.file("data") +
                             "\"\n[http]\nlisten = [\"127.0.0.1:0\", \"unix:/run/new.sock\"]\n";
  CHECK(socket_of(directory, config) == "/run/new.sock");
  directory.write("data/addresses", "http://127.0.0.1:8060\nunix:/run/bound at start.sock\n");
  CHECK(socket_of(directory, config) == "/run/bound at start.sock");
  // A reload is there to report such a mistake: it must reach the agent.
  CHECK(socket_of(directory, config + "[nonsense]\nkey = \n") == "/run/bound at start.sock");
  directory.write("data/addresses", "http://127.0.0.1:8060\n");
  CHECK(socket_of(directory, config) == "/run/new.sock");
  CHECK(socket_of(directory, "[agent]\ndata_dir = \"/nowhere\"\n") ==
        "/run/nexus-agent/agent.sock");
  CHECK(socket_of(directory,
                  "[agent]\ndata_dir = \"/nowhere\"\n[http]\nlisten = [\"127.0.0.1:0\"]\n") ==
        "/run/nexus-agent/agent.sock");
}
