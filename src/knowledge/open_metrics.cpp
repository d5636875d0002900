#include "nexus/knowledge/open_metrics.hpp"

#include <array>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "nexus/base/text.hpp"

namespace nexus::knowledge {
namespace {

bool is_name_character(char c, bool colons) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         (colons && c == ':');
}

/// A name at the front; empty when there is none.
std::string_view take_name(std::string_view& rest, bool colons) {
  std::size_t length = 0;
  while (length < rest.size() && is_name_character(rest[length], colons)) ++length;
  if (length > 0 && rest.front() >= '0' && rest.front() <= '9') length = 0;
  const auto name = rest.substr(0, length);
  rest.remove_prefix(length);
  return name;
}

/// What stands between double quotes, the first of which is there.
std::optional<std::string> take_quoted(std::string_view& rest) {
  std::string out;
  for (std::size_t i = 1; i < rest.size(); ++i) {
    if (rest[i] == '"') {
      rest.remove_prefix(i + 1);
      return out;
    }
    if (rest[i] != '\\') {
      out += rest[i];
      continue;
    }
    if (++i == rest.size()) break;
    out += rest[i] == 'n' ? '\n' : rest[i];
  }
  return std::nullopt;
}

/// A number of at most 15 digits: units / 10^decimals.
struct ShortNumber {
  std::int64_t units = 0;
  unsigned decimals = 0;
};

constexpr std::array<double, 16> kTens = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                          1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

/// Most numbers are short; anything else is for base::parse_double().
std::optional<ShortNumber> parse_short(std::string_view text) {
  if (text.empty() || text.size() > 17) return std::nullopt;
  const bool negative = text.front() == '-';
  if (negative) text.remove_prefix(1);
  ShortNumber out;
  std::size_t digits = 0;
  bool point = false;
  for (const char c : text) {
    if (c == '.' && !point && digits > 0) {
      point = true;
      continue;
    }
    if (c < '0' || c > '9' || ++digits > 15) return std::nullopt;
    out.units = out.units * 10 + (c - '0');
    out.decimals += point ? 1 : 0;
  }
  if (digits == 0 || text.back() == '.' || (negative && out.units == 0)) return std::nullopt;
  if (negative) out.units = -out.units;
  return out;
}

/// Both are exact, so the quotient is the double that is nearest to the text.
std::optional<double> parse_number(std::string_view text) {
  if (const auto number = parse_short(text)) {
    return static_cast<double>(number->units) / kTens[number->decimals];
  }
  return base::parse_double(text);
}

constexpr std::int64_t kMostMillis = 9'000'000'000'000'000;

/// Milliseconds of Unix seconds.
std::optional<std::int64_t> parse_millis(std::string_view text) {
  if (const auto number = parse_short(text); number && number->decimals <= 3) {
    constexpr std::array<std::int64_t, 4> kMillis = {1000, 100, 10, 1};
    const std::int64_t millis = number->units * kMillis[number->decimals];
    return std::abs(millis) > kMostMillis ? std::nullopt : std::optional(millis);
  }
  const auto seconds = base::parse_double(text);
  if (!seconds || !std::isfinite(*seconds) || std::abs(*seconds) * 1000 > kMostMillis) {
    return std::nullopt;
  }
  return std::llround(*seconds * 1000);
}

/// The length of `name{...}` at the front of a line.
std::size_t head_length(std::string_view text) {
  const auto end = text.find_first_of(" {");
  if (end == std::string_view::npos || text[end] == ' ') return end;
  bool quoted = false;
  for (std::size_t i = end; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (text[i] == '}' && !quoted) {
      return i + 1;
    }
  }
  return std::string_view::npos;
}

}  // namespace

void OpenMetricsReader::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto end = bytes.find('\n');
    const auto part = bytes.substr(0, end);
    const bool whole = end != std::string_view::npos;
    bytes.remove_prefix(whole ? end + 1 : bytes.size());
    if (pending_.size() + part.size() > kMaxLine) {
      too_long_ = true;
      pending_.clear();
    }
    if (whole && pending_.empty() && !too_long_) {
      line(part);  // the usual case, without a copy
      continue;
    }
    if (!too_long_) pending_ += part;
    if (whole) finish();
  }
}

void OpenMetricsReader::finish() {
  if (too_long_) {
    ++lines_;
    on_mistake_(lines_, fmt::format("longer than {} bytes", kMaxLine));
  } else if (!pending_.empty()) {
    line(pending_);
  }
  pending_.clear();
  too_long_ = false;
}

void OpenMetricsReader::line(std::string_view text) {
  ++lines_;
  if (text.ends_with('\r')) text.remove_suffix(1);
  if (text.empty()) return;
  if (ended_) return on_mistake_(lines_, "nothing may follow # EOF");
  if (text.starts_with('#')) {
    ended_ = text == "# EOF";
    return;
  }
  if (const Status done = sample(text); !done) on_mistake_(lines_, done.error().message());
}

Status OpenMetricsReader::sample(std::string_view text) {
  const bool again = !head_.empty() && text.starts_with(head_) && text.size() > head_.size() &&
                     text[head_.size()] == ' ';
  const auto length = again ? head_.size() : head_length(text);
  if (length == std::string_view::npos)
    return fail(Errc::kInvalidArgument, "expected a metric, a value and a timestamp");
  const auto head = text.substr(0, length);
  if (!again) {
    head_.clear();
    if (Status found = find_labels(head); !found) return found;
    head_ = head;
  }
  auto rest = text.substr(length);
  const auto value_text = base::take_word(rest);
  const auto value = parse_number(value_text);
  if (!value) {
    return fail(Errc::kInvalidArgument, "expected a number as the value, got \"{}\"",
                base::sanitize_utf8(value_text.substr(0, 40)));
  }
  const auto time_text = base::take_word(rest);
  if (time_text.empty() || time_text == "#")
    return fail(Errc::kInvalidArgument, "expected a timestamp after the value");
  const auto time = parse_millis(time_text);
  if (!time) {
    return fail(Errc::kInvalidArgument, "expected Unix seconds as the timestamp, got \"{}\"",
                base::sanitize_utf8(time_text.substr(0, 40)));
  }
  const auto more = base::take_word(rest);
  if (!more.empty() && more != "#")  // an exemplar
    return fail(Errc::kInvalidArgument, "expected the end of the line after the timestamp");
  return on_sample_(*labels_, again, *time, *value);
}

Status OpenMetricsReader::find_labels(std::string_view head) {
  auto found = heads_.find(head);
  if (found == heads_.end()) {
    auto labels = parse_labels(head);
    if (!labels) return std::unexpected(labels.error());
    if (heads_.size() >= kMaxHeads) heads_.clear();
    found = heads_.emplace(head, std::move(*labels)).first;
  }
  labels_ = &found->second;
  return {};
}

Result<Labels> OpenMetricsReader::parse_labels(std::string_view head) {
  if (!base::is_valid_utf8(head)) return fail(Errc::kInvalidArgument, "not valid UTF-8");
  const auto bad = [](std::string_view expected) -> Result<Labels> {
    return fail(Errc::kInvalidArgument, "expected {}", expected);
  };
  auto rest = head;
  std::string name(take_name(rest, true));
  if (name.empty() && !rest.starts_with("{\"")) return bad("a metric name");
  std::vector<Label> labels;
  if (!rest.empty()) rest.remove_prefix(1);  // {
  while (!rest.empty() && rest != "}") {
    std::string label;
    const bool is_quoted = rest.starts_with('"');
    if (is_quoted) {
      auto text = take_quoted(rest);
      if (!text) return bad("the end of a name");
      label = std::move(*text);
    } else {
      label = take_name(rest, false);
    }
    if (label.empty()) return bad("a label name");
    if (is_quoted && (rest.starts_with(',') || rest == "}")) {
      // {"metric name",...}: a name in quotes that has no value is the metric's.
      if (!name.empty()) return bad("one metric name");
      name = std::move(label);
      if (rest.starts_with(',')) rest.remove_prefix(1);
      continue;
    }
    if (label == kMetricName) return bad("the metric's name before the labels");
    if (!rest.starts_with("=\"")) return bad("=\" after the label's name");
    rest.remove_prefix(1);
    auto value = take_quoted(rest);
    if (!value) return bad("the end of a label's value");
    for (const auto& other : labels) {
      if (other.name == label) return bad(fmt::format("the label {} once", label));
    }
    labels.push_back({std::move(label), std::move(*value)});
    if (rest.starts_with(',')) {
      rest.remove_prefix(1);
    } else if (rest != "}") {
      return bad("a comma or } after a label");
    }
  }
  if (name.empty()) return bad("a metric name");
  labels.push_back({std::string(kMetricName), std::move(name)});
  return Labels(std::move(labels));
}

}  // namespace nexus::knowledge
