#include "monitor/directory.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <set>
#include <string>

using namespace nexus;
using namespace nexus::monitor;

TEST_CASE("every entry of a directory is visited") {
  const auto directory = Directory::open_at(AT_FDCWD, "/proc/self");
  REQUIRE(directory.has_value());
  std::set<std::string> names;
  REQUIRE(directory->for_each([&](const char* name) { names.insert(name); }).has_value());
  CHECK(names.contains("stat"));
  CHECK(names.contains("task"));
  CHECK(Directory::open_at(directory->fd(), "stat").error().system() == std::errc::not_a_directory);
}

TEST_CASE("a directory that cannot be read to its end is an error, not a short list") {
  const auto directory = Directory::open_at(AT_FDCWD, "/proc/self");
  REQUIRE(directory.has_value());
  const host::Fd file(::open("/proc/self/stat", O_RDONLY | O_CLOEXEC));
  REQUIRE(::dup2(file.get(), directory->fd()) >= 0);  // getdents(2) fails from now on
  std::size_t seen = 0;
  const Status read = directory->for_each([&](const char*) { ++seen; });
  REQUIRE_FALSE(read.has_value());
  CHECK(read.error().system() == std::errc::not_a_directory);
  CHECK(seen == 0);
}
