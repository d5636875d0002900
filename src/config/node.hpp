// One value of a configuration text with the place it was written, independent of the TOML library.
//
// Environment variables and flags are turned into the same trees, so that one set of section
// readers serves all sources. Tables keep the order of the file. Thread safety: plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "nexus/config/config.hpp"

namespace nexus::config {

struct Entry;
struct Node;
using Table = std::vector<Entry>;  // in file order, keys are unique
using Array = std::vector<Node>;
struct Moment {};  // TOML's dates and times: no key takes one

struct Node {
  Where where;
  std::variant<bool, std::int64_t, double, std::string, Moment, Array, Table> value;

  template <typename T>
  [[nodiscard]] const T* as() const noexcept {
    return std::get_if<T>(&value);
  }
};

struct Entry {
  std::string key;
  Where where;  // of the key; value.where is that of the value
  Node value;
};

[[nodiscard]] const Entry* find(const Table& table, std::string_view key) noexcept;

/// The entry of that name, added as an empty table when there is none.
[[nodiscard]] Entry& find_or_add(Table& table, std::string_view key, const Where& where);

/// For messages: `the boolean true`, `the string "abc"`, `an array`. Long and unprintable text is
/// shortened.
[[nodiscard]] std::string describe(const Node& node);

/// Only the type, for places where the value may be a secret: `a string`.
[[nodiscard]] std::string_view describe_type(const Node& node) noexcept;

/// Text from a file, safe to show in one line: at most 60 characters, control characters and broken
/// UTF-8 replaced.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace nexus::config
