#include "nexus/drivers/unit_files.hpp"

#include <systemd/sd-bus.h>

#include "drivers/bus.hpp"

namespace nexus::drivers {
Result<std::string> unit_file_state(std::string_view unit, const std::string& address) {
  const auto name = normalize_unit_name(unit);
  if (!name) return std::unexpected(name.error());
  const std::string what = "file of " + *name;
  auto bus = open_ready_bus(address);
  if (!bus) return propagate(std::move(bus), "{}", what);
  auto message = request(bus->get(), kManagerPath, kManager, "GetUnitFileState");
  if (!message) return propagate(std::move(message));
  sd_bus_message_append(message->get(), "s", name->c_str());
  auto reply = call(bus->get(), message->get(), what);
  if (!reply) return propagate(std::move(reply));
  const char* state = nullptr;
  if (const int r = sd_bus_message_read(reply->get(), "s", &state); r < 0)
    return std::unexpected(bus_error(r, what));
  return std::string(state);
}

}  // namespace nexus::drivers
