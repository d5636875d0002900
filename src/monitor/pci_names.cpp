#include "monitor/pci_names.hpp"

#include <fmt/format.h>

#include <optional>
#include <unordered_map>

#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

// Keys of what a line names: two bits of kind, then the numbers that lead to it.
enum Kind : std::uint64_t { kVendor, kDevice, kClass };

constexpr std::uint64_t key_of(Kind kind, std::uint64_t depth, std::uint64_t numbers) {
  return (static_cast<std::uint64_t>(kind) << 62U) | (depth << 56U) | numbers;
}
constexpr std::uint64_t vendor_key(std::uint16_t vendor) {
  return key_of(kVendor, 0, vendor);
}
constexpr std::uint64_t device_key(const PciIds& ids) {
  return key_of(kDevice, 0, (static_cast<std::uint64_t>(ids.vendor) << 16U) | ids.device);
}
constexpr std::uint64_t class_key(std::uint32_t class_id, unsigned depth) {
  return key_of(kClass, depth, class_id >> (16U - 8U * depth));
}

/// Subsystems need four numbers: a table of their own.
struct Subsystem {
  std::uint64_t device;
  std::uint32_t numbers;
  bool operator==(const Subsystem&) const = default;
};
struct HashSubsystem {
  std::size_t operator()(const Subsystem& one) const noexcept {
    return std::hash<std::uint64_t>{}(one.device * 0x9e37'79b9'7f4a'7c15U ^ one.numbers);
  }
};

/// A line without its indentation: numbers, two blanks, a name.
struct Line {
  std::string_view numbers;
  std::string_view name;
};
std::optional<Line> split(std::string_view text) {
  const std::size_t gap = text.find("  ");
  if (gap == std::string_view::npos) return std::nullopt;
  return Line{base::trim(text.substr(0, gap)), base::trim(text.substr(gap))};
}

class Reader {
 public:
  explicit Reader(const std::vector<PciIds>& wanted) {
    for (const PciIds& ids : wanted) {
      names_.try_emplace(vendor_key(ids.vendor));
      names_.try_emplace(vendor_key(ids.subsystem_vendor));
      names_.try_emplace(device_key(ids));
      for (unsigned depth = 0; depth < 3; ++depth)
        names_.try_emplace(class_key(ids.class_id, depth));
      subsystems_.try_emplace(subsystem_of(ids));
    }
  }

  void read(std::string_view text) {
    while (!text.empty()) {
      std::string_view line = base::take_until(text, '\n');
      if (line.empty() || line.front() == '#') continue;
      std::size_t depth = 0;
      while (depth < 2 && line.starts_with('\t')) {
        line.remove_prefix(1);
        ++depth;
      }
      take(depth, line);
    }
  }

  [[nodiscard]] PciNames names_of(const PciIds& ids) const {
    PciNames out;
    out.vendor = name_or(vendor_key(ids.vendor), ids.vendor);
    out.device = name_or(device_key(ids), ids.device);
    out.subsystem_vendor = name_or(vendor_key(ids.subsystem_vendor), ids.subsystem_vendor);
    const std::string& subsystem = subsystems_.at(subsystem_of(ids));
    out.subsystem_device =
        subsystem.empty() ? fmt::format("{:04x}", ids.subsystem_device) : subsystem;
    for (unsigned depth = 3; depth-- > 0 && out.class_name.empty();)
      out.class_name = names_.at(class_key(ids.class_id, depth));
    if (out.class_name.empty())
      out.class_name = fmt::format("Unknown class ({:06x})", ids.class_id);
    return out;
  }

 private:
  static Subsystem subsystem_of(const PciIds& ids) {
    return {device_key(ids),
            (static_cast<std::uint32_t>(ids.subsystem_vendor) << 16U) | ids.subsystem_device};
  }

  [[nodiscard]] std::string name_or(std::uint64_t key, std::uint16_t number) const {
    const std::string& name = names_.at(key);
    return name.empty() ? fmt::format("{:04x}", number) : name;
  }

  void take(std::size_t depth, std::string_view text) {
    if (depth == 0) {
      in_classes_ = text.starts_with("C ");
      known_[1] = false;
    }
    if (depth == 0 && in_classes_) text.remove_prefix(2);
    const auto line = split(text);
    if (!line) {
      if (depth < 2) known_[depth] = false;
      return;
    }
    if (in_classes_) {
      take_class(depth, *line);
    } else {
      take_device(depth, *line);
    }
  }

  /// The number of the line at `depth`, when those above it are known.
  std::optional<std::uint64_t> number_at(std::size_t depth, std::string_view text,
                                         std::uint64_t most) {
    const auto number = base::parse_uint(text, 16);
    const bool is_known = number && *number <= most && (depth == 0 || known_[depth - 1]);
    if (depth < 2) known_[depth] = is_known;
    if (!is_known) return std::nullopt;
    return number;
  }

  void take_class(std::size_t depth, const Line& line) {
    const auto number = number_at(depth, line.numbers, 0xff);
    if (!number) return;
    const std::uint64_t above = depth == 0 ? 0 : above_[depth - 1];
    const std::uint64_t numbers = (above << 8U) | *number;
    if (depth < 2) above_[depth] = numbers;
    keep(key_of(kClass, depth, numbers), line.name);
  }

  void take_device(std::size_t depth, const Line& line) {
    if (depth == 2) return take_subsystem(line);
    const auto number = number_at(depth, line.numbers, 0xffff);
    if (!number) return;
    above_[depth] = depth == 0 ? *number : (above_[0] << 16U) | *number;
    keep(key_of(depth == 0 ? kVendor : kDevice, 0, above_[depth]), line.name);
  }

  void take_subsystem(const Line& line) {
    if (!known_[0] || !known_[1]) return;
    std::string_view rest = line.numbers;
    const auto vendor = base::parse_uint(base::take_until(rest, ' '), 16);
    const auto device = base::parse_uint(base::trim(rest), 16);
    if (!vendor || !device || *vendor > 0xffff || *device > 0xffff) return;
    const auto found = subsystems_.find(
        {key_of(kDevice, 0, above_[1]), static_cast<std::uint32_t>((*vendor << 16U) | *device)});
    if (found != subsystems_.end()) found->second = base::sanitize_utf8(line.name);
  }

  void keep(std::uint64_t key, std::string_view name) {
    const auto found = names_.find(key);
    if (found != names_.end()) found->second = base::sanitize_utf8(name);
  }

  std::unordered_map<std::uint64_t, std::string> names_;  // those that are wanted
  std::unordered_map<Subsystem, std::string, HashSubsystem> subsystems_;
  bool in_classes_ = false;
  bool known_[2] = {false, false};   // whether the lines above have numbers
  std::uint64_t above_[2] = {0, 0};  // their numbers
};

}  // namespace

std::vector<PciNames> find_pci_names(std::string_view text, const std::vector<PciIds>& wanted) {
  Reader reader(wanted);
  reader.read(text);
  std::vector<PciNames> out;
  out.reserve(wanted.size());
  for (const PciIds& ids : wanted) out.push_back(reader.names_of(ids));
  return out;
}

}  // namespace nexus::monitor
