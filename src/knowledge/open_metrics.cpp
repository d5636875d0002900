#include "nexus/knowledge/open_metrics.hpp"

#include <cmath>
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
  const auto length = head_length(text);
  if (length == std::string_view::npos)
    return fail(Errc::kInvalidArgument, "expected a metric, a value and a timestamp");
  const auto head = text.substr(0, length);
  const bool same = !head_.empty() && head == head_;
  if (!same) {
    head_.clear();
    if (Status parsed = parse_labels(head); !parsed) return parsed;
    head_ = head;
  }
  auto rest = text.substr(length);
  const auto value_text = base::take_word(rest);
  const auto value = base::parse_double(value_text);
  if (!value) {
    return fail(Errc::kInvalidArgument, "expected a number as the value, got \"{}\"",
                base::sanitize_utf8(value_text.substr(0, 40)));
  }
  const auto time_text = base::take_word(rest);
  if (time_text.empty() || time_text == "#")
    return fail(Errc::kInvalidArgument, "expected a timestamp after the value");
  const auto seconds = base::parse_double(time_text);
  if (!seconds || !std::isfinite(*seconds) || std::abs(*seconds) > 9e15 / 1000) {
    return fail(Errc::kInvalidArgument, "expected Unix seconds as the timestamp, got \"{}\"",
                base::sanitize_utf8(time_text.substr(0, 40)));
  }
  const auto more = base::take_word(rest);
  if (!more.empty() && more != "#")  // an exemplar
    return fail(Errc::kInvalidArgument, "expected the end of the line after the timestamp");
  return on_sample_(labels_, same, std::llround(*seconds * 1000), *value);
}

Status OpenMetricsReader::parse_labels(std::string_view head) {
  if (!base::is_valid_utf8(head)) return fail(Errc::kInvalidArgument, "not valid UTF-8");
  const auto bad = [](std::string_view expected) {
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
  labels_ = Labels(std::move(labels));
  return {};
}

}  // namespace nexus::knowledge
