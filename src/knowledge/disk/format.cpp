#include "knowledge/disk/format.hpp"

#include <fmt/core.h>

#include <limits>

#include "nexus/base/text.hpp"

namespace nexus::knowledge::disk {

std::string segment_name(std::string_view stream, std::uint32_t number) {
  return fmt::format("{}-{:08}{}", stream, number, kSegmentSuffix);
}

std::optional<std::uint32_t> segment_number(std::string_view stream, std::string_view name) {
  if (!name.starts_with(stream) || !name.ends_with(kSegmentSuffix)) return std::nullopt;
  name.remove_prefix(stream.size());
  name.remove_suffix(kSegmentSuffix.size());
  if (!name.starts_with('-') || name.size() < 9) return std::nullopt;
  const auto number = base::parse_uint(name.substr(1), 10);
  if (!number || *number > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  return static_cast<std::uint32_t>(*number);
}

}  // namespace nexus::knowledge::disk
