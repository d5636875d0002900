// Signatures: what of a series' labels counts when series are grouped or matched, as bytes that can
// be compared. Thread safety: a Signature is immutable; a SignatureIndex belongs to one thread.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "knowledge/promql/ast.hpp"
#include "knowledge/promql/block.hpp"

namespace nexus::knowledge::promql {

enum class Name { kKept, kDropped };

/// The labels of a row, without the name where it is read so.
[[nodiscard]] Labels labels_of(const Row& row);
/// The value of one label; empty when there is none.
[[nodiscard]] std::string_view label_of(const Row& row, std::string_view name);

class Signature {
 public:
  /// Without a list only the name is dropped. When all but a list counts, `name` says whether
  /// __name__ does.
  Signature(const LabelSet& set, Name name);

  void append(std::string& out, const Row& row) const;
  /// The labels of `row` that count.
  [[nodiscard]] Labels labels(const Row& row) const;
  /// The row with the labels that count; they are made (by `keep`) only when they are not the row's
  /// own.
  template <typename Keep>
  [[nodiscard]] Row row(const Row& from, Keep&& keep) const {
    if (!listed_count_ && names_.empty()) return {from.labels, from.nameless || drop_name_};
    return {&keep(labels(from)), false};
  }

 private:
  bool listed_count_;
  bool drop_name_;
  std::vector<std::string> names_;  // sorted, once each
};

/// Numbers signatures in order of appearance.
class SignatureIndex {
 public:
  explicit SignatureIndex(const Signature& signature) : signature_(signature) {}
  /// The number of this row's signature; a new one when it is new.
  std::uint32_t add(const Row& row);
  [[nodiscard]] std::size_t size() const noexcept { return numbers_.size(); }

 private:
  const Signature& signature_;
  std::string key_;
  std::unordered_map<std::string, std::uint32_t> numbers_;
};

}  // namespace nexus::knowledge::promql
