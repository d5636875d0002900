// The functions of templates: Go's built-in ones and Prometheus's.
//
// A new one is a line in functions.cpp's table. Thread safety: pure functions.
#pragma once

#include <span>
#include <string_view>

#include "analyze/templates/value.hpp"

namespace nexus::analyze::templates {

struct Function {
  std::string_view name;
  int least;  // arguments
  int most;   // -1: any number
  Result<Value> (*body)(const TemplateData& data, std::span<const Value> arguments);
};

/// nullptr when there is none of that name.
[[nodiscard]] const Function* find_function(std::string_view name);

// humanize.cpp; a number, or a text that is one.
[[nodiscard]] Result<double> to_number(const Value& value);
[[nodiscard]] std::string humanize(double value);
[[nodiscard]] std::string humanize_1024(double value);
[[nodiscard]] std::string humanize_duration(double seconds);
[[nodiscard]] std::string humanize_percentage(double ratio);
[[nodiscard]] Result<std::string> humanize_timestamp(double seconds);
/// As Go prints a time: "2015-05-17 08:10:00.5 +0000 UTC".
[[nodiscard]] std::string show_time(WallTime time);

}  // namespace nexus::analyze::templates
