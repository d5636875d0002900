// JournalReader: messages of the systemd journal, in order, from a cursor on (sd-journal).
//
// Errors: kUnavailable (no journal, no permission). Thread safety: one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/result.hpp"

namespace nexus::drivers {

enum class JournalFrom { kEnd, kBegin };

class JournalReader {
 public:
  /// From behind `cursor`; where that is empty, or of an entry that is gone, from its neighbour or
  /// as `from` says. `units`: of these only; empty: all. `directory`: empty is the machine's own.
  [[nodiscard]] static Result<std::unique_ptr<JournalReader>> open(
      const std::vector<std::string>& units, const std::string& cursor, JournalFrom from,
      const std::string& directory = {});
  /// Stands so that the last `count` messages of the unit are what is read next.
  [[nodiscard]] static Result<std::unique_ptr<JournalReader>> last(
      const std::string& unit, std::size_t count, const std::string& directory = {});
  ~JournalReader();

  /// Gives at most `limit` messages, of which at most `longest` bytes each; how many there were.
  [[nodiscard]] Result<std::size_t> read(std::size_t limit, std::size_t longest,
                                         const std::function<void(std::string_view message)>& take);
  /// Of the last message that was given, or of the last one that was there before; empty when there
  /// was none yet.
  [[nodiscard]] const std::string& cursor() const noexcept;

 private:
  struct Impl;
  explicit JournalReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::drivers
