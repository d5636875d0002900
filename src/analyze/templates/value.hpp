// The values of templates, as Go's text/template has them for Prometheus. Thread safety: plain
// values.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "analyze/templates/template.hpp"

namespace nexus::analyze::templates {

struct QueriedSample {
  StringMap labels;
  double value = 0;
};
using SamplePtr = std::shared_ptr<const QueriedSample>;
using Samples = std::vector<SamplePtr>;

struct Value;
using Arguments = std::map<std::string, Value>;  // of `args`

/// The dot at the start: .Labels, .ExternalLabels, .ExternalURL, .Value
struct Root {
  const TemplateData* data = nullptr;
};
struct Nothing {};

struct Value {
  std::variant<Nothing, bool, std::int64_t, double, std::string, StringMap, SamplePtr, Samples,
               std::shared_ptr<const Arguments>, Root, WallTime>
      held;

  template <typename T>
  [[nodiscard]] const T* as() const {
    return std::get_if<T>(&held);
  }
};

/// Go's name of its type, for messages.
[[nodiscard]] std::string_view type_name(const Value& value);
/// Whether it is not the empty value of its type.
[[nodiscard]] bool truth(const Value& value);
/// As Go prints it (%v).
[[nodiscard]] std::string show(const Value& value);
/// About how many bytes show() makes of what a function puts together: texts, and `args` with all
/// that is in them. Ends once it is more than `enough`, which deep nesting is too: what holds the
/// same twice, again and again, costs no more to ask.
[[nodiscard]] std::size_t weight(const Value& value, std::size_t enough);
/// Go's fmt.Sprintf.
[[nodiscard]] std::string format(std::string_view format, std::span<const Value> arguments);

}  // namespace nexus::analyze::templates
