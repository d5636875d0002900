// A thin layer over sd-bus: owned handles, opening a connection, errors by name, and reading a
// unit's properties.
//
// Thread safety: a Bus is used by one thread at a time; the functions have no state. sd-bus.h stays
// in .cpp files.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "nexus/base/result.hpp"
#include "nexus/drivers/systemd.hpp"

struct sd_bus;
struct sd_bus_message;
struct sd_bus_slot;

namespace nexus::drivers {

inline constexpr const char* kSystemd = "org.freedesktop.systemd1";
inline constexpr const char* kManagerPath = "/org/freedesktop/systemd1";
inline constexpr const char* kManager = "org.freedesktop.systemd1.Manager";
inline constexpr const char* kProperties = "org.freedesktop.DBus.Properties";
inline constexpr const char* kUnitPaths = "/org/freedesktop/systemd1/unit";

/// The longest that any method call may take; systemd answers in well under a millisecond.
inline constexpr Millis kCallLimit{5000};

struct CloseBus {
  void operator()(sd_bus* bus) const noexcept;
};
struct UnrefMessage {
  void operator()(sd_bus_message* message) const noexcept;
};
struct UnrefSlot {
  void operator()(sd_bus_slot* slot) const noexcept;
};
using Bus = std::unique_ptr<sd_bus, CloseBus>;
using Message = std::unique_ptr<sd_bus_message, UnrefMessage>;
using Slot = std::unique_ptr<sd_bus_slot, UnrefSlot>;

/// Connects to `address`, or to the system bus when it is empty. Root falls back to systemd's
/// private socket when there is no system bus: minimal machines and early boot have no dbus-daemon.
/// Never waits for an answer.
[[nodiscard]] Result<Bus> open_bus(const std::string& address);

/// The same, and waits until the connection is authenticated, at most kCallLimit: sd-bus by itself
/// would wait 90 s.
[[nodiscard]] Result<Bus> open_ready_bus(const std::string& address);

/// The sender to match signals with: null on systemd's private socket, where messages carry no
/// sender.
[[nodiscard]] const char* signal_sender(sd_bus* bus);

/// A method call to systemd that never starts a service by D-Bus activation. Arguments are appended
/// by the caller.
[[nodiscard]] Result<Message> request(sd_bus* bus, const std::string& path, const char* interface,
                                      const char* member);
/// Sends it and waits for the reply, at most `limit`. `what` names the unit and the verb in the
/// error.
[[nodiscard]] Result<Message> call(sd_bus* bus, sd_bus_message* message, std::string_view what,
                                   Millis limit = kCallLimit);
/// The error that a reply of an asynchronous call carries, if it does.
[[nodiscard]] Status reply_status(sd_bus_message* reply, std::string_view what);
/// A negative return value of an sd-bus function.
[[nodiscard]] Error bus_error(int negative_errno, std::string_view what);

/// "web.service" -> "/org/freedesktop/systemd1/unit/web_2eservice".
[[nodiscard]] std::string unit_path(std::string_view unit);

/// Reads a dictionary a{sv} of properties, of the Unit or of the Service interface, into `status`;
/// what it does not name stays as it was. Negative errno when the message is malformed.
[[nodiscard]] int read_properties(sd_bus_message* message, UnitStatus& status);

}  // namespace nexus::drivers
