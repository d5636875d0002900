#include "agent/command_line.hpp"

int main(int argc, char** argv) {
  return nexus::agent::command_line(argc, argv);
}
