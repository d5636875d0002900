// The bodies of Prometheus's functions, and how all bodies read their arguments.
//
// Thread safety: pure functions.
#pragma once

#include "analyze/templates/functions.hpp"

namespace nexus::analyze::templates {

using Span = std::span<const Value>;
using Data = TemplateData;

[[nodiscard]] std::unexpected<Error> wrong_type(std::string_view expected, const Value& got);
[[nodiscard]] Result<std::string> text_of(const Value& value);
[[nodiscard]] inline Value text(std::string value) {
  return {std::move(value)};
}

// text_functions.cpp
Result<Value> to_upper(const Data&, Span a);
Result<Value> to_lower(const Data&, Span a);
Result<Value> title(const Data&, Span a);
Result<Value> match(const Data&, Span a);
Result<Value> replace_all(const Data&, Span a);
Result<Value> same_text(const Data&, Span a);
Result<Value> strip_port(const Data&, Span a);
Result<Value> strip_domain(const Data&, Span a);
Result<Value> url_query(const Data&, Span a);
Result<Value> html(const Data&, Span a);
Result<Value> js(const Data&, Span a);
Result<Value> graph_link(const Data&, Span a);
Result<Value> table_link(const Data&, Span a);

// query_functions.cpp
Result<Value> query(const Data& data, Span a);
Result<Value> first(const Data& data, Span a);
Result<Value> label(const Data& data, Span a);
Result<Value> value(const Data& data, Span a);
Result<Value> string_value(const Data& data, Span a);
Result<Value> sort_by_label(const Data& data, Span a);
Result<Value> arguments(const Data& data, Span a);

// number_functions.cpp
Result<Value> timestamp(const Data& data, Span a);
Result<Value> to_time(const Data& data, Span a);
Result<Value> to_duration(const Data& data, Span a);
Result<Value> parse_duration(const Data& data, Span a);
Result<Value> now(const Data& data, Span a);
Result<Value> external_url(const Data& data, Span a);
Result<Value> path_prefix(const Data& data, Span a);
template <std::string (*Body)(double)>
Result<Value> on_number(const Data&, Span a) {
  const auto number = to_number(a[0]);
  if (!number) return std::unexpected(number.error());
  return text(Body(*number));
}

}  // namespace nexus::analyze::templates
