// The two ways from labels to series: HashIndex for one series by all its labels, LabelIndex for
// many by some.
//
// Thread safety: none of their own; the registry's lock guards both.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nexus/knowledge/series.hpp"

namespace nexus::knowledge {

/// Open addressing with linear probing; slots hold id + 1.
class HashIndex {
 public:
  /// The first id whose hash fits and for which `equal` holds.
  template <typename HashOf, typename Equal>
  [[nodiscard]] std::optional<SeriesId> find(std::uint64_t hash, const HashOf& hash_of,
                                             const Equal& equal) const {
    for (std::size_t i = hash & mask();; i = (i + 1) & mask()) {
      const std::uint32_t slot = slots_[i];
      if (slot == 0) return std::nullopt;
      if (hash_of(slot - 1) == hash && equal(slot - 1)) return slot - 1;
    }
  }

  template <typename HashOf>
  void add(SeriesId id, const HashOf& hash_of) {
    if ((used_ + 1) * 2 > slots_.size()) {
      std::vector<std::uint32_t> old = std::exchange(slots_, {});
      slots_.resize(old.size() * 2);
      for (const std::uint32_t slot : old) {
        if (slot != 0) put(slot - 1, hash_of(slot - 1));
      }
    }
    put(id, hash_of(id));
    ++used_;
  }

  /// Of an id that is there. What stands behind it moves up, so no look-up ends too early.
  template <typename HashOf>
  void remove(SeriesId id, const HashOf& hash_of) {
    std::size_t hole = hash_of(id) & mask();
    while (slots_[hole] != id + 1) hole = (hole + 1) & mask();
    for (std::size_t i = (hole + 1) & mask(); slots_[i] != 0; i = (i + 1) & mask()) {
      const std::size_t home = hash_of(slots_[i] - 1) & mask();
      if (((i - home) & mask()) < ((i - hole) & mask())) continue;
      slots_[hole] = slots_[i];
      hole = i;
    }
    slots_[hole] = 0;
    --used_;
  }

 private:
  [[nodiscard]] std::size_t mask() const noexcept { return slots_.size() - 1; }
  void put(SeriesId id, std::uint64_t hash) {
    std::size_t i = hash & mask();
    while (slots_[i] != 0) i = (i + 1) & mask();
    slots_[i] = id + 1;
  }

  std::vector<std::uint32_t> slots_ = std::vector<std::uint32_t>(1024);
  std::size_t used_ = 0;
};

/// Which series have a label, and which have it with a certain value. Ids ascend.
class LabelIndex {
 public:
  void add(SeriesId id, const Labels& labels);
  /// Several series at once: every list that they are in is gone through once. `is_leaving` tells
  /// them from the others.
  void remove(std::span<const Labels* const> leaving,
              const std::function<bool(SeriesId)>& is_leaving);
  /// The shortest list that holds every series satisfying all matchers; nullptr when only "all
  /// series" does.
  [[nodiscard]] const std::vector<SeriesId>* shortest(std::span<const Matcher> matchers) const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>()(text);
    }
  };
  template <typename T>
  using ByText = std::unordered_map<std::string, T, Hash, std::equal_to<>>;
  struct Postings {
    std::vector<SeriesId> all;
    ByText<std::vector<SeriesId>> by_value;
  };

  ByText<Postings> names_;
  const std::vector<SeriesId> none_;
};

}  // namespace nexus::knowledge
