// Section: reads one table of a configuration key by key, typed, and reports every mistake in it.
//
// A reader leaves its output alone when the key is absent or wrong (and reports the latter), so
// defaults stand and later sources override earlier ones. It returns the node when the value was
// taken. finish() reports the keys that no reader asked for, with the nearest known one. Units:
// durations are strings or numbers of seconds, sizes are strings or numbers of bytes. Thread
// safety: none; one load, one thread.
#pragma once

#include <array>
#include <concepts>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/node.hpp"
#include "config/report.hpp"

namespace nexus::config {

/// From `low` to `high`, ends included unless open.
struct Interval {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;
  bool high_open = false;
};

inline constexpr Millis kLongest = 10 * 365 * 24h;
struct Period {
  Millis shortest = 0ms;
  Millis longest = kLongest;
};

/// What a string must look like: `accepts` says whether it does, `expected` what to write instead.
struct Shape {
  bool (*accepts)(std::string_view);
  std::string_view expected;
};
extern const Shape kNonEmpty;
extern const Shape kAnyText;

enum class Disclosure { kValues, kTypesOnly };  // whether messages may show what was written

class Section {
 public:
  /// `path` is the dotted name, empty for the root. `damaged`: absent keys are not reported.
  Section(Report& report, const Table& table, Where where, std::string path, bool damaged,
          Disclosure disclosure = Disclosure::kValues)
      : report_(report),
        table_(table),
        where_(std::move(where)),
        path_(std::move(path)),
        damaged_(damaged),
        disclosure_(disclosure) {}

  const Node* boolean(std::string_view key, bool& out);
  const Node* number(std::string_view key, double& out, Interval allowed = {});
  const Node* duration(std::string_view key, Millis& out, Period allowed = {});
  const Node* bytes(std::string_view key, std::uint64_t& out, std::uint64_t least);
  const Node* text(std::string_view key, std::string& out, const Shape& shape = kNonEmpty);
  const Node* texts(std::string_view key, std::vector<std::string>& out,
                    const Shape& shape = kNonEmpty);
  const Node* expression(std::string_view key, Expression& out);
  const Node* parameters(std::string_view key, Parameters& out, Places& places);

  template <std::integral T>
  const Node* integer(std::string_view key, T& out, std::int64_t least, std::int64_t most) {
    const auto value = integer_in(key, least, most);
    if (!value) return nullptr;
    out = static_cast<T>(value->second);
    return value->first;
  }

  /// One of the names that to_string gives `all`.
  template <typename E>
  const Node* choice(std::string_view key, E& out, std::initializer_list<E> all) {
    std::vector<std::string_view> names;
    for (const E each : all) names.push_back(to_string(each));
    const auto picked = pick(key, names);
    if (!picked) return nullptr;
    out = all.begin()[picked->second];
    return picked->first;
  }
  const Node* choice(std::string_view key, std::string& out,
                     std::initializer_list<std::string_view> all);

  /// Any of the readers above into an optional: `section.optional(&Section::duration, "timeout",
  /// out, Period{1s})`.
  template <typename Reader, typename T, typename... Args>
  const Node* optional(Reader reader, std::string_view key, std::optional<T>& out, Args&&... args) {
    T value{};
    const Node* node = (this->*reader)(key, value, std::forward<Args>(args)...);
    if (node != nullptr) out = std::move(value);
    return node;
  }

  /// [key] and [[key]]: `read` is called with each table, and unknown keys in it are reported after
  /// it.
  void table(std::string_view key, const std::function<void(Section&)>& read,
             Disclosure disclosure = Disclosure::kValues);
  void tables(std::string_view key, const std::function<void(Section&)>& read,
              Disclosure disclosure = Disclosure::kValues);
  /// Every key that nobody asked for and that is a table is read by `read`, as in [collect.NAME].
  void remaining_tables(const std::function<void(std::string_view name, Section&)>& read);

  /// The value as it is; nullptr when absent. The key counts as known from now on.
  const Node* take(std::string_view key);
  [[nodiscard]] bool has(std::string_view key) const { return find(table_, key) != nullptr; }
  /// Reports the key when it is absent.
  bool require(std::string_view key, std::string_view expected);
  /// Every key that nobody asked for, as options of a plugin.
  void remaining_parameters(Parameters& out, Places& places);

  /// "expected ..., got ..." at the node.
  void expect(std::string_view key, const Node& node, std::string_view expected);
  /// `message` about `key`, at the place of the key's value, or of the table when it is absent.
  void complain(std::string_view key, std::string_view message);
  /// The place of the first of `keys` that is there; of the table when none is.
  [[nodiscard]] Where place_of(std::initializer_list<std::string_view> keys) const;
  [[nodiscard]] const Where& where() const noexcept { return where_; }
  [[nodiscard]] const Table& entries() const noexcept { return table_; }
  [[nodiscard]] Report& report() noexcept { return report_; }
  [[nodiscard]] std::string name_of(std::string_view key) const;
  [[nodiscard]] Section inner(std::string_view key, const Table& table, const Where& where) const;

  void finish();

 private:
  std::optional<std::pair<const Node*, std::int64_t>> integer_in(std::string_view key,
                                                                 std::int64_t least,
                                                                 std::int64_t most);
  std::optional<std::pair<const Node*, std::size_t>> pick(std::string_view key,
                                                          std::span<const std::string_view> names);
  bool parameter(const Entry& entry, Parameters& out, Places& places);
  [[nodiscard]] bool is_known(std::string_view key) const;
  [[nodiscard]] std::string got(const Node& node) const;
  void misplaced(std::string_view key, const Node& node, std::string_view expected,
                 Disclosure disclosure);

  Report& report_;
  const Table& table_;
  Where where_;
  std::string path_;
  bool damaged_;
  Disclosure disclosure_;
  std::vector<std::string> known_;
};

/// The candidate that a typing mistake turned into `word`; empty when none is near.
[[nodiscard]] std::string_view nearest(std::string_view word,
                                       std::span<const std::string> candidates);

}  // namespace nexus::config
