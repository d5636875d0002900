// Labels: what names a series. A sorted list of name=value pairs, the metric's name among them as
// __name__.
//
// Invariants: sorted by name, no name twice, no empty value (as in Prometheus an empty value is no
// label), valid UTF-8. Thread safety: plain values.
#pragma once

#include <compare>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/result.hpp"

namespace re2 {
class RE2;
}

namespace nexus::knowledge {

inline constexpr std::string_view kMetricName = "__name__";

struct LabelView {
  std::string_view name;
  std::string_view value;
};

struct Label {
  std::string name;
  std::string value;
  auto operator<=>(const Label&) const = default;
};

class Labels {
 public:
  Labels() = default;
  /// Sorts; drops empty values; of two equal names the last wins; invalid UTF-8 is replaced by
  /// U+FFFD.
  explicit Labels(std::vector<Label> labels);
  Labels(std::string_view metric, std::span<const LabelView> labels);
  Labels(std::string_view metric, std::initializer_list<LabelView> labels);

  [[nodiscard]] std::string_view get(std::string_view name) const noexcept;  // empty when absent
  [[nodiscard]] std::string_view metric() const noexcept { return get(kMetricName); }
  [[nodiscard]] bool empty() const noexcept { return labels_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return labels_.size(); }
  [[nodiscard]] auto begin() const noexcept { return labels_.begin(); }
  [[nodiscard]] auto end() const noexcept { return labels_.end(); }
  /// Seeded once a process: for hash tables, never to be stored.
  [[nodiscard]] std::uint64_t hash() const noexcept;

  /// A copy without / with only / with one more label.
  [[nodiscard]] Labels without(std::span<const std::string> names) const;
  [[nodiscard]] Labels only(std::span<const std::string> names) const;
  [[nodiscard]] Labels with(std::string_view name, std::string_view value) const;

  auto operator<=>(const Labels&) const = default;

 private:
  std::vector<Label> labels_;
};

/// `metric{a="b",c="d"}`, values escaped as PromQL wants them.
[[nodiscard]] std::string to_string(const Labels& labels);

enum class MatchOp { kEqual, kNotEqual, kRegex, kNotRegex };

/// One condition on a label, e.g. `mode!~"idle|iowait"`. Regular expressions are RE2, anchored at
/// both ends, and `.` matches newlines (Prometheus 3). An absent label has the empty value.
class Matcher {
 public:
  [[nodiscard]] static Result<Matcher> make(std::string name, MatchOp op, std::string value);

  [[nodiscard]] bool matches(std::string_view value) const;
  [[nodiscard]] bool matches(const Labels& labels) const { return matches(labels.get(name_)); }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] MatchOp op() const noexcept { return op_; }
  [[nodiscard]] const std::string& value() const noexcept { return value_; }
  bool operator==(const Matcher& o) const {
    return name_ == o.name_ && op_ == o.op_ && value_ == o.value_;
  }

 private:
  Matcher(std::string name, MatchOp op, std::string value)
      : name_(std::move(name)), op_(op), value_(std::move(value)) {}

  std::string name_;
  MatchOp op_;
  std::string value_;
  std::shared_ptr<const re2::RE2> regex_;
};
[[nodiscard]] std::string to_string(const Matcher& matcher);

}  // namespace nexus::knowledge
