#include "serve/routes/prometheus_answer.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <iterator>

#include "nexus/base/go_text.hpp"
#include "nexus/base/text.hpp"

namespace nexus::serve::prometheus {
namespace {

// Far beyond any sample, and far enough from overflow for every arithmetic on times.
constexpr std::int64_t kAllTime = std::int64_t{1} << 59;

struct Kind {
  std::string_view name;
  unsigned status;
};

Kind kind_of(Failure type) {
  switch (type) {
    case Failure::kBadData:
      return {"bad_data", 400};
    case Failure::kExecution:
      return {"execution", 422};
    case Failure::kCanceled:
      return {"canceled", 503};
    case Failure::kTimeout:
      return {"timeout", 503};
    case Failure::kInternal:
      return {"internal", 500};
    case Failure::kNotFound:
      return {"not_found", 404};
    case Failure::kUnavailable:
      return {"unavailable", 503};
  }
  return {"internal", 500};
}

std::string quoted(std::string_view text) {
  std::string out;
  append_string(out, text);
  return out;
}

}  // namespace

Response failure(Failure type, std::string_view message) {
  const auto [name, status] = kind_of(type);
  return json(fmt::format("{{\"status\":\"error\",\"errorType\":\"{}\",\"error\":{}}}\n", name,
                          quoted(message)),
              status);
}

Response success(std::string_view data, const std::vector<std::string>& warnings,
                 const std::vector<std::string>& infos) {
  const std::string end = success_end(warnings, infos);
  std::string body;
  body.reserve(kSuccess.size() + data.size() + end.size());
  body += kSuccess;
  body += data;
  body += end;
  return json(std::move(body));
}

std::string success_end(const std::vector<std::string>& warnings,
                        const std::vector<std::string>& infos) {
  std::string out;
  if (!warnings.empty()) {
    out += ",\"warnings\":";
    append_names(out, warnings);
  }
  if (!infos.empty()) {
    out += ",\"infos\":";
    append_names(out, infos);
  }
  out += "}\n";
  return out;
}

void append_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned char>(c));
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

void append_time(std::string& out, std::int64_t millis) {
  if (millis < 0) out += '-';
  const auto size = static_cast<std::uint64_t>(millis < 0 ? -millis : millis);
  std::array<char, 24> buffer;  // by hand: there is one a sample
  auto* end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), size / 1000).ptr;
  if (const auto rest = static_cast<unsigned>(size % 1000); rest != 0) {
    *end++ = '.';
    *end++ = static_cast<char>('0' + rest / 100);
    *end++ = static_cast<char>('0' + rest / 10 % 10);
    *end++ = static_cast<char>('0' + rest % 10);
  }
  out.append(buffer.data(), end);
}

void append_sample(std::string& out, std::int64_t millis, double value) {
  out += '[';
  append_time(out, millis);
  out += ",\"";
  base::append_go_json(out, value);
  out += "\"]";
}

void append_scalar_time(std::string& out, std::int64_t millis) {
  base::append_go_fixed(out, static_cast<double>(millis) / 1000);
}

void append_metric(std::string& out, const knowledge::Labels& labels, Name name) {
  out += '{';
  bool first = true;
  for (const auto& label : labels) {
    if (name == Name::kLeftOut && label.name == knowledge::kMetricName) continue;
    if (!std::exchange(first, false)) out += ',';
    append_string(out, label.name);
    out += ':';
    append_string(out, label.value);
  }
  out += '}';
}

void append_names(std::string& out, const std::vector<std::string>& names) {
  out += '[';
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) out += ',';
    append_string(out, names[i]);
  }
  out += ']';
}

Result<std::int64_t> time_param(const Request& request, std::string_view name,
                                std::optional<std::int64_t> fallback) {
  const auto text = request.param(name).value_or("");
  if (text.empty() && fallback) return *fallback;
  const auto time = base::parse_time(text);
  if (!time) {
    // Prometheus has these words before it for times that may be left out.
    const auto optional = fallback ? fmt::format("Invalid time value for '{}': ", name) : "";
    return fail(Errc::kInvalidArgument,
                "invalid parameter \"{}\": {}cannot parse {} to a valid timestamp", name, optional,
                quoted(text));
  }
  return base::to_unix_millis(*time);
}

Result<Millis> duration_param(const Request& request, std::string_view name) {
  const auto text = request.param(name).value_or("");
  if (const auto seconds = base::parse_double(text)) {
    // Go's longest duration is 292 years.
    if (std::isfinite(*seconds) && std::abs(*seconds) < 9.2e9)
      return Millis(static_cast<std::int64_t>(*seconds * 1000));
  } else if (auto duration = base::parse_duration(text)) {
    return *duration;
  }
  return fail(Errc::kInvalidArgument,
              "invalid parameter \"{}\": cannot parse {} to a valid duration", name, quoted(text));
}

Result<std::size_t> limit_param(const Request& request, std::string_view name) {
  const auto text = request.param(name).value_or("");
  if (text.empty()) return std::size_t{0};
  const auto limit = base::parse_int(text);
  if (!limit)
    return fail(Errc::kInvalidArgument, "invalid parameter \"{}\": cannot parse {} to an integer",
                name, quoted(text));
  if (*limit < 0)
    return fail(Errc::kInvalidArgument, "invalid parameter \"{}\": limit must be non-negative",
                name);
  return static_cast<std::size_t>(*limit);
}

std::vector<std::string_view> all_params(const Request& request, std::string_view name) {
  std::vector<std::string_view> out;
  for (const auto& [key, value] : request.query) {
    if (key == name) out.push_back(value);
  }
  return out;
}

Result<std::vector<Selector>> selector_params(const Request& request) {
  std::vector<Selector> out;
  std::size_t regexes = 0;
  for (const auto text : all_params(request, "match[]")) {
    auto matchers = knowledge::promql::parse_selector(text);
    // The parser refuses a selector of everything; Prometheus has other words for it here.
    if (!matchers && matchers.error().message().contains("match the empty string")) {
      return fail(Errc::kInvalidArgument,
                  "invalid parameter \"match[]\": match[] must contain at least one non-empty "
                  "matcher");
    }
    if (!matchers) return propagate(std::move(matchers), "invalid parameter \"match[]\"");
    for (const auto& matcher : *matchers) {
      using knowledge::MatchOp;
      if (matcher.op() == MatchOp::kRegex || matcher.op() == MatchOp::kNotRegex) ++regexes;
    }
    if (regexes > knowledge::promql::kMaxRegexes) {
      return fail(
          Errc::kInvalidArgument,
          "invalid parameter \"match[]\": at most {} regular expressions are allowed in all",
          knowledge::promql::kMaxRegexes);
    }
    out.push_back(std::move(*matchers));
  }
  return out;
}

Result<Span> span_params(const Request& request) {
  const auto start = time_param(request, "start", -kAllTime);
  if (!start) return std::unexpected(start.error());
  const auto end = time_param(request, "end", kAllTime);
  if (!end) return std::unexpected(end.error());
  return Span{*start, *end};
}

}  // namespace nexus::serve::prometheus
