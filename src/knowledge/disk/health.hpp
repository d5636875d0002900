// Health: what went wrong with the files of the history, counted by all who touch them.
//
// Thread safety: atomics, any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace nexus::knowledge::disk {

struct Health {
  std::atomic<bool> writable{true};
  std::atomic<std::uint64_t> errors{0};           // of writing
  std::atomic<std::uint64_t> damaged_records{0};  // that cannot be read, or were mended
  std::atomic<std::uint64_t> unusable_files{0};   // whole: another key, a later format
  std::atomic<std::uint64_t> torn_files{0};       // whose last record was not written to its end
};

}  // namespace nexus::knowledge::disk
