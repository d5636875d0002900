// Names of PCI vendors, devices, subsystems and classes, of a pci.ids file (pci.ids(5)): lines
// "VENDOR  NAME", below it "\tDEVICE  NAME" and "\t\tSUBVENDOR SUBDEVICE  NAME"; "C CLASS  NAME",
// below it "\tSUBCLASS  NAME" and "\t\tINTERFACE  NAME". All numbers hexadecimal, in lower case.
//
// Only the names that were asked for are kept: the file has some 40,000 lines, a host some 50
// devices. Thread safety: one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/result.hpp"

namespace nexus::monitor {

/// What a device says of itself.
struct PciIds {
  std::uint32_t class_id = 0;  // 24 bits: class, subclass, interface
  std::uint16_t vendor = 0;
  std::uint16_t device = 0;
  std::uint16_t subsystem_vendor = 0;
  std::uint16_t subsystem_device = 0;
  auto operator<=>(const PciIds&) const = default;
};

/// What has no name is its number, as node_exporter has it.
struct PciNames {
  std::string vendor;
  std::string device;
  std::string subsystem_vendor;
  std::string subsystem_device;
  std::string class_name;
  bool operator==(const PciNames&) const = default;
};

/// Names of `wanted`, in that order, told from the text of a pci.ids file. Invalid UTF-8 is
/// replaced; lines of any other form are passed over.
[[nodiscard]] std::vector<PciNames> find_pci_names(std::string_view text,
                                                   const std::vector<PciIds>& wanted);

}  // namespace nexus::monitor
