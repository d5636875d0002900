#include "nexus/knowledge/labels.hpp"

#include <re2/re2.h>

#include <algorithm>

#include "knowledge/hash.hpp"
#include "nexus/base/text.hpp"

namespace nexus::knowledge {
namespace {

std::vector<Label> to_list(std::string_view metric, std::span<const LabelView> labels) {
  std::vector<Label> list;
  list.reserve(labels.size() + 1);
  for (const LabelView& label : labels) {
    list.push_back({std::string(label.name), std::string(label.value)});
  }
  list.push_back({std::string(kMetricName), std::string(metric)});
  return list;
}

void make_valid(std::string& text) {
  if (!base::is_valid_utf8(text)) text = base::sanitize_utf8(text);
}

bool is_identifier(std::string_view name, bool colon) {
  if (name.empty()) return false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool letter =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':');
    if (!letter && (i == 0 || c < '0' || c > '9')) return false;
  }
  return true;
}

void append_quoted(std::string& out, std::string_view value) {
  out += '"';
  for (const char c : value) {
    if (c == '\\' || c == '"') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_name(std::string& out, std::string_view name) {
  if (is_identifier(name, false)) {
    out += name;
  } else {
    append_quoted(out, name);  // Prometheus 3 quotes names that are no identifiers
  }
}

std::string_view symbol(MatchOp op) {
  switch (op) {
    case MatchOp::kEqual:
      return "=";
    case MatchOp::kNotEqual:
      return "!=";
    case MatchOp::kRegex:
      return "=~";
    case MatchOp::kNotRegex:
      return "!~";
  }
  return "=";
}

constexpr std::int64_t kRegexBytes = 512 << 10;
constexpr std::int64_t kRegexBytesOfByte = 128;  // what a list of alternatives takes, and a third
constexpr std::uint64_t kMostRepeats = 4096;

/// The greatest numbers of all `{n}`, `{n,}` and `{n,m}`, added up. RE2 writes repetitions out
/// before it looks at its limit of memory.
std::uint64_t repeats_in(std::string_view pattern) {
  std::uint64_t sum = 0;
  for (std::size_t open = pattern.find('{'); open != std::string_view::npos;
       open = pattern.find('{', open + 1)) {
    std::uint64_t number = 0;
    std::uint64_t greatest = 0;
    for (std::size_t i = open + 1; i < pattern.size(); ++i) {
      const char c = pattern[i];
      if (c >= '0' && c <= '9') {
        number = std::min<std::uint64_t>(number * 10 + static_cast<std::uint64_t>(c - '0'), 10'000);
        greatest = std::max(greatest, number);
      } else if (c == ',') {
        number = 0;
      } else {
        if (c == '}') sum += greatest;
        break;
      }
    }
  }
  return sum;
}

Result<std::shared_ptr<const re2::RE2>> compile(const std::string& pattern) {
  if (repeats_in(pattern) > kMostRepeats) {
    return fail(Errc::kInvalidArgument, "at most {} repetitions are allowed in all", kMostRepeats);
  }
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_dot_nl(true);
  options.set_never_capture(true);
  options.set_max_mem(kRegexBytes + kRegexBytesOfByte * static_cast<std::int64_t>(pattern.size()));
  auto regex = std::make_shared<const re2::RE2>(pattern, options);
  if (!regex->ok()) return fail(Errc::kInvalidArgument, "{}", regex->error());
  return regex;
}

}  // namespace

Labels::Labels(std::vector<Label> labels) : labels_(std::move(labels)) {
  for (Label& label : labels_) {
    make_valid(label.name);
    make_valid(label.value);
  }
  std::vector<std::size_t> order(labels_.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, [this](std::size_t a, std::size_t b) {
    const int names = labels_[a].name.compare(labels_[b].name);
    return names != 0 ? names < 0 : a < b;
  });
  std::vector<Label> sorted;
  sorted.reserve(labels_.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const Label& label = labels_[order[i]];
    const bool shadowed = i + 1 < order.size() && labels_[order[i + 1]].name == label.name;
    if (!shadowed && !label.value.empty()) sorted.push_back(label);
  }
  labels_ = std::move(sorted);
}

Labels::Labels(std::string_view metric, std::span<const LabelView> labels)
    : Labels(to_list(metric, labels)) {}

Labels::Labels(std::string_view metric, std::initializer_list<LabelView> labels)
    : Labels(metric, std::span<const LabelView>(labels.begin(), labels.size())) {}

std::string_view Labels::get(std::string_view name) const noexcept {
  // Series have a handful of labels: walking them beats a binary search.
  for (const Label& label : labels_) {
    if (label.name == name) return label.value;
  }
  return {};
}

std::uint64_t Labels::hash() const noexcept {
  std::uint64_t sum = 0;
  for (const Label& label : labels_) sum += label_hash(label.name, label.value);
  return sum;
}

Labels Labels::without(std::span<const std::string> names) const {
  Labels result;
  std::ranges::copy_if(labels_, std::back_inserter(result.labels_), [&](const Label& label) {
    return std::ranges::find(names, label.name) == names.end();
  });
  return result;
}

Labels Labels::only(std::span<const std::string> names) const {
  Labels result;
  std::ranges::copy_if(labels_, std::back_inserter(result.labels_), [&](const Label& label) {
    return std::ranges::find(names, label.name) != names.end();
  });
  return result;
}

Labels Labels::with(std::string_view name, std::string_view value) const {
  std::vector<Label> list = labels_;
  list.push_back({std::string(name), std::string(value)});
  return Labels(std::move(list));
}

std::string to_string(const Labels& labels) {
  const std::string_view metric = labels.metric();
  const bool bare = is_identifier(metric, true);
  std::string out(bare ? metric : std::string_view());
  if (bare && labels.size() == 1) return out;
  out += '{';
  bool first = true;
  if (!bare && !metric.empty()) {
    append_quoted(out, metric);
    first = false;
  }
  for (const Label& label : labels) {
    if (label.name == kMetricName) continue;
    if (!first) out += ',';
    first = false;
    append_name(out, label.name);
    out += '=';
    append_quoted(out, label.value);
  }
  out += '}';
  return out;
}

Result<Matcher> Matcher::make(std::string name, MatchOp op, std::string value) {
  Matcher matcher(std::move(name), op, std::move(value));
  if (op == MatchOp::kRegex || op == MatchOp::kNotRegex) {
    auto regex = compile(matcher.value_);
    if (!regex) {
      return fail(Errc::kInvalidArgument, "label {}: regular expression \"{}\": {}", matcher.name_,
                  matcher.value_, regex.error().message());
    }
    matcher.regex_ = std::move(*regex);
  }
  return matcher;
}

bool Matcher::matches(std::string_view value) const {
  switch (op_) {
    case MatchOp::kEqual:
      return value == value_;
    case MatchOp::kNotEqual:
      return value != value_;
    case MatchOp::kRegex:
      return re2::RE2::FullMatch({value.data(), value.size()}, *regex_);
    case MatchOp::kNotRegex:
      return !re2::RE2::FullMatch({value.data(), value.size()}, *regex_);
  }
  return false;
}

std::string to_string(const Matcher& matcher) {
  std::string out;
  append_name(out, matcher.name());
  out += symbol(matcher.op());
  append_quoted(out, matcher.value());
  return out;
}

}  // namespace nexus::knowledge
