#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#include <csignal>

int main(int argc, char* argv[]) {
  // What `nohup ./test` ignores every process below it would ignore too, and a shell cannot trap: a
  // writer of logs among these tests would not hear that it is to open its log anew.
  std::signal(SIGHUP, SIG_DFL);
  return Catch::Session().run(argc, argv);
}
