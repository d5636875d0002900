// What the tests of the disk share: files as bytes, a small disk.
#pragma once

#include <sched.h>
#include <sys/mount.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "nexus/base/log.hpp"
#include "nexus/base/result.hpp"
#include "support/temporary_directory.hpp"

namespace nexus::knowledge::disk {

/// For tests that damage files by the thousand.
struct Quiet {
  Quiet() { log::configure(log::Level::kError, log::Format::kText); }
  ~Quiet() { log::configure(log::Level::kInfo, log::Format::kText); }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
};

template <typename T>
T must(Result<T> result) {
  if (!result) FAIL(result.error().message());
  return std::move(*result);
}
inline void must(const Status& status) {
  if (!status) FAIL(status.error().message());
}

inline std::vector<std::uint8_t> read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
/// In place: to truncate a file and fill it anew makes ext4 wait for the medium.
inline void write_bytes(const std::string& path, const std::vector<std::uint8_t>& bytes) {
  const bool there = std::filesystem::exists(path);
  std::ofstream out(path, there ? std::ios::binary | std::ios::in : std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  out.close();
  std::filesystem::resize_file(path, bytes.size());
  std::filesystem::permissions(path, std::filesystem::perms(0600));
}

/// Runs `body` where `folder` is a file system of its own, of `bytes`; only the thread that runs
/// it sees that. Needs root, as the test machine does. Assertions belong behind it.
inline Status on_small_disk(const test::TemporaryDirectory& folder, std::size_t bytes,
                            const auto& body) {
  Status outcome;
  std::thread([&] {
    const std::string options = "size=" + std::to_string(bytes);
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, options.c_str()) != 0) {
      outcome = std::unexpected(Error::from_errno("mount a small disk"));
      return;
    }
    body();
  }).join();
  return outcome;
}
/// The small disk takes no more writes, or takes them again.
inline bool set_read_only(const test::TemporaryDirectory& folder, bool read_only) {
  const unsigned long flags =
      MS_REMOUNT | (read_only ? static_cast<unsigned long>(MS_RDONLY) : 0UL);
  return ::mount("none", folder.path().c_str(), nullptr, flags, nullptr) == 0;
}

}  // namespace nexus::knowledge::disk
