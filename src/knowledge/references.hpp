// References: which earlier column of a block predicts a column by its steps. Host metrics come in
// families that say the same twice: bytes free and bytes available, bytes read and pages read,
// heap in use and heap idle.
//
// A column that is predicted predicts none itself, so reading one column decodes two at most.
// Thread safety: none.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "knowledge/integers.hpp"

namespace nexus::knowledge {

struct Reference {
  std::uint32_t column = 0;
  StepRule rule;
};

class References {
 public:
  void clear() noexcept { bases_.clear(); }

  /// The column that predicts this one best, if any is worth trying.
  [[nodiscard]] std::optional<Reference> find(std::span<const std::int64_t> integers) const;
  /// The integers of a column that find() returned.
  [[nodiscard]] std::span<const std::int64_t> integers(std::uint32_t column) const;
  /// From now on that column may predict others. Ascending by column.
  void keep(std::uint32_t column, std::span<const std::int64_t> integers);

 private:
  struct Base {
    std::uint32_t column = 0;
    unsigned shift = 0;
    std::vector<std::int64_t> integers;
    std::vector<std::int64_t> few_steps;  // in units of 2^shift, of every kEvery-th row
  };
  static std::vector<std::int64_t> few_steps_of(std::span<const std::int64_t> integers,
                                                unsigned shift);

  std::vector<Base> bases_;
};

}  // namespace nexus::knowledge
