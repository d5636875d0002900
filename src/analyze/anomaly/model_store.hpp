// ModelStore: the detectors' states in the state database, one row a detector. Rows that were not
// written for a month are forgotten.
//
// Thread safety: as StateDb.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/knowledge/state.hpp"

namespace nexus::analyze {

class ModelStore {
 public:
  [[nodiscard]] static Result<ModelStore> open(knowledge::StateDb& db);
  /// Empty when there is none.
  [[nodiscard]] std::string load(const std::string& key);
  /// One transaction.
  [[nodiscard]] Status save(const std::vector<std::pair<std::string, std::string>>& models,
                            WallTime now);

 private:
  explicit ModelStore(knowledge::StateDb& db) : db_(&db) {}
  knowledge::StateDb* db_;
};

}  // namespace nexus::analyze
