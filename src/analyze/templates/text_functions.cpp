// Texts, regular expressions and links.
#include <fmt/format.h>
#include <re2/re2.h>

#include <array>

#include "analyze/templates/bodies.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze::templates {
namespace {

std::shared_ptr<const re2::RE2> expression(const std::string& pattern) {
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(1 << 20);
  return std::make_shared<const re2::RE2>(pattern, options);
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

std::string link(const std::string& expr, int tab) {
  return fmt::format("/graph?g0.expr={}&g0.tab={}", url_escaped(expr), tab);
}

}  // namespace

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

Result<Value> match(const Data&, Span a) {
  const auto pattern = text_of(a[0]);
  const auto subject = text_of(a[1]);
  if (!pattern) return std::unexpected(pattern.error());
  if (!subject) return std::unexpected(subject.error());
  const auto regex = expression(*pattern);
  if (!regex->ok()) return fail(Errc::kInvalidArgument, "error parsing regexp: {}", regex->error());
  return Value{re2::RE2::PartialMatch(*subject, *regex)};
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

/// For a text in JavaScript, as Go escapes it.
Result<Value> js(const Data&, Span a) {
  std::string out;
  for (const auto& value : a) {
    for (const char c : show(value)) {
      const auto byte = static_cast<unsigned char>(c);
      if (std::string_view("\\'\"").contains(c)) {
        out += '\\';
        out += c;
      } else if (byte < ' ' || byte == 0x7f || std::string_view("<>&=").contains(c)) {
        out += fmt::format("\\u{:04X}", byte);
      } else {
        out += c;
      }
    }
  }
  return text(std::move(out));
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

}  // namespace nexus::analyze::templates
