// Files that are kept open: what comes back is what is there now.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <set>

#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"
#include "nexus/host/kept_files.hpp"
#include "support/server.hpp"
#include "support/temporary_directory.hpp"

using namespace nexus;

namespace {

std::size_t open_descriptors() {
  return host::list_directory("/proc/self/fd").value().size();
}

}  // namespace

TEST_CASE("a kept file: one of the kernel's is opened once and read anew every time") {
  host::KeptFile file;
  std::vector<char> bytes;
  const std::string path = "/proc/self/stat";
  REQUIRE(file.read(path, bytes));
  CHECK(file.is_open());
  const int descriptor = file.fd();
  const std::size_t before = open_descriptors();
  // Its own descriptors are among what the kernel counts: an open file makes another content.
  const std::string first(file.read("/proc/self/stat", bytes).value());
  for (int i = 0; i < 1000; ++i) REQUIRE(file.read(path, bytes));
  CHECK(file.fd() == descriptor);
  CHECK(open_descriptors() == before);
  CHECK(first.starts_with(std::to_string(::getpid()) + " ("));
}

TEST_CASE("a kept file: what changes is seen, and longer than the first buffer") {
  host::KeptFile file;
  std::vector<char> bytes;
  const auto descriptors_in_limits = [&] {
    return std::string(file.read("/proc/self/smaps", bytes).value());
  };
  const std::string whole = descriptors_in_limits();
  CHECK(whole.size() > 4096);
  CHECK(whole.ends_with('\n'));
  CHECK(whole.starts_with(whole.substr(0, 12)));
  // A mapping more is a part more.
  const std::vector<char> large(16U << 20, 'x');
  CHECK(large.back() == 'x');
  CHECK(descriptors_in_limits().size() > 4096);
}

TEST_CASE("a kept file: one on a disk is opened every time, for it may be another one") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.path() + "/file";
  host::KeptFiles files;
  CHECK(files.read(path).error().code() == Errc::kNotFound);
  for (const std::string content : {"one", "", "three and more"}) {
    REQUIRE(host::write_file_atomically(path, content, 0600));
    CHECK(files.read(path).value() == content);
  }
  std::filesystem::remove(path);
  CHECK(files.read(path).error().code() == Errc::kNotFound);
}

TEST_CASE("kept files: many files in any order, and never more descriptors than the limit") {
  host::KeptFiles files;
  const auto names = host::list_directory("/proc/sys/kernel").value();
  std::vector<std::string> paths;
  for (const std::string& name : names) {
    const std::string path = "/proc/sys/kernel/" + name;
    if (std::filesystem::is_regular_file(path) && host::read_file(path)) paths.push_back(path);
  }
  REQUIRE(paths.size() > 2 * host::KeptFiles::kMost);
  const std::size_t before = open_descriptors();
  for (int round = 0; round < 3; ++round) {
    for (const std::string& path : paths) {
      const auto text = files.read(path);
      INFO(path);
      CHECK(text.has_value());
    }
    std::ranges::reverse(paths);
  }
  CHECK(open_descriptors() <= before + host::KeptFiles::kMost);
  CHECK(base::trim(files.read("/proc/sys/kernel/ostype").value()) == "Linux");
}

TEST_CASE("a kept file: one that cannot be read any more is opened again") {
  host::KeptFile file;
  std::vector<char> bytes;
  REQUIRE(file.read("/proc/self/stat", bytes));
  // Another file under the descriptor, one that refuses to be read.
  const int refusing = ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  REQUIRE(::dup3(refusing, file.fd(), O_CLOEXEC) == file.fd());
  ::close(refusing);
  CHECK(file.read("/proc/self/stat", bytes).value().starts_with(std::to_string(::getpid())));
  CHECK(file.is_open());
}

TEST_CASE("a kept file: known records save the last read, and nothing of the file") {
  host::KeptFiles files;
  const auto lines = [](std::string_view text) { return std::ranges::count(text, '\n'); };
  for (const std::string path : {"/proc/net/netstat", "/proc/net/snmp", "/proc/net/snmp6",
                                 "/proc/stat", "/proc/meminfo", "/proc/net/sockstat"}) {
    INFO(path);
    const auto whole = lines(host::read_file(path).value());
    for (int i = 0; i < 3; ++i)
      CHECK(lines(files.read(path, host::Record::kWholeFile).value()) == whole);
  }
  // A list that grows over the kernel's buffer of a page, and shrinks again.
  const auto ports = [&] {
    const auto text = files.read("/proc/self/net/udp", host::Record::kShort).value();
    CHECK(text.ends_with('\n'));
    std::set<std::string> out;
    for (auto rest = text; !rest.empty();) {
      auto line = base::take_until(rest, '\n');
      (void)base::take_word(line);
      out.insert(std::string(base::take_word(line)));
    }
    return out;
  };
  CHECK(ports().contains("local_address"));
  std::vector<host::Fd> sockets;
  std::vector<std::string> bound;
  // The list is no snapshot: when another process closes a socket between two pages, one is left
  // out of that reading.
  const auto all_there = [&] {
    const auto seen = ports();
    return std::ranges::all_of(bound, [&](const auto& one) { return seen.contains(one); });
  };
  for (int i = 0; i < 200; ++i) {
    auto& socket = sockets.emplace_back(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);
    REQUIRE(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    bound.push_back(fmt::format("0100007F:{:04X}", ntohs(address.sin_port)));
    if (i % 20 == 0) CHECK(test::eventually(all_there));
  }
  CHECK(test::eventually(all_there));
}
