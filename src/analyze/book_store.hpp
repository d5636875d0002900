// BookStore: the findings' table in the state database.
//
// One row a finding, labels and annotations as JSON objects; a row that cannot be read is skipped
// and counted, never fatal. `alive` is when the book last wrote, to the minute: how long the agent
// was away is measured from it.
//
// Thread safety: as StateDb.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nexus/analyze/finding.hpp"
#include "nexus/knowledge/state.hpp"

namespace nexus::analyze {

struct StoredFinding {
  Finding finding;  // without `received`: a steady time means nothing after a restart
  std::string source;
  Millis pending{0};
  Millis keep_firing_for{0};
};

class BookStore {
 public:
  struct Loaded {
    std::vector<StoredFinding> findings;
    std::optional<WallTime> alive;
    std::size_t damaged = 0;
  };

  [[nodiscard]] static Result<BookStore> open(knowledge::StateDb& db);
  [[nodiscard]] Result<Loaded> load();
  /// One transaction.
  [[nodiscard]] Status write(std::span<const StoredFinding> changed,
                             std::span<const std::string> forgotten, WallTime alive);

 private:
  explicit BookStore(knowledge::StateDb& db) : db_(&db) {}
  knowledge::StateDb* db_;
};

}  // namespace nexus::analyze
