#include <dirent.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>

#include "nexus/host/fd.hpp"
#include "nexus/host/file.hpp"
#include "support/temporary_directory.hpp"

#include <fcntl.h>

using namespace nexus;

namespace {

using test::TemporaryDirectory;

std::string temporary_file(const TemporaryDirectory& directory, std::string_view content) {
  const std::string path = directory.path() + "/file";
  REQUIRE(host::write_file_atomically(path, content, 0600).has_value());
  return path;
}

}  // namespace

TEST_CASE("a file comes back byte for byte, larger than the first buffer too") {
  const TemporaryDirectory directory;
  host::FileBuffer buffer;
  for (const std::size_t size : {0UL, 1UL, 16'383UL, 16'384UL, 16'385UL, 1'000'003UL}) {
    std::string content(size, 'x');
    for (std::size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i * 7 % 251);
    const std::string path = temporary_file(directory, content);
    INFO(size);
    CHECK(buffer.read(path).value() == content);
    CHECK(host::read_file(path).value() == content);
  }
}

TEST_CASE(
    "a file of exactly the limit is read, a larger one is an error and no truncated success") {
  const TemporaryDirectory directory;
  host::FileBuffer buffer;
  CHECK(buffer.read(temporary_file(directory, std::string(host::kMaxFile, 'a')))->size() ==
        host::kMaxFile);
  const auto over = buffer.read(temporary_file(directory, std::string(host::kMaxFile + 1, 'a')));
  REQUIRE_FALSE(over.has_value());
  CHECK(over.error().code() == Errc::kExhausted);
  CHECK(over.error().message().find("/file") != std::string::npos);
}

TEST_CASE("errors name the file and keep their code") {
  host::FileBuffer buffer;
  const auto missing = buffer.read("/nonexistent/file");
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().code() == Errc::kNotFound);
  CHECK(missing.error().message().find("/nonexistent/file") != std::string::npos);
  CHECK_FALSE(buffer.read("/").has_value());  // a directory opens and does not read
  CHECK(host::list_directory("/nonexistent").error().code() == Errc::kNotFound);
}

TEST_CASE("a file is read relative to an open directory") {
  const TemporaryDirectory directory;
  temporary_file(directory, "content");
  const host::Fd fd(::open(directory.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(fd);
  host::FileBuffer buffer;
  CHECK(buffer.read_at(fd.get(), "file").value() == "content");
  CHECK(buffer.read_at(fd.get(), "absent").error().code() == Errc::kNotFound);
}

TEST_CASE("the kernel's own files are read to their end") {
  CHECK(host::read_file("/proc/self/stat").value().ends_with('\n'));
  CHECK(host::read_file("/proc/stat").value().starts_with("cpu "));
}

TEST_CASE("a directory is listed sorted and without itself") {
  const TemporaryDirectory directory;
  for (const char* name : {"b", "a", ".hidden", "c"}) {
    REQUIRE(host::write_file_atomically(directory.path() + "/" + name, "", 0600).has_value());
  }
  CHECK(host::list_directory(directory.path()).value() ==
        std::vector<std::string>{".hidden", "a", "b", "c"});
}

TEST_CASE("an atomic write replaces the whole file, sets the mode and leaves nothing behind") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/state";
  REQUIRE(host::write_file_atomically(path, "a long first content", 0600).has_value());
  REQUIRE(host::write_file_atomically(path, "short", 0640).has_value());
  CHECK(host::read_file(path).value() == "short");
  struct stat status{};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777U) == 0640U);
  CHECK(host::list_directory(directory.path())->size() == 1);
}

TEST_CASE("a write that fails leaves the target and the directory as they were") {
  const TemporaryDirectory directory;
  CHECK(host::write_file_atomically(directory.path() + "/absent/file", "x", 0600).error().code() ==
        Errc::kNotFound);
  REQUIRE(::mkdir((directory.path() + "/target").c_str(), 0700) == 0);
  const Status over_directory =
      host::write_file_atomically(directory.path() + "/target", "x", 0600);
  REQUIRE_FALSE(over_directory.has_value());
  CHECK(over_directory.error().message().find("/target") != std::string::npos);
  CHECK(host::list_directory(directory.path()).value() == std::vector<std::string>{"target"});
}
