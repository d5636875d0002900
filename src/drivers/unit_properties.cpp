#include "nexus/drivers/unit_properties.hpp"

#include <systemd/sd-bus.h>

#include "drivers/bus.hpp"

namespace nexus::drivers {
namespace {

int append(sd_bus_message* message, const char* unit, std::span<const NumberProperty> properties) {
  int r = sd_bus_message_append(message, "sb", unit, 1);  // 1: at run time only
  if (r >= 0) r = sd_bus_message_open_container(message, SD_BUS_TYPE_ARRAY, "(sv)");
  for (const auto& property : properties) {
    if (r < 0) return r;
    const std::string name(property.name);
    r = sd_bus_message_append(message, "(sv)", name.c_str(), "t", property.value);
  }
  return r >= 0 ? sd_bus_message_close_container(message) : r;
}

}  // namespace

Status set_unit_properties(std::string_view unit, std::span<const NumberProperty> properties,
                           const std::string& address) {
  const auto name = normalize_unit_name(unit);
  if (!name) return std::unexpected(name.error());
  auto bus = open_bus(address);
  if (!bus) return propagate(std::move(bus), "set properties of {}", *name);
  if (auto ready = await_ready(bus->get()); !ready)
    return propagate(std::move(ready), "set properties of {}", *name);
  auto message = request(bus->get(), kManagerPath, kManager, "SetUnitProperties");
  if (!message) return propagate(std::move(message));
  if (const int r = append(message->get(), name->c_str(), properties); r < 0)
    return std::unexpected(bus_error(r, "set properties of " + *name));
  auto reply = call(bus->get(), message->get(), "set properties of " + *name);
  if (!reply) return propagate(std::move(reply));
  return {};
}

}  // namespace nexus::drivers
