#include "nexus/knowledge/exposition_reader.hpp"

#include <array>
#include <cmath>
#include <cstdlib>

#include "knowledge/hash.hpp"
#include "nexus/base/text.hpp"

namespace nexus::knowledge {
namespace {

constexpr std::uint64_t kSecondKey = 0x9e3779b97f4a7c15ULL;

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

void skip_blanks(std::string_view& rest) {
  while (!rest.empty() && is_blank(rest.front())) rest.remove_prefix(1);
}

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

/// Takes a word off the front, without the blanks before it; as base::take_word().
std::string_view take_word(std::string_view& rest) {
  skip_blanks(rest);
  std::size_t length = 0;
  while (length < rest.size() && !is_blank(rest[length])) ++length;
  const auto word = rest.substr(0, length);
  rest.remove_prefix(length);
  return word;
}

/// A number whose digits are an integer that a double holds: units * 10^exponent.
struct ShortNumber {
  std::int64_t units = 0;
  int exponent = 0;
};

constexpr int kMostTens = 22;  // the largest power of ten that a double holds
constexpr std::array<double, kMostTens + 1> kTens = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                     1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                     1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/// The digits of "e+09", at most two.
std::optional<int> parse_exponent(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || text.size() > 2) return std::nullopt;
  int value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return negative ? -value : value;
}

/// Takes the digits at the front, which go on after those of `units`; how many. Of more than 19 the
/// units are nonsense.
std::size_t take_digits(const char*& at, const char* end, std::uint64_t& units) noexcept {
  const char* const begin = at;
  for (; at < end; ++at) {
    const auto digit = static_cast<unsigned>(*at - '0');
    if (digit > 9) break;
    units = units * 10 + digit;
  }
  return static_cast<std::size_t>(at - begin);
}

/// Most numbers are short; anything else is for base::parse_double().
std::optional<ShortNumber> parse_short(std::string_view text) {
  constexpr std::int64_t kMostUnits = std::int64_t{1} << 53;
  constexpr std::size_t kMostDigits = 17;  // so that they fit in units before they are compared
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  ShortNumber out;
  std::size_t digits = 0;
  std::size_t at = 0;
  bool point = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c >= '0' && c <= '9') {
      if (++digits > kMostDigits) return std::nullopt;
      out.units = out.units * 10 + (c - '0');
      out.exponent -= point ? 1 : 0;
    } else if (c == '.' && !point && digits > 0) {
      point = true;
    } else {
      break;
    }
  }
  if (digits == 0 || text[at - 1] == '.' || out.units > kMostUnits) return std::nullopt;
  if (negative && out.units == 0) return std::nullopt;
  if (at < text.size()) {
    if (text[at] != 'e' && text[at] != 'E') return std::nullopt;
    const auto exponent = parse_exponent(text.substr(at + 1));
    if (!exponent) return std::nullopt;
    out.exponent += *exponent;
  }
  if (negative) out.units = -out.units;
  return out;
}

/// Both factors are exact, so the result is the double that is nearest to the text.
std::optional<double> parse_number(std::string_view text) {
  const auto number = parse_short(text);
  if (!number || std::abs(number->exponent) > kMostTens) return base::parse_double(text);
  const auto units = static_cast<double>(number->units);
  const double tens = kTens[static_cast<std::size_t>(std::abs(number->exponent))];
  return number->exponent < 0 ? units / tens : units * tens;
}

constexpr std::int64_t kMostMillis = 9'000'000'000'000'000;

/// Milliseconds of Unix seconds.
std::optional<std::int64_t> parse_millis(std::string_view text) {
  constexpr std::int64_t kMostUnits = kMostMillis / 1000;
  const auto number = parse_short(text);
  if (number && number->exponent <= 0 && number->exponent >= -3 &&
      (number->exponent == -3 || std::abs(number->units) <= kMostUnits)) {
    constexpr std::array<std::int64_t, 4> kMillis = {1000, 100, 10, 1};
    const std::int64_t millis =
        number->units * kMillis[static_cast<std::size_t>(-number->exponent)];
    return std::abs(millis) > kMostMillis ? std::nullopt : std::optional(millis);
  }
  const auto seconds = base::parse_double(text);
  if (!seconds || !std::isfinite(*seconds) || std::abs(*seconds) * 1000 > kMostMillis) {
    return std::nullopt;
  }
  return std::llround(*seconds * 1000);
}

/// The length of `name` or `name{...}` at the front of a line; npos when it has no end.
std::size_t head_length(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size() && !is_blank(text[at]) && text[at] != '{') ++at;
  if (at == text.size()) return std::string_view::npos;
  const std::size_t name_end = at;
  while (at < text.size() && is_blank(text[at])) ++at;
  if (at == text.size() || text[at] != '{') return name_end;
  bool quoted = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (quoted && c == '\\') {
      ++at;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == '}' && !quoted) {
      return at + 1;
    }
  }
  return std::string_view::npos;
}

/// The same at a fraction of the time: a value and a timestamp have no brace, so the head ends with
/// the last one of the line. Only an exemplar has braces too, and a # in front of them.
std::size_t quick_head_length(std::string_view text) {
  if (text.contains('#')) return head_length(text);
  const auto brace = text.rfind('}');
  if (brace != std::string_view::npos) return brace + 1;
  const auto blank = text.find_first_of(" \t");
  return text.contains('{') ? std::string_view::npos : blank;
}

std::unexpected<Error> bad(std::string_view expected) {
  return fail(Errc::kInvalidArgument, "expected {}", expected);
}

Result<std::int64_t> parse_timestamp(std::string_view text, ExpositionFormat format) {
  if (format == ExpositionFormat::kText) {
    if (const auto millis = base::parse_int(text)) return *millis;
    return fail(Errc::kInvalidArgument, "expected Unix milliseconds as the timestamp, got \"{}\"",
                base::sanitize_utf8(text.substr(0, 40)));
  }
  if (const auto millis = parse_millis(text)) return *millis;
  return fail(Errc::kInvalidArgument, "expected Unix seconds as the timestamp, got \"{}\"",
              base::sanitize_utf8(text.substr(0, 40)));
}

/// One `name="value"`, or a quoted metric name, which may stand in the braces.
Status take_label(std::string_view& rest, std::vector<Label>& labels) {
  std::string name;
  const bool quoted = rest.starts_with('"');
  if (quoted) {
    auto text = take_quoted(rest);
    if (!text) return bad("the end of a quoted name");
    name = std::move(*text);
  } else {
    name = take_name(rest, false);
    if (name.empty()) return bad("a label name");
  }
  skip_blanks(rest);
  if (quoted && !rest.starts_with('=')) {
    if (!labels.front().value.empty()) return bad("one metric name");
    labels.front().value = std::move(name);
    return {};
  }
  if (rest.starts_with('=')) {
    rest.remove_prefix(1);
    skip_blanks(rest);
  } else {
    return bad("=\" after the label's name");
  }
  if (!rest.starts_with('"')) return bad("=\" after the label's name");
  auto value = take_quoted(rest);
  if (!value) return bad("the end of a label's value");
  for (const auto& other : labels) {
    if (other.name == name) return bad(fmt::format("the label {} once", name));
  }
  labels.push_back({std::move(name), std::move(*value)});
  return {};
}

MetricType type_of(std::string_view word) {
  if (word == "counter") return MetricType::kCounter;
  if (word == "gauge" || word == "info" || word == "stateset") return MetricType::kGauge;
  if (word == "histogram" || word == "gaugehistogram") return MetricType::kHistogram;
  if (word == "summary") return MetricType::kSummary;
  return MetricType::kUntyped;
}

}  // namespace

ExpositionFormat exposition_format(std::string_view content_type) noexcept {
  return content_type.starts_with("application/openmetrics-text") ? ExpositionFormat::kOpenMetrics
                                                                  : ExpositionFormat::kText;
}

namespace {

Result<ExpositionSample> parse_values(std::string_view rest, ExpositionFormat format) {
  ExpositionSample sample;
  const auto value_text = take_word(rest);
  const auto value = parse_number(value_text);
  if (!value) {
    return fail(Errc::kInvalidArgument, "expected a number as the value, got \"{}\"",
                base::sanitize_utf8(value_text.substr(0, 40)));
  }
  sample.value = *value;
  const auto time_text = take_word(rest);
  const bool exemplars = format == ExpositionFormat::kOpenMetrics;
  if (time_text.empty() || (exemplars && time_text == "#")) return sample;
  const auto time = parse_timestamp(time_text, format);
  if (!time) return std::unexpected(time.error());
  sample.time = *time;
  const auto more = take_word(rest);
  if (!more.empty() && !(exemplars && more == "#"))
    return bad("the end of the line after the timestamp");
  return sample;
}

}  // namespace

Result<ExpositionSample> parse_exposition_line(std::string_view line, ExpositionFormat format) {
  const auto length = quick_head_length(line);
  if (length == std::string_view::npos || length == 0) return bad("a metric and a value");
  auto sample = parse_values(line.substr(length), format);
  if (sample) sample->head = line.substr(0, length);
  return sample;
}

std::optional<Result<ExpositionSample>> parse_after_head(std::string_view rest,
                                                         ExpositionFormat format) {
  if (rest.empty() || !is_blank(rest.front())) return std::nullopt;
  skip_blanks(rest);
  if (rest.starts_with('{')) return std::nullopt;
  return parse_values(rest, format);
}

std::optional<TimedValue> parse_usual(std::string_view rest) noexcept {
  constexpr std::size_t kMostDigits = 15;  // of a value: below 2^53
  constexpr std::size_t kMostSecondDigits = 12;
  const char* at = rest.data();
  const char* const end = at + rest.size();
  if (at == end || *at++ != ' ') return std::nullopt;
  const bool negative = at < end && *at == '-';
  at += negative ? 1 : 0;
  std::uint64_t units = 0;
  std::size_t digits = take_digits(at, end, units);
  if (digits == 0) return std::nullopt;
  int exponent = 0;
  if (at < end && *at == '.') {
    const std::size_t decimals = take_digits(++at, end, units);
    if (decimals == 0) return std::nullopt;
    digits += decimals;
    exponent = -static_cast<int>(std::min(decimals, kMostDigits));
  }
  if (digits > kMostDigits || (negative && units == 0)) return std::nullopt;
  if (at < end && *at == 'e') {
    const char* const word = ++at;
    while (at < end && *at != ' ') ++at;
    const auto given = parse_exponent({word, static_cast<std::size_t>(at - word)});
    if (!given) return std::nullopt;
    exponent += *given;
    if (std::abs(exponent) > kMostTens) return std::nullopt;
  }
  if (at == end || *at++ != ' ') return std::nullopt;
  std::uint64_t millis = 0;
  const std::size_t second_digits = take_digits(at, end, millis);
  if (second_digits == 0 || second_digits > kMostSecondDigits) return std::nullopt;
  std::size_t decimals = 0;
  if (at < end && *at == '.') {
    decimals = take_digits(++at, end, millis);
    if (decimals == 0 || decimals > 3) return std::nullopt;
  }
  if (at != end) return std::nullopt;
  for (; decimals < 3; ++decimals) millis *= 10;
  // Both factors are exact, so the result is the double that is nearest to the text.
  const double tens = kTens[static_cast<std::size_t>(std::abs(exponent))];
  const auto whole = static_cast<double>(static_cast<std::int64_t>(units));
  const double value = exponent == 0 ? whole : exponent < 0 ? whole / tens : whole * tens;
  return TimedValue{negative ? -value : value, static_cast<std::int64_t>(millis)};
}

Result<std::vector<Label>> parse_exposition_head(std::string_view head) {
  if (!base::is_valid_utf8(head)) return fail(Errc::kInvalidArgument, "not valid UTF-8");
  auto rest = head;
  std::vector<Label> labels = {{std::string(kMetricName), std::string(take_name(rest, true))}};
  skip_blanks(rest);
  if (rest.empty() ? labels[0].value.empty() : !rest.starts_with('{')) return bad("a metric name");
  if (!rest.empty()) rest.remove_prefix(1);
  skip_blanks(rest);
  while (!rest.empty() && rest != "}") {
    if (auto taken = take_label(rest, labels); !taken) return std::unexpected(taken.error());
    skip_blanks(rest);
    if (rest.starts_with(',')) {
      rest.remove_prefix(1);
      skip_blanks(rest);
    } else if (rest != "}") {
      return bad("a comma or } after a label");
    }
  }
  if (labels[0].value.empty()) return bad("a metric name");
  return labels;
}

HeadKey key_of(std::string_view head) noexcept {
  return {hash_bytes(head, hash_seed()), hash_bytes(head, hash_seed() ^ kSecondKey)};
}

void ExpositionReader::feed(std::string_view bytes) {
  cutter_.feed(
      bytes, [this](std::string_view text) { line(text); },
      [this](std::string_view) { too_long(); });
}

void ExpositionReader::finish() {
  cutter_.finish([this](std::string_view text) { line(text); },
                 [this](std::string_view) { too_long(); });
}

void ExpositionReader::too_long() {
  handler_.on_mistake(++lines_, fmt::format("longer than {} bytes", kMaxLine));
}

void ExpositionReader::line(std::string_view text) {
  ++lines_;
  if (text.ends_with('\r')) text.remove_suffix(1);
  skip_blanks(text);
  if (text.empty()) return;
  if (ended_) return handler_.on_mistake(lines_, "nothing may follow # EOF");
  if (text.front() == '#') return comment(text);
  const auto sample = parse_exposition_line(text, format_);
  if (!sample) return handler_.on_mistake(lines_, sample.error().message());
  if (const Status done = handler_.on_sample(*sample); !done)
    handler_.on_mistake(lines_, done.error().message());
}

void ExpositionReader::comment(std::string_view text) {
  if (format_ == ExpositionFormat::kOpenMetrics && text == "# EOF") {
    ended_ = true;
    return;
  }
  auto rest = text.substr(1);
  const auto word = base::take_word(rest);
  if (word != "TYPE" && word != "HELP") return;
  const auto family = base::take_word(rest);
  if (family.empty() || !base::is_valid_utf8(text)) return;
  if (word == "HELP") {
    handler_.on_help(family, base::trim(rest));
  } else {
    handler_.on_type(family, type_of(base::take_word(rest)));
  }
}

}  // namespace nexus::knowledge
