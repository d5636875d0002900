#include "nexus/publish/matchers.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "nexus/base/text.hpp"

namespace nexus::publish {
namespace {

using knowledge::Matcher;
using knowledge::MatchOp;

bool is_name_character(char c, bool first) {
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
  return letter || (!first && c >= '0' && c <= '9');
}

/// Reads from the front of what is left of one text.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text), rest_(base::trim(text)) {}

  Result<Matchers> all() {
    const bool braces = rest_.starts_with('{');
    if (braces) {
      if (!rest_.ends_with('}'))
        return fail(Errc::kInvalidArgument, "{}: expected a }} at its end", text_);
      rest_ = rest_.substr(1, rest_.size() - 2);
    }
    Matchers out;
    for (skip(); !rest_.empty(); skip()) {
      auto one = matcher();
      if (!one) return propagate(std::move(one));
      out.push_back(*std::move(one));
      skip();
      if (rest_.empty()) break;
      if (!rest_.starts_with(','))
        return fail(Errc::kInvalidArgument, "{}: expected a comma before {}", text_, rest_);
      rest_.remove_prefix(1);
    }
    if (out.empty() && !braces)
      return fail(Errc::kInvalidArgument, "expected a matcher such as severity=\"critical\"");
    return out;
  }

 private:
  void skip() { rest_ = base::trim(rest_); }

  Result<Matcher> matcher() {
    auto read = rest_.starts_with('"') ? quoted() : plain_name();
    if (!read) return propagate(std::move(read));
    std::string name = *std::move(read);
    if (name.empty() || !base::is_valid_utf8(name))
      return fail(Errc::kInvalidArgument, "{}: expected the name of a label", text_);
    skip();
    const auto op = operation();
    if (!op)
      return fail(Errc::kInvalidArgument, "{}: expected =, !=, =~ or !~ after {}", text_, name);
    skip();
    auto value = rest_.starts_with('"') ? quoted() : Result<std::string>(bare());
    if (!value) return propagate(std::move(value));
    if (!base::is_valid_utf8(*value))
      return fail(Errc::kInvalidArgument, "the value of {} is not valid UTF-8", name);
    auto made = Matcher::make(std::move(name), *op, *std::move(value));
    if (!made) return propagate(std::move(made), "{}", text_);
    return made;
  }

  Result<std::string> plain_name() {
    std::size_t length = 0;
    while (length < rest_.size() && is_name_character(rest_[length], length == 0)) ++length;
    if (length == 0)
      return fail(Errc::kInvalidArgument, "{}: expected the name of a label, got {}", text_, rest_);
    std::string name(rest_.substr(0, length));
    rest_.remove_prefix(length);
    return name;
  }

  std::optional<MatchOp> operation() {
    constexpr std::pair<std::string_view, MatchOp> kAll[] = {{"=~", MatchOp::kRegex},
                                                             {"!~", MatchOp::kNotRegex},
                                                             {"!=", MatchOp::kNotEqual},
                                                             {"=", MatchOp::kEqual}};
    for (const auto& [text, op] : kAll) {
      if (!rest_.starts_with(text)) continue;
      rest_.remove_prefix(text.size());
      return op;
    }
    return std::nullopt;
  }

  /// Without quotes: up to a comma.
  std::string bare() {
    const auto value = base::trim(rest_.substr(0, rest_.find(',')));
    rest_.remove_prefix(std::min(rest_.find(','), rest_.size()));
    return std::string(value);
  }

  Result<std::string> quoted() {
    std::string out;
    for (std::size_t i = 1; i < rest_.size(); ++i) {
      const char c = rest_[i];
      if (c == '"') {
        rest_.remove_prefix(i + 1);
        return out;
      }
      if (c != '\\') {
        out += c;
        continue;
      }
      if (++i == rest_.size()) break;
      // Of escapes only these are known; any other backslash stands for itself, as in `\d`.
      switch (rest_[i]) {
        case 'n':
          out += '\n';
          break;
        case '"':
        case '\\':
          out += rest_[i];
          break;
        default:
          out += '\\';
          out += rest_[i];
      }
    }
    return fail(Errc::kInvalidArgument, "{}: a quote is not closed", text_);
  }

  std::string_view text_;
  std::string_view rest_;
};

}  // namespace

Result<Matchers> parse_matchers(std::string_view text) {
  return Reader(text).all();
}

Result<Matchers> parse_matchers(std::span<const std::string> texts) {
  Matchers out;
  for (const auto& text : texts) {
    auto some = parse_matchers(text);
    if (!some) return some;
    std::ranges::move(*some, std::back_inserter(out));
  }
  return out;
}

std::string_view value_of(const config::StringMap& labels, std::string_view name) {
  const auto found = labels.find(name);
  return found == labels.end() ? std::string_view() : std::string_view(found->second);
}

bool all_match(const Matchers& matchers, const config::StringMap& labels) {
  return std::ranges::all_of(matchers, [&](const Matcher& matcher) {
    return matcher.matches(value_of(labels, matcher.name()));
  });
}

std::string to_string(const Matchers& matchers) {
  std::string out = "{";
  for (const auto& matcher : matchers) {
    if (out.size() > 1) out += ',';
    out += knowledge::to_string(matcher);
  }
  return out + "}";
}

}  // namespace nexus::publish
