#include "monitor/statsd/message.hpp"

#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

constexpr std::size_t kLongestName = 512;
constexpr std::size_t kLongestLine = 4096;

std::unexpected<Error> bad(std::string_view expected) {
  return fail(Errc::kInvalidArgument, "expected {}", expected);
}

std::optional<StatsdType> type_of(std::string_view word) {
  if (word == "c") return StatsdType::kCounter;
  if (word == "g") return StatsdType::kGauge;
  if (word == "ms") return StatsdType::kTimer;
  if (word == "h") return StatsdType::kHistogram;
  if (word == "d") return StatsdType::kDistribution;
  if (word == "s") return StatsdType::kSet;
  return std::nullopt;
}

}  // namespace

Result<StatsdMessage> read_statsd(std::string_view line) {
  if (line.starts_with("_e{") || line.starts_with("_sc|"))
    return fail(Errc::kUnsupported, "events and service checks are not taken");
  if (line.size() > kLongestLine) return bad("a line of at most 4096 bytes");
  StatsdMessage out;
  const auto bar = line.find('|');
  if (bar == std::string_view::npos) return bad("name:value|type");
  const auto colon = line.substr(0, bar).find(':');
  if (colon == std::string_view::npos || colon == 0 || colon > kLongestName)
    return bad("a name of at most 512 bytes, and a value, in front of the type");
  out.name = out.before = line.substr(0, colon);
  out.values = line.substr(colon + 1, bar - colon - 1);
  out.behind = line.substr(bar);
  if (out.values.empty()) return bad("a value");
  auto rest = line.substr(bar + 1);
  const auto type = type_of(base::take_until(rest, '|'));
  if (!type) return bad("one of the types c, g, ms, h, d and s");
  out.type = *type;
  while (!rest.empty()) {
    const auto part = base::take_until(rest, '|');
    if (part.starts_with('@')) {
      const auto rate = base::parse_double(part.substr(1));
      if (!rate || !(*rate > 0) || *rate > 1) return bad("a sample rate above 0, at most 1");
      out.rate = *rate;
    } else if (part.starts_with('#')) {
      out.tags = part.substr(1);
    } else if (part.empty() || (part[0] != 'c' && part[0] != 'T' && part[0] != 'e')) {
      return bad("@rate or #tags");  // c:container and T1656581400 of DogStatsD are passed over
    }
  }
  if (!base::is_valid_utf8(line)) return fail(Errc::kInvalidArgument, "not valid UTF-8");
  return out;
}

std::string metric_name(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 1);
  if (!text.empty() && text.front() >= '0' && text.front() <= '9') out += '_';
  for (const char c : text) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_' || c == ':';
    out += good ? c : '_';
  }
  return out;
}

}  // namespace nexus::monitor
