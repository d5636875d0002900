#include "analyze/templates/functions.hpp"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <optional>

#include "nexus/base/go_text.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze::templates {
namespace {

using Span = std::span<const Value>;
using Data = TemplateData;

std::unexpected<Error> wrong(std::string_view expected, const Value& got) {
  return fail(Errc::kInvalidArgument, "wrong type for value; expected {}; got {}", expected,
              type_name(got));
}

Result<std::string> text_of(const Value& value) {
  if (const auto* text = value.as<std::string>()) return *text;
  return wrong("string", value);
}

Result<SamplePtr> sample_of(const Value& value) {
  if (const auto* sample = value.as<SamplePtr>(); sample != nullptr && *sample != nullptr)
    return *sample;
  return wrong("*template.sample", value);
}

Result<Samples> samples_of(const Value& value) {
  if (const auto* samples = value.as<Samples>()) return *samples;
  return wrong("template.queryResult", value);
}

Value text(std::string value) {
  return {std::move(value)};
}

// Texts. Upper and lower case are those of ASCII letters.

Result<Value> to_upper(const Data&, Span a) {
  auto value = text_of(a[0]);
  if (!value) return std::unexpected(value.error());
  for (char& c : *value) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return text(std::move(*value));
}

Result<Value> to_lower(const Data&, Span a) {
  auto value = text_of(a[0]);
  if (!value) return std::unexpected(value.error());
  for (char& c : *value) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text(std::move(*value));
}

/// Go's strings.Title: the first letter of each word.
Result<Value> title(const Data&, Span a) {
  auto value = text_of(a[0]);
  if (!value) return std::unexpected(value.error());
  bool inside = false;
  for (char& c : *value) {
    const bool small = c >= 'a' && c <= 'z';
    if (small && !inside) c = static_cast<char>(c - 'a' + 'A');
    const auto byte = static_cast<unsigned char>(c);
    inside = small || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '\'' ||
             byte >= 0x80;
  }
  return text(std::move(*value));
}

std::shared_ptr<const re2::RE2> expression(const std::string& pattern) {
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(1 << 20);
  return std::make_shared<const re2::RE2>(pattern, options);
}

Result<Value> match(const Data&, Span a) {
  const auto pattern = text_of(a[0]);
  const auto subject = text_of(a[1]);
  if (!pattern) return std::unexpected(pattern.error());
  if (!subject) return std::unexpected(subject.error());
  const auto regex = expression(*pattern);
  if (!regex->ok()) return fail(Errc::kInvalidArgument, "error parsing regexp: {}", regex->error());
  return Value{re2::RE2::PartialMatch(*subject, *regex)};
}

/// Go's $1, ${1}, ${name} and $$ as RE2's \1 and $.
Result<std::string> rewrite_of(const re2::RE2& regex, std::string_view replacement) {
  std::string out;
  const auto& names = regex.NamedCapturingGroups();
  while (!replacement.empty()) {
    const char c = replacement.front();
    replacement.remove_prefix(1);
    if (c == '\\') {
      out += "\\\\";
    } else if (c != '$') {
      out += c;
    } else if (replacement.starts_with('$')) {
      replacement.remove_prefix(1);
      out += '$';
    } else {
      std::string_view name;
      if (replacement.starts_with('{') && replacement.contains('}')) {
        replacement.remove_prefix(1);
        name = base::take_until(replacement, '}');
      } else {
        name = replacement.substr(
            0, replacement.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                             "0123456789_"));
        replacement.remove_prefix(name.size());
        if (name.empty()) out += '$';
      }
      const auto named = names.find(std::string(name));
      const auto number =
          named != names.end() ? static_cast<std::uint64_t>(named->second) : base::parse_uint(name);
      const auto groups = static_cast<std::uint64_t>(regex.NumberOfCapturingGroups());
      if (number && *number > 9 && *number <= groups)
        return fail(Errc::kUnsupported, "reReplaceAll: group {} is beyond 9", *number);
      if (number && *number <= groups) out += fmt::format("\\{}", *number);
    }
  }
  return out;
}

Result<Value> replace_all(const Data&, Span a) {
  const auto pattern = text_of(a[0]);
  const auto replacement = text_of(a[1]);
  auto subject = text_of(a[2]);
  if (!pattern) return std::unexpected(pattern.error());
  if (!replacement) return std::unexpected(replacement.error());
  if (!subject) return std::unexpected(subject.error());
  const auto regex = expression(*pattern);
  if (!regex->ok()) return fail(Errc::kInvalidArgument, "error parsing regexp: {}", regex->error());
  const auto rewrite = rewrite_of(*regex, *replacement);
  if (!rewrite) return std::unexpected(rewrite.error());
  re2::RE2::GlobalReplace(&*subject, *regex, *rewrite);
  return text(std::move(*subject));
}

Result<Value> same_text(const Data&, Span a) {
  auto value = text_of(a[0]);
  if (!value) return std::unexpected(value.error());
  return text(std::move(*value));
}

/// "host:9100" without the port, "[::1]:80" without it too.
Result<Value> strip_port(const Data&, Span a) {
  auto value = text_of(a[0]);
  if (!value) return std::unexpected(value.error());
  const auto colon = value->rfind(':');
  if (colon == std::string::npos) return text(std::move(*value));
  if (value->starts_with('[')) {
    const auto close = value->find(']');
    if (close + 1 == colon) return text(value->substr(1, close - 1));
    return text(std::move(*value));
  }
  if (value->find(':') != colon) return text(std::move(*value));  // an IPv6 address
  return text(value->substr(0, colon));
}

Result<Value> strip_domain(const Data& data, Span a) {
  const auto value = text_of(a[0]);
  if (!value) return std::unexpected(value.error());
  const auto bare = strip_port(data, a);
  const auto& host = *bare->as<std::string>();
  const bool address = host.contains(':') || host.find_first_not_of("0123456789.") == host.npos;
  if (address || !host.contains('.')) return text(*value);
  const std::string port = value->substr(host.size());
  return text(host.substr(0, host.find('.')) + port);
}

std::string url_escaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (plain || std::string_view("-_.~").contains(c)) {
      out += c;
    } else if (c == ' ') {
      out += '+';
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

Result<Value> url_query(const Data&, Span a) {
  std::string all;
  for (const auto& value : a) all += show(value);
  return text(url_escaped(all));
}

Result<Value> html(const Data&, Span a) {
  std::string out;
  for (const auto& value : a) {
    for (const char c : show(value)) {
      const std::string_view from = "&<>\"'";
      constexpr std::array<std::string_view, 5> kTo = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
      const auto at = from.find(c);
      out += at == std::string_view::npos ? std::string_view(&c, 1) : kTo[at];
    }
  }
  return text(std::move(out));
}

std::string link(const std::string& expr, int tab) {
  return fmt::format("/graph?g0.expr={}&g0.tab={}", url_escaped(expr), tab);
}

Result<Value> graph_link(const Data&, Span a) {
  const auto expr = text_of(a[0]);
  if (!expr) return std::unexpected(expr.error());
  return text(link(*expr, 0));
}

Result<Value> table_link(const Data&, Span a) {
  const auto expr = text_of(a[0]);
  if (!expr) return std::unexpected(expr.error());
  return text(link(*expr, 1));
}

// Queries.

Result<Value> query(const Data& data, Span a) {
  const auto expr = text_of(a[0]);
  if (!expr) return std::unexpected(expr.error());
  if (!data.query) return fail(Errc::kUnsupported, "query: there is nothing to ask here");
  const auto vector = data.query(*expr);
  if (!vector) return std::unexpected(vector.error());
  Samples out;
  for (const auto& element : *vector) {
    auto sample = std::make_shared<QueriedSample>();
    for (const auto& label : element.labels) sample->labels.emplace(label.name, label.value);
    sample->value = element.value;
    out.push_back(std::move(sample));
  }
  return Value{std::move(out)};
}

Result<Value> first(const Data&, Span a) {
  const auto samples = samples_of(a[0]);
  if (!samples) return std::unexpected(samples.error());
  if (samples->empty())
    return fail(Errc::kInvalidArgument, "first() called on vector with no elements");
  return Value{samples->front()};
}

Result<Value> label(const Data&, Span a) {
  const auto name = text_of(a[0]);
  const auto sample = sample_of(a[1]);
  if (!name) return std::unexpected(name.error());
  if (!sample) return std::unexpected(sample.error());
  const auto found = (*sample)->labels.find(*name);
  return text(found == (*sample)->labels.end() ? "" : found->second);
}

Result<Value> value(const Data&, Span a) {
  const auto sample = sample_of(a[0]);
  if (!sample) return std::unexpected(sample.error());
  return Value{(*sample)->value};
}

Result<Value> string_value(const Data&, Span a) {
  const auto sample = sample_of(a[0]);
  if (!sample) return std::unexpected(sample.error());
  const auto found = (*sample)->labels.find("__value__");
  return text(found == (*sample)->labels.end() ? "" : found->second);
}

Result<Value> sort_by_label(const Data&, Span a) {
  const auto name = text_of(a[0]);
  auto samples = samples_of(a[1]);
  if (!name) return std::unexpected(name.error());
  if (!samples) return std::unexpected(samples.error());
  std::ranges::stable_sort(*samples, {}, [&](const SamplePtr& sample) {
    const auto found = sample->labels.find(*name);
    return found == sample->labels.end() ? std::string_view() : std::string_view(found->second);
  });
  return Value{std::move(*samples)};
}

Result<Value> arguments(const Data&, Span a) {
  auto out = std::make_shared<Arguments>();
  for (std::size_t i = 0; i < a.size(); ++i) out->emplace(fmt::format("arg{}", i), a[i]);
  return Value{std::shared_ptr<const Arguments>(std::move(out))};
}

// Numbers and times.

template <std::string (*Body)(double)>
Result<Value> on_number(const Data&, Span a) {
  const auto number = to_number(a[0]);
  if (!number) return std::unexpected(number.error());
  return text(Body(*number));
}

Result<Value> timestamp(const Data&, Span a) {
  const auto number = to_number(a[0]);
  if (!number) return std::unexpected(number.error());
  auto shown = humanize_timestamp(*number);
  if (!shown) return std::unexpected(shown.error());
  return text(std::move(*shown));
}

Result<Value> to_time(const Data&, Span a) {
  const auto number = to_number(a[0]);
  if (!number) return std::unexpected(number.error());
  if (!(std::abs(*number) < 9.2e9))
    return fail(Errc::kInvalidArgument, "{} cannot be represented as a nanoseconds timestamp",
                base::go_value(*number));
  return Value{base::from_unix_millis(static_cast<std::int64_t>(std::floor(*number * 1000)))};
}

Result<Value> parse_duration(const Data&, Span a) {
  const auto given = text_of(a[0]);
  if (!given) return std::unexpected(given.error());
  const auto duration = base::parse_duration(*given);
  if (!duration) return fail(Errc::kInvalidArgument, "not a valid duration string: \"{}\"", *given);
  return Value{static_cast<double>(duration->count()) / 1000};
}

Result<Value> now(const Data& data, Span) {
  return Value{static_cast<double>(base::to_unix_millis(data.time)) / 1000};
}

Result<Value> external_url(const Data& data, Span) {
  return text(data.external_url);
}

Result<Value> path_prefix(const Data& data, Span) {
  const auto scheme = data.external_url.find("://");
  const auto path = data.external_url.find('/', scheme == std::string::npos ? 0 : scheme + 3);
  return text(path == std::string::npos ? "" : data.external_url.substr(path));
}

// Go's built-in functions.

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
      if (number == nullptr) return wrong("int", key);
      if (*number < 0 || static_cast<std::size_t>(*number) >= samples->size())
        return fail(Errc::kInvalidArgument, "index out of range: {}", *number);
      at = Value{(*samples)[static_cast<std::size_t>(*number)]};
    } else {
      return fail(Errc::kInvalidArgument, "can't index item of type {}", type_name(at));
    }
  }
  return at;
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
    Function{"len", 1, 1, length},
    Function{"not", 1, 1, logical_not},
    Function{"print", 0, -1, print},
    Function{"printf", 1, -1, print_format},
    Function{"println", 0, -1, print_line},
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
    Function{"parseDuration", 1, 1, parse_duration},
    Function{"now", 0, 0, now},
    Function{"externalURL", 0, 0, external_url},
    Function{"pathPrefix", 0, 0, path_prefix},
};

}  // namespace

const Function* find_function(std::string_view name) {
  const auto* const found = std::ranges::find(kFunctions, name, &Function::name);
  return found == kFunctions.end() ? nullptr : found;
}

}  // namespace nexus::analyze::templates
