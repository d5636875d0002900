// The words that configuration sections are made of: places, expressions, secrets, parameters,
// roles, severities.
//
// Units: durations are std::chrono, sizes are bytes. Thread safety: plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "nexus/base/clock.hpp"

namespace nexus::config {

using namespace std::chrono_literals;

struct Config;  // all sections: config.hpp

/// Where something was written. Line and column count from 1; 0 when it came from a default, a flag
/// or the environment.
struct Where {
  std::string file;
  int line = 0;
  int column = 0;
  bool operator==(const Where&) const = default;
};
/// "agent.toml:12:7", or just the source when there is no line.
[[nodiscard]] std::string to_string(const Where& where);

/// Something wrong with the configuration.
struct Problem {
  Where where;
  std::string message;  // names the key and says what was expected
};
[[nodiscard]] std::string to_string(const Problem& problem);

/// A PromQL expression as written.
struct Expression {
  std::string text;
  Where where;
  bool operator==(const Expression& other) const { return text == other.text; }
};

/// A secret: there is no way to print it but reveal().
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  [[nodiscard]] const std::string& reveal() const noexcept { return value_; }
  [[nodiscard]] bool empty() const noexcept { return value_.empty(); }
  bool operator==(const Secret&) const = default;

 private:
  std::string value_;
};

using ParameterValue =
    std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>>;
using Parameters = std::map<std::string, ParameterValue, std::less<>>;
using StringMap = std::map<std::string, std::string, std::less<>>;
using Places =
    std::map<std::string, Where, std::less<>>;  // of keys, for complaints; never compared

enum class Role { kNone, kViewer, kOperator, kAdministrator };
enum class Severity { kInfo, kWarning, kCritical };
enum class Mode { kObserve, kPropose, kAct };
enum class Direction { kAbove, kBelow };                       // which side of a threshold is bad
[[nodiscard]] std::string_view to_string(Role role) noexcept;  // none viewer operator administrator
[[nodiscard]] std::string_view to_string(Severity severity) noexcept;    // info warning critical
[[nodiscard]] std::string_view to_string(Mode mode) noexcept;            // observe propose act
[[nodiscard]] std::string_view to_string(Direction direction) noexcept;  // above below

}  // namespace nexus::config
