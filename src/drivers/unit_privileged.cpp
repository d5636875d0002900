#include "nexus/drivers/unit_privileged.hpp"

#include <systemd/sd-bus.h>

#include "drivers/bus.hpp"
#include "drivers/unit_job.hpp"

namespace nexus::drivers {
namespace {

/// Reading all unit files anew, generators with it, takes its time.
constexpr Millis kReloadLimit{60'000};

/// A connection, and what is said of a unit when something goes wrong: "enable web.service".
struct Asked {
  std::string unit;
  std::string what;
  Bus bus;
};

Result<Asked> ask(std::string_view verb, std::string_view unit, const std::string& address) {
  auto name = normalize_unit_name(unit);
  if (!name) return propagate(std::move(name));
  auto what = fmt::format("{} {}", verb, *name);
  auto bus = open_ready_bus(address);
  if (!bus) return propagate(std::move(bus), "{}", what);
  return Asked{.unit = *std::move(name), .what = std::move(what), .bus = *std::move(bus)};
}

int append(sd_bus_message* message, const std::string& unit,
           std::span<const host::NumberProperty> properties) {
  int r = sd_bus_message_append(message, "sb", unit.c_str(), 1);  // 1: at run time only
  if (r >= 0) r = sd_bus_message_open_container(message, SD_BUS_TYPE_ARRAY, "(sv)");
  for (const auto& property : properties) {
    if (r < 0) return r;
    const std::string name(property.name);
    r = sd_bus_message_append(message, "(sv)", name.c_str(), "t", property.value);
  }
  return r >= 0 ? sd_bus_message_close_container(message) : r;
}

Status reload_files(sd_bus* bus, std::string_view what) {
  auto message = request(bus, kManagerPath, kManager, "Reload");
  if (!message) return propagate(std::move(message));
  auto reply = call(bus, message->get(), what, kReloadLimit);
  if (!reply) return propagate(std::move(reply));
  return {};
}

}  // namespace

Result<host::JobOutcome> UnitPrivileged::unit_job(host::UnitJob job, std::string_view unit,
                                                  const host::JobWait& wait) {
  auto asked = ask(to_string(job), unit, address_);
  if (!asked) return propagate(std::move(asked));
  return run_job(asked->bus.get(), clock_, job, asked->unit, wait);
}

Status UnitPrivileged::reset_unit(std::string_view unit) {
  auto asked = ask("reset-failed", unit, address_);
  if (!asked) return propagate(std::move(asked));
  auto* const bus = asked->bus.get();
  auto message = request(bus, kManagerPath, kManager, "ResetFailedUnit");
  if (!message) return propagate(std::move(message));
  sd_bus_message_append(message->get(), "s", asked->unit.c_str());
  auto reply = call(bus, message->get(), asked->what);
  if (reply) return {};
  // A unit that systemd has not loaded has nothing to reset, which is what was asked for.
  if (reply.error().code() == Errc::kNotFound) {
    const auto status = read_status(bus, asked->unit);
    if (status && status->load_state != "not-found") return {};
  }
  return propagate(std::move(reply));
}

Status UnitPrivileged::set_unit_properties(std::string_view unit,
                                           std::span<const host::NumberProperty> properties) {
  auto asked = ask("set properties of", unit, address_);
  if (!asked) return propagate(std::move(asked));
  auto message = request(asked->bus.get(), kManagerPath, kManager, "SetUnitProperties");
  if (!message) return propagate(std::move(message));
  if (const int r = append(message->get(), asked->unit, properties); r < 0)
    return std::unexpected(bus_error(r, asked->what));
  auto reply = call(asked->bus.get(), message->get(), asked->what);
  if (!reply) return propagate(std::move(reply));
  return {};
}

Status UnitPrivileged::set_unit_enabled(std::string_view unit, bool enabled) {
  auto asked = ask(enabled ? "enable" : "disable", unit, address_);
  if (!asked) return propagate(std::move(asked));
  auto* const bus = asked->bus.get();
  auto message =
      request(bus, kManagerPath, kManager, enabled ? "EnableUnitFiles" : "DisableUnitFiles");
  if (!message) return propagate(std::move(message));
  // At run time only: no; and what is in the way is not overwritten.
  int r = sd_bus_message_append(message->get(), "as", 1, asked->unit.c_str());
  if (r >= 0) r = sd_bus_message_append(message->get(), "b", 0);
  if (r >= 0 && enabled) r = sd_bus_message_append(message->get(), "b", 0);
  if (r < 0) return std::unexpected(bus_error(r, asked->what));
  auto reply = call(bus, message->get(), asked->what, kReloadLimit);
  if (!reply) return propagate(std::move(reply));
  int has_install = 1;
  if (enabled) r = sd_bus_message_read(reply->get(), "b", &has_install);
  if (r < 0) return std::unexpected(bus_error(r, asked->what));
  if (has_install == 0)
    return fail(Errc::kConflict, "{}: its file has no [Install] section to enable it by",
                asked->what);
  return reload_files(bus, asked->what);
}

}  // namespace nexus::drivers
