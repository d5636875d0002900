// ReceiverMemory: what one receiver keeps in the database of notifications, at most kMost entries
// for at most kKept. A write that fails is logged and counts until the end of the process. Thread
// safety: as Memory; two of one receiver (a reload) see each other's past, not their present.
#pragma once

#include <map>
#include <string>

#include "nexus/knowledge/state.hpp"
#include "nexus/publish/receiver.hpp"

namespace nexus::publish {

class ReceiverMemory final : public Memory {
 public:
  static constexpr std::size_t kMost = 1000;
  static constexpr Millis kKept{30LL * 24 * 3'600'000};

  /// PublishStore made the table.
  ReceiverMemory(Clock& clock, knowledge::StateDb& db, std::string receiver);

  [[nodiscard]] std::optional<std::string> recall(const std::string& key) const override;
  void note(const std::string& key, const std::string& value) override;
  void forget(const std::string& key) override;

 private:
  struct Kept {
    std::string value;
    std::int64_t time = 0;  // Unix milliseconds
  };

  Clock& clock_;
  knowledge::StateDb& db_;
  const std::string receiver_;
  std::map<std::string, Kept> kept_;
};

}  // namespace nexus::publish
