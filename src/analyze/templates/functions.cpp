// The table of functions, and Go's built-in ones.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "analyze/templates/bodies.hpp"

namespace nexus::analyze::templates {
namespace {

Result<Value> logical_not(const Data&, Span a) {
  return Value{!truth(a[0])};
}

Result<Value> length(const Data&, Span a) {
  std::size_t size = 0;
  if (const auto* string = a[0].as<std::string>()) {
    size = string->size();
  } else if (const auto* map = a[0].as<StringMap>()) {
    size = map->size();
  } else if (const auto* samples = a[0].as<Samples>()) {
    size = samples->size();
  } else if (const auto* args = a[0].as<std::shared_ptr<const Arguments>>()) {
    size = (*args)->size();
  } else {
    return fail(Errc::kInvalidArgument, "len of type {}", type_name(a[0]));
  }
  return Value{static_cast<std::int64_t>(size)};
}

Result<Value> index(const Data&, Span a) {
  Value at = a[0];
  for (const auto& key : a.subspan(1)) {
    if (const auto* map = at.as<StringMap>()) {
      const auto name = text_of(key);
      if (!name) return std::unexpected(name.error());
      const auto found = map->find(*name);
      at = text(found == map->end() ? "" : found->second);
    } else if (const auto* samples = at.as<Samples>()) {
      const auto* number = key.as<std::int64_t>();
      if (number == nullptr) return wrong_type("int", key);
      if (*number < 0 || static_cast<std::size_t>(*number) >= samples->size())
        return fail(Errc::kInvalidArgument, "index out of range: {}", *number);
      at = Value{(*samples)[static_cast<std::size_t>(*number)]};
    } else if (const auto* args = at.as<std::shared_ptr<const Arguments>>()) {
      const auto name = text_of(key);
      if (!name) return std::unexpected(name.error());
      const auto found = (*args)->find(*name);
      at = found == (*args)->end() ? Value{} : Value(found->second);
    } else if (const auto* string = at.as<std::string>()) {
      const auto* number = key.as<std::int64_t>();
      if (number == nullptr) return wrong_type("int", key);
      if (*number < 0 || static_cast<std::size_t>(*number) >= string->size())
        return fail(Errc::kInvalidArgument, "index out of range: {}", *number);
      const auto byte = static_cast<unsigned char>((*string)[static_cast<std::size_t>(*number)]);
      at = Value{std::int64_t{byte}};
    } else {
      return fail(Errc::kInvalidArgument, "can't index item of type {}", type_name(at));
    }
  }
  return at;
}

/// Go's x[from:to] of a text or of what a query gave.
Result<Value> slice(const Data&, Span a) {
  const auto* string = a[0].as<std::string>();
  const auto* samples = a[0].as<Samples>();
  if (string == nullptr && samples == nullptr)
    return fail(Errc::kInvalidArgument, "can't slice item of type {}", type_name(a[0]));
  std::array<std::size_t, 2> ends = {0, string != nullptr ? string->size() : samples->size()};
  const std::size_t most = ends[1];
  for (std::size_t i = 1; i < a.size(); ++i) {
    const auto* number = a[i].as<std::int64_t>();
    if (number == nullptr) return wrong_type("int", a[i]);
    if (*number < 0 || static_cast<std::size_t>(*number) > most)
      return fail(Errc::kInvalidArgument, "index out of range: {}", *number);
    ends[i - 1] = static_cast<std::size_t>(*number);
  }
  const auto [from, to] = ends;
  if (from > to) return fail(Errc::kInvalidArgument, "invalid slice index: {} > {}", from, to);
  if (string != nullptr) return text(string->substr(from, to - from));
  const auto part = std::span(*samples).subspan(from, to - from);
  return Value{Samples(part.begin(), part.end())};
}

Result<Value> print(const Data&, Span a) {
  std::string out;
  for (std::size_t i = 0; i < a.size(); ++i) {
    // Sprint: a blank between two operands when neither is a text.
    if (i > 0 && a[i].as<std::string>() == nullptr && a[i - 1].as<std::string>() == nullptr)
      out += ' ';
    out += show(a[i]);
  }
  return text(std::move(out));
}

Result<Value> print_line(const Data&, Span a) {
  std::string out;
  for (std::size_t i = 0; i < a.size(); ++i) out += (i > 0 ? " " : "") + show(a[i]);
  return text(out + "\n");
}

Result<Value> print_format(const Data&, Span a) {
  const auto pattern = text_of(a[0]);
  if (!pattern) return std::unexpected(pattern.error());
  return text(format(*pattern, a.subspan(1)));
}

/// -1, 0, 1; nothing when one is NaN.
Result<std::optional<int>> compare(const Value& left, const Value& right) {
  if (left.held.index() != right.held.index())
    return fail(Errc::kInvalidArgument, "incompatible types for comparison");
  const auto order = [](const auto& l, const auto& r) -> std::optional<int> {
    if (l < r) return -1;
    if (r < l) return 1;
    return l == r ? std::optional(0) : std::nullopt;
  };
  if (const auto* l = left.as<double>()) return order(*l, *right.as<double>());
  if (const auto* l = left.as<std::int64_t>()) return order(*l, *right.as<std::int64_t>());
  if (const auto* l = left.as<std::string>()) return order(*l, *right.as<std::string>());
  if (const auto* l = left.as<bool>()) return order(*l, *right.as<bool>());
  return fail(Errc::kInvalidArgument, "invalid type for comparison");
}

Result<Value> equal(const Data&, Span a) {
  for (const auto& candidate : a.subspan(1)) {
    const auto order = compare(a[0], candidate);
    if (!order) return std::unexpected(order.error());
    if (*order == 0) return Value{true};
  }
  return Value{false};
}

template <bool (*Holds)(std::optional<int>)>
Result<Value> ordered(const Data&, Span a) {
  const auto order = compare(a[0], a[1]);
  if (!order) return std::unexpected(order.error());
  return Value{Holds(*order)};
}

bool is_different(std::optional<int> order) {
  return order != 0;
}
bool is_less(std::optional<int> order) {
  return order == -1;
}
bool is_at_most(std::optional<int> order) {
  return order && *order <= 0;
}
bool is_more(std::optional<int> order) {
  return order == 1;
}
bool is_at_least(std::optional<int> order) {
  return order && *order >= 0;
}

constexpr std::array kFunctions = {
    // Go
    Function{"html", 0, -1, html},
    Function{"index", 1, -1, index},
    Function{"js", 0, -1, js},
    Function{"len", 1, 1, length},
    Function{"not", 1, 1, logical_not},
    Function{"print", 0, -1, print},
    Function{"printf", 1, -1, print_format},
    Function{"println", 0, -1, print_line},
    Function{"slice", 1, 3, slice},
    Function{"urlquery", 0, -1, url_query},
    Function{"eq", 2, -1, equal},
    Function{"ne", 2, 2, ordered<is_different>},
    Function{"lt", 2, 2, ordered<is_less>},
    Function{"le", 2, 2, ordered<is_at_most>},
    Function{"gt", 2, 2, ordered<is_more>},
    Function{"ge", 2, 2, ordered<is_at_least>},
    Function{"and", 1, -1, nullptr},  // in execute.cpp: they stop at the first that decides
    Function{"or", 1, -1, nullptr},
    // Prometheus
    Function{"query", 1, 1, query},
    Function{"first", 1, 1, first},
    Function{"label", 2, 2, label},
    Function{"value", 1, 1, value},
    Function{"strvalue", 1, 1, string_value},
    Function{"sortByLabel", 2, 2, sort_by_label},
    Function{"args", 0, -1, arguments},
    Function{"reReplaceAll", 3, 3, replace_all},
    Function{"safeHtml", 1, 1, same_text},
    Function{"match", 2, 2, match},
    Function{"title", 1, 1, title},
    Function{"toUpper", 1, 1, to_upper},
    Function{"toLower", 1, 1, to_lower},
    Function{"graphLink", 1, 1, graph_link},
    Function{"tableLink", 1, 1, table_link},
    Function{"stripPort", 1, 1, strip_port},
    Function{"stripDomain", 1, 1, strip_domain},
    Function{"urlQueryEscape", 1, 1, url_query},
    Function{"humanize", 1, 1, on_number<humanize>},
    Function{"humanize1024", 1, 1, on_number<humanize_1024>},
    Function{"humanizeDuration", 1, 1, on_number<humanize_duration>},
    Function{"humanizePercentage", 1, 1, on_number<humanize_percentage>},
    Function{"humanizeTimestamp", 1, 1, timestamp},
    Function{"toTime", 1, 1, to_time},
    Function{"toDuration", 1, 1, to_duration},
    Function{"parseDuration", 1, 1, parse_duration},
    Function{"now", 0, 0, now},
    Function{"externalURL", 0, 0, external_url},
    Function{"pathPrefix", 0, 0, path_prefix},
};

}  // namespace

std::unexpected<Error> wrong_type(std::string_view expected, const Value& got) {
  return fail(Errc::kInvalidArgument, "wrong type for value; expected {}; got {}", expected,
              type_name(got));
}

Result<std::string> text_of(const Value& value) {
  if (const auto* text = value.as<std::string>()) return *text;
  return wrong_type("string", value);
}

const Function* find_function(std::string_view name) {
  const auto* const found = std::ranges::find(kFunctions, name, &Function::name);
  return found == kFunctions.end() ? nullptr : found;
}

}  // namespace nexus::analyze::templates
