#include "nexus/base/text.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <ctime>
#include <limits>

#include "base/special_double.hpp"

namespace nexus::base {
namespace {

constexpr std::string_view kBlank = " \t\r\n";

struct DurationUnit {
  std::string_view suffix;
  std::int64_t millis;
};
// Longest first, so that "ms" is not read as minutes.
constexpr std::array kDurationUnits{
    DurationUnit{"ms", 1},          DurationUnit{"y", 31'536'000'000},
    DurationUnit{"w", 604'800'000}, DurationUnit{"d", 86'400'000},
    DurationUnit{"h", 3'600'000},   DurationUnit{"m", 60'000},
    DurationUnit{"s", 1'000},
};

std::unexpected<Error> bad_duration(std::string_view text) {
  return fail(Errc::kInvalidArgument,
              "\"{}\" is not a duration: expected a number of seconds or e.g. \"250ms\", \"30s\", "
              "\"1h30m\", \"7d\"",
              text);
}

bool equals_ignoring_case(std::string_view left, std::string_view right) noexcept {
  if (left.size() != right.size()) return false;
  for (std::size_t i = 0; i < left.size(); ++i) {
    if ((static_cast<unsigned char>(left[i]) | 0x20U) !=
        (static_cast<unsigned char>(right[i]) | 0x20U))
      return false;
  }
  return true;
}

// Length of the valid UTF-8 sequence at the front of `text`, 0 if it is invalid (RFC 3629).
std::size_t utf8_length(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto follows = [&](std::size_t i) { return i < text.size() && (byte(i) & 0xC0U) == 0x80U; };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!follows(1) || !follows(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!follows(1) || !follows(2) || !follows(3)) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

}  // namespace

std::string_view trim(std::string_view text) noexcept {
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::string_view take_until(std::string_view& rest, char separator) noexcept {
  const auto end = rest.find(separator);
  const auto head = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return head;
}

std::string_view take_word(std::string_view& rest) noexcept {
  const auto first = rest.find_first_not_of(kBlank);
  if (first == std::string_view::npos) {
    rest = {};
    return {};
  }
  rest.remove_prefix(first);
  const auto end = rest.find_first_of(kBlank);
  const auto word = rest.substr(0, end);
  rest.remove_prefix(word.size());
  return word;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const auto end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<std::uint64_t> parse_uint(std::string_view text, int radix) noexcept {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, radix);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::int64_t> parse_int(std::string_view text) noexcept {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> parse_double(std::string_view text) noexcept {
  std::string_view digits = text;
  if (digits.starts_with('+')) {
    digits.remove_prefix(1);
    if (digits.starts_with('-')) return std::nullopt;
  }
  const std::string_view magnitude = digits.starts_with('-') ? digits.substr(1) : digits;
  if (equals_ignoring_case(magnitude, "inf") || equals_ignoring_case(magnitude, "infinity")) {
    return digits.starts_with('-') ? -std::numeric_limits<double>::infinity()
                                   : std::numeric_limits<double>::infinity();
  }
  if (equals_ignoring_case(digits, "nan")) return std::numeric_limits<double>::quiet_NaN();
  // from_chars would also take "nan(...)"; only digits and a point may start a number.
  if (magnitude.empty() ||
      !((magnitude.front() >= '0' && magnitude.front() <= '9') || magnitude.front() == '.')) {
    return std::nullopt;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (end != digits.data() + digits.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) return std::nullopt;
  if (error != std::errc{}) return std::nullopt;
  return value;
}

Result<Millis> parse_duration(std::string_view text) {
  if (const auto seconds = parse_double(text)) {
    if (!std::isfinite(*seconds) || *seconds < 0 || *seconds > 3.2e9) return bad_duration(text);
    return Millis(std::llround(*seconds * 1000.0));
  }
  std::string_view rest = text;
  std::int64_t total = 0;
  std::int64_t last_unit = std::numeric_limits<std::int64_t>::max();
  while (!rest.empty()) {
    const auto digits = rest.substr(0, rest.find_first_not_of("0123456789"));
    const auto number = parse_uint(digits);
    rest.remove_prefix(digits.size());
    const DurationUnit* unit = nullptr;
    for (const auto& candidate : kDurationUnits) {
      if (rest.starts_with(candidate.suffix)) {
        unit = &candidate;
        break;
      }
    }
    // Prometheus wants each unit once, largest first.
    if (!number || unit == nullptr || unit->millis >= last_unit ||
        *number > 1'000'000'000'000ULL / static_cast<std::uint64_t>(unit->millis) * 4) {
      return bad_duration(text);
    }
    last_unit = unit->millis;
    total += static_cast<std::int64_t>(*number) * unit->millis;
    rest.remove_prefix(unit->suffix.size());
  }
  if (text.empty()) return bad_duration(text);
  return Millis(total);
}

std::string format_duration(Millis duration) {
  std::int64_t left = duration.count();
  if (left == 0) return "0s";
  std::string out;
  if (left < 0) {
    out += '-';
    left = -left;
  }
  for (const std::string_view suffix : {"d", "h", "m", "s", "ms"}) {
    for (const auto& unit : kDurationUnits) {
      if (unit.suffix != suffix || left < unit.millis) continue;
      fmt::format_to(std::back_inserter(out), "{}{}", left / unit.millis, suffix);
      left %= unit.millis;
    }
  }
  return out;
}

Result<std::uint64_t> parse_bytes(std::string_view text) {
  const auto bad = [&] {
    return fail(Errc::kInvalidArgument,
                "\"{}\" is not a size: expected e.g. \"64MiB\", \"2G\" or a number of bytes", text);
  };
  const auto digits = text.substr(0, text.find_first_not_of("0123456789"));
  const auto number = parse_uint(digits);
  if (!number) return bad();
  auto suffix = trim(text.substr(digits.size()));
  constexpr std::string_view kPowers = "KMGT";
  int power = 0;
  if (!suffix.empty()) {
    const char first = static_cast<char>(suffix.front() & ~0x20);
    if (const auto at = kPowers.find(first); at != std::string_view::npos) {
      power = static_cast<int>(at) + 1;
      suffix.remove_prefix(1);
      if (suffix.starts_with('i')) suffix.remove_prefix(1);
    }
    if (suffix == "B" || suffix == "b") suffix.remove_prefix(1);
  }
  if (!suffix.empty() || *number > (std::numeric_limits<std::uint64_t>::max() >> (10 * power)))
    return bad();
  return *number << (10 * power);
}

void append_double(std::string& out, double value) {
  if (append_special(out, value)) return;
  std::array<char, 32> buffer;
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  out.append(buffer.data(), result.ptr);
}

std::string format_double(double value) {
  std::string out;
  append_double(out, value);
  return out;
}

bool is_valid_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const auto length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string sanitize_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto length = utf8_length(text);
    if (length == 0) {
      out += "\xEF\xBF\xBD";
      text.remove_prefix(1);
    } else {
      out += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return out;
}

std::uint64_t fnv1a(std::string_view text, std::uint64_t seed) noexcept {
  for (const char c : text) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return seed;
}

Result<WallTime> parse_time(std::string_view text) {
  const auto bad = [&] {
    return fail(Errc::kInvalidArgument, "\"{}\" is not a time: expected RFC 3339 or Unix seconds",
                text);
  };
  if (const auto seconds = parse_double(text)) {
    if (!std::isfinite(*seconds) || std::abs(*seconds) > 9.2e15) return bad();
    return from_unix_millis(std::llround(*seconds * 1000.0));
  }
  std::tm utc{};
  const std::string copy(text);
  const char* rest = strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%S", &utc);
  if (rest == nullptr) return bad();
  std::int64_t millis = static_cast<std::int64_t>(timegm(&utc)) * 1000;
  if (*rest == '.') {
    ++rest;
    std::int64_t scale = 100;
    if (*rest < '0' || *rest > '9') return bad();
    for (; *rest >= '0' && *rest <= '9'; ++rest, scale /= 10) millis += (*rest - '0') * scale;
  }
  if (*rest == 'Z' && rest[1] == '\0') return from_unix_millis(millis);
  const std::string_view offset(rest);
  if (offset.size() != 6 || (offset[0] != '+' && offset[0] != '-') || offset[3] != ':')
    return bad();
  const auto hours = parse_uint(offset.substr(1, 2));
  const auto minutes = parse_uint(offset.substr(4, 2));
  if (!hours || !minutes || *hours > 23 || *minutes > 59) return bad();
  const auto shift = static_cast<std::int64_t>(*hours * 3600 + *minutes * 60) * 1000;
  return from_unix_millis(millis - (offset[0] == '+' ? shift : -shift));
}

}  // namespace nexus::base
