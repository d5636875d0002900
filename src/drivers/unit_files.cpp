#include "nexus/drivers/unit_files.hpp"

#include <systemd/sd-bus.h>

#include "drivers/bus.hpp"

namespace nexus::drivers {
namespace {

/// Reading all unit files anew, generators with it, takes its time.
constexpr Millis kReloadLimit{60'000};

Result<Bus> ready_bus(const std::string& address, std::string_view what) {
  auto bus = open_bus(address);
  if (!bus) return propagate(std::move(bus), "{}", what);
  if (auto ready = await_ready(bus->get()); !ready) return propagate(std::move(ready), "{}", what);
  return bus;
}

Status reload_files(sd_bus* bus, std::string_view what) {
  auto message = request(bus, kManagerPath, kManager, "Reload");
  if (!message) return propagate(std::move(message));
  auto reply = call(bus, message->get(), what, kReloadLimit);
  if (!reply) return propagate(std::move(reply));
  return {};
}

enum class Wish { kEnable, kDisable };

Status change(std::string_view unit, Wish wish, const std::string& address) {
  const auto name = normalize_unit_name(unit);
  if (!name) return std::unexpected(name.error());
  const bool enable = wish == Wish::kEnable;
  const std::string what = (enable ? "enable " : "disable ") + *name;
  auto bus = ready_bus(address, what);
  if (!bus) return propagate(std::move(bus));
  auto message =
      request(bus->get(), kManagerPath, kManager, enable ? "EnableUnitFiles" : "DisableUnitFiles");
  if (!message) return propagate(std::move(message));
  // At run time only: no; and what is in the way is not overwritten.
  int r = sd_bus_message_append(message->get(), "as", 1, name->c_str());
  if (r >= 0) r = sd_bus_message_append(message->get(), "b", 0);
  if (r >= 0 && enable) r = sd_bus_message_append(message->get(), "b", 0);
  if (r < 0) return std::unexpected(bus_error(r, what));
  auto reply = call(bus->get(), message->get(), what, kReloadLimit);
  if (!reply) return propagate(std::move(reply));
  int has_install = 1;
  if (enable) r = sd_bus_message_read(reply->get(), "b", &has_install);
  if (r < 0) return std::unexpected(bus_error(r, what));
  if (has_install == 0)
    return fail(Errc::kConflict, "{}: its file has no [Install] section to enable it by", what);
  return reload_files(bus->get(), what);
}

}  // namespace

Result<std::string> unit_file_state(std::string_view unit, const std::string& address) {
  const auto name = normalize_unit_name(unit);
  if (!name) return std::unexpected(name.error());
  const std::string what = "file of " + *name;
  auto bus = ready_bus(address, what);
  if (!bus) return propagate(std::move(bus));
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

Status enable_unit_file(std::string_view unit, const std::string& address) {
  return change(unit, Wish::kEnable, address);
}
Status disable_unit_file(std::string_view unit, const std::string& address) {
  return change(unit, Wish::kDisable, address);
}

}  // namespace nexus::drivers
