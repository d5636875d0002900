// Which symbolic links are followed to a textfile or a log, and which lead nowhere.
#include "monitor/foreign_file.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "support/server.hpp"

using namespace nexus;
using namespace nexus::monitor;

namespace {

constexpr uid_t kAnn = 65'533;
constexpr uid_t kBob = 65'534;

/// Files and links of several users; needs root, as all that tells users apart does.
struct Tree {
  std::string write(const std::string& name, uid_t owner = 0) const {
    const std::string path = directory.file(name);
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path) << name;
    REQUIRE(::chown(path.c_str(), owner, owner) == 0);
    return path;
  }
  std::string link(const std::string& target, const std::string& name, uid_t owner = 0) const {
    const std::string path = directory.file(name);
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::filesystem::remove(path);
    REQUIRE(::symlink(target.c_str(), path.c_str()) == 0);
    REQUIRE(::lchown(path.c_str(), owner, owner) == 0);
    return path;
  }
  /// What is read there, or the code of the error and its text.
  std::string read(const std::string& path) const {
    struct stat info{};
    const auto file = open_foreign(path, info);
    if (!file) return fmt::format("{}: {}", to_string(file.error().code()), file.error().message());
    std::string text(static_cast<std::size_t>(info.st_size), '\0');
    REQUIRE(::read(file->get(), text.data(), text.size()) == info.st_size);
    return text;
  }
  std::string at(const std::string& name) const { return read(directory.file(name)); }

  test::TemporaryDirectory directory;
};

using Catch::Matchers::Contains;

}  // namespace

TEST_CASE("foreign file: links of root lead anywhere, through directories and on to other links") {
  const Tree tree;
  tree.write("logs/app.log", kAnn);
  tree.link("logs", "current");
  tree.link("current/app.log", "relative");
  tree.link(tree.directory.file("relative"), "absolute");
  tree.link("../current/../logs/./app.log", "more/around");
  CHECK(tree.at("logs/app.log") == "logs/app.log");
  CHECK(tree.at("current//app.log") == "logs/app.log");
  CHECK(tree.at("relative") == "logs/app.log");
  CHECK(tree.at("absolute") == "logs/app.log");
  CHECK(tree.at("more/around") == "logs/app.log");
  // Another root directory, as that of a container, has the same text.
  CHECK(tree.read("/proc/self/root" + tree.directory.file("absolute")) == "logs/app.log");
}

TEST_CASE("foreign file: somebody's link leads to his own files only, at whatever place it is") {
  const Tree tree;
  tree.write("secret");
  tree.write("bob/own", kBob);
  tree.write("ann/own", kAnn);
  tree.link("../bob/own", "links/bobs", kBob);
  CHECK(tree.at("links/bobs") == "bob/own");
  tree.link("../secret", "links/trap", kBob);
  CHECK_THAT(tree.at("links/trap"),
             Contains("trap: a symbolic link of user 65534 to a file of user 0 is not followed"));
  tree.link("../ann/own", "links/other", kBob);
  CHECK_THAT(tree.at("links/other"), Contains("permission_denied"));
  SECTION("the target of root's link was replaced by its owner") {
    tree.link("bob/own", "roots");
    CHECK(tree.at("roots") == "bob/own");
    tree.link("../secret", "bob/own", kBob);
    CHECK_THAT(tree.at("roots"), Contains("roots: a symbolic link of user 65534"));
  }
  SECTION("a directory on the way was replaced by its owner") {
    tree.write("private/app.log");
    tree.write("home/app.log", kBob);
    tree.link("../home", "bob/log", kBob);
    CHECK(tree.at("bob/log/app.log") == "home/app.log");
    tree.link("../private", "bob/log", kBob);
    CHECK_THAT(tree.at("bob/log/app.log"), Contains("a symbolic link of user 65534"));
    tree.link("bob/log/app.log", "roots");
    CHECK_THAT(tree.at("roots"), Contains("a symbolic link of user 65534"));
  }
  SECTION("links of two of them") {
    tree.link("../links/anns", "links/bobs", kBob);
    tree.link("../ann/own", "links/anns", kAnn);
    CHECK_THAT(tree.at("links/bobs"),
               Contains("of user 65534 to a link of user 65533 is not followed"));
  }
}

TEST_CASE("foreign file: what is no file is told, and no link goes in circles") {
  const Tree tree;
  tree.write("file");
  tree.link("two", "one");
  tree.link("one", "two");
  CHECK_THAT(tree.at("one"), Contains("one: more than 40 symbolic links"));
  CHECK_THAT(tree.at("none"), Contains("not_found"));
  tree.link("none", "dangling");
  CHECK_THAT(tree.at("dangling"), Contains("not_found"));
  CHECK_THAT(tree.at("file/below"), Contains("Not a directory"));
  CHECK_THAT(tree.read(tree.directory.path()), Contains("expected a regular file"));
  CHECK_THAT(tree.read("/"), Contains("expected a regular file"));
  REQUIRE(::mkfifo(tree.directory.file("pipe").c_str(), 0600) == 0);
  CHECK_THAT(tree.at("pipe"), Contains("expected a regular file"));
  CHECK_THAT(tree.read(""), Contains("expected a regular file"));
}
