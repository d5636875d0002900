#include "nexus/drivers/unit_requirements.hpp"

#include <systemd/sd-bus.h>

#include <algorithm>
#include <array>
#include <set>

#include "drivers/bus.hpp"

namespace nexus::drivers {
namespace {

constexpr std::array<const char*, 3> kNeeds{"Requires", "BindsTo", "Requisite"};

/// Targets and slices order and group; what serves is a service, a socket or a mount.
bool serves(std::string_view name) {
  return name.ends_with(".service") || name.ends_with(".socket") || name.ends_with(".mount");
}

Status read_names(sd_bus* bus, const std::string& path, const char* property,
                  const std::string& what, std::set<std::string>& out) {
  auto message = request(bus, path, kProperties, "Get");
  if (!message) return propagate(std::move(message));
  if (const int r =
          sd_bus_message_append(message->get(), "ss", "org.freedesktop.systemd1.Unit", property);
      r < 0)
    return std::unexpected(bus_error(r, what));
  auto reply = call(bus, message->get(), what);
  if (!reply) return propagate(std::move(reply));
  int r = sd_bus_message_enter_container(reply->get(), SD_BUS_TYPE_VARIANT, "as");
  if (r >= 0) r = sd_bus_message_enter_container(reply->get(), SD_BUS_TYPE_ARRAY, "s");
  const char* name = nullptr;
  while (r >= 0 && (r = sd_bus_message_read(reply->get(), "s", &name)) > 0) {
    if (serves(name)) out.insert(name);
  }
  if (r < 0) return std::unexpected(bus_error(r, what));
  return {};
}

}  // namespace

Result<std::vector<std::string>> unit_requirements(std::string_view unit,
                                                   const std::string& address) {
  const auto name = normalize_unit_name(unit);
  if (!name) return std::unexpected(name.error());
  const auto what = "what " + *name + " requires";
  auto bus = open_ready_bus(address);
  if (!bus) return propagate(std::move(bus), "{}", what);
  std::set<std::string> names;
  for (const auto* property : kNeeds) {
    if (auto ok = read_names(bus->get(), unit_path(*name), property, what, names); !ok)
      return propagate(std::move(ok));
  }
  return std::vector<std::string>(names.begin(), names.end());
}

}  // namespace nexus::drivers
