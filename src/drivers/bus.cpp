#include "drivers/bus.hpp"

#include <systemd/sd-bus.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

namespace nexus::drivers {
namespace {

constexpr const char* kPrivateSocket = "unix:path=/run/systemd/private";

Result<Bus> connect(const std::string& address, bool is_bus) {
  sd_bus* raw = nullptr;
  if (const int r = sd_bus_new(&raw); r < 0) return std::unexpected(bus_error(r, "D-Bus"));
  Bus bus(raw);
  const std::string what = "connect to " + address;
  if (const int r = sd_bus_set_address(raw, address.c_str()); r < 0) {
    return fail(Errc::kInvalidArgument, "{}: not a D-Bus address", what);
  }
  sd_bus_set_bus_client(raw, is_bus ? 1 : 0);
  sd_bus_set_method_call_timeout(raw, std::chrono::microseconds(kCallLimit).count());
  if (const int r = sd_bus_start(raw); r < 0) {
    const Error error = bus_error(r, what);
    if (error.code() == Errc::kPermissionDenied) return std::unexpected(error);
    return std::unexpected(Error(Errc::kUnavailable, error.message()));
  }
  return bus;
}

std::string system_bus_address() {
  const char* given = secure_getenv("DBUS_SYSTEM_BUS_ADDRESS");
  return given != nullptr ? given : "unix:path=/run/dbus/system_bus_socket";
}

struct NamedCode {
  std::string_view name;
  Errc code;
};
constexpr std::array kCodes = {
    NamedCode{"org.freedesktop.systemd1.NoSuchUnit", Errc::kNotFound},
    NamedCode{"org.freedesktop.systemd1.NoSuchJob", Errc::kNotFound},
    NamedCode{"org.freedesktop.systemd1.AlreadySubscribed", Errc::kAlreadyExists},
    NamedCode{"org.freedesktop.systemd1.LoadFailed", Errc::kConflict},
    NamedCode{"org.freedesktop.systemd1.BadUnitSetting", Errc::kConflict},
    NamedCode{"org.freedesktop.systemd1.UnitMasked", Errc::kConflict},
    NamedCode{"org.freedesktop.systemd1.JobTypeNotApplicable", Errc::kConflict},
    NamedCode{"org.freedesktop.systemd1.NoIsolation", Errc::kConflict},
    NamedCode{"org.freedesktop.systemd1.OnlyByDependency", Errc::kConflict},
    NamedCode{"org.freedesktop.systemd1.TransactionIsDestructive", Errc::kConflict},
    NamedCode{"org.freedesktop.systemd1.TransactionJobsConflicting", Errc::kConflict},
    NamedCode{"org.freedesktop.systemd1.TransactionOrderIsCyclic", Errc::kConflict},
    NamedCode{"org.freedesktop.systemd1.ShuttingDown", Errc::kConflict},
    NamedCode{"org.freedesktop.DBus.Error.AccessDenied", Errc::kPermissionDenied},
    NamedCode{"org.freedesktop.DBus.Error.AuthFailed", Errc::kPermissionDenied},
    NamedCode{"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
              Errc::kPermissionDenied},
    NamedCode{"org.freedesktop.DBus.Error.InvalidArgs", Errc::kInvalidArgument},
    NamedCode{"org.freedesktop.DBus.Error.NoReply", Errc::kTimeout},
    NamedCode{"org.freedesktop.DBus.Error.Timeout", Errc::kTimeout},
    NamedCode{"org.freedesktop.DBus.Error.TimedOut", Errc::kTimeout},
    NamedCode{"org.freedesktop.DBus.Error.Disconnected", Errc::kUnavailable},
    NamedCode{"org.freedesktop.DBus.Error.NameHasNoOwner", Errc::kUnavailable},
    NamedCode{"org.freedesktop.DBus.Error.NoServer", Errc::kUnavailable},
    NamedCode{"org.freedesktop.DBus.Error.ServiceUnknown", Errc::kUnavailable},
    NamedCode{"org.freedesktop.DBus.Error.LimitsExceeded", Errc::kExhausted},
};

Error named_error(const sd_bus_error& error, std::string_view what) {
  const std::string_view name = error.name;
  const std::string_view text = error.message != nullptr ? error.message : error.name;
  const auto* known = std::ranges::find(kCodes, name, &NamedCode::name);
  if (known != kCodes.end()) return {known->code, fmt::format("{}: {}", what, text)};
  // The bus tried to start a service for us, and that failed: nobody is there.
  if (name.starts_with("org.freedesktop.DBus.Error.Spawn.")) {
    return {Errc::kUnavailable, fmt::format("{}: {}", what, text)};
  }
  if (name.starts_with("System.Error.")) return bus_error(-sd_bus_error_get_errno(&error), what);
  return {Errc::kInternal, fmt::format("{}: {} ({})", what, text, name)};
}

int read_string(sd_bus_message* m, std::string& out) {
  const char* text = nullptr;
  const int r = sd_bus_message_read(m, "v", "s", &text);
  if (r >= 0) out = text;
  return r;
}

int read_uint(sd_bus_message* m, std::uint32_t& out) {
  return sd_bus_message_read(m, "v", "u", &out);
}

int read_timestamp(sd_bus_message* m, WallTime& out) {
  std::uint64_t micros = 0;
  const int r = sd_bus_message_read(m, "v", "t", &micros);
  if (r >= 0) out = WallTime(Millis(static_cast<std::int64_t>(micros / 1000)));
  return r;
}

int read_job(sd_bus_message* m, std::string& out) {
  std::uint32_t id = 0;
  const char* path = nullptr;
  const int r = sd_bus_message_read(m, "v", "(uo)", &id, &path);
  if (r >= 0) out = id == 0 ? "" : path;
  return r;
}

int read_invocation(sd_bus_message* m, std::string& out) {
  if (const int r = sd_bus_message_enter_container(m, SD_BUS_TYPE_VARIANT, "ay"); r < 0) return r;
  const void* bytes = nullptr;
  std::size_t size = 0;
  if (const int r = sd_bus_message_read_array(m, 'y', &bytes, &size); r < 0) return r;
  out.clear();
  for (std::size_t i = 0; i < size; ++i)
    out += fmt::format("{:02x}", static_cast<const std::uint8_t*>(bytes)[i]);
  return sd_bus_message_exit_container(m);
}

int read_strings(sd_bus_message* m, std::vector<std::string>& out) {
  if (const int r = sd_bus_message_enter_container(m, SD_BUS_TYPE_VARIANT, "as"); r < 0) return r;
  if (const int r = sd_bus_message_enter_container(m, SD_BUS_TYPE_ARRAY, "s"); r < 0) return r;
  out.clear();
  const char* text = nullptr;
  int r = 0;
  while ((r = sd_bus_message_read(m, "s", &text)) > 0) out.emplace_back(text);
  if (r >= 0) r = sd_bus_message_exit_container(m);
  return r < 0 ? r : sd_bus_message_exit_container(m);
}

int read_property(sd_bus_message* m, std::string_view name, UnitStatus& status) {
  if (name == "Id") return read_string(m, status.name);
  if (name == "Names") return read_strings(m, status.names);
  if (name == "Description") return read_string(m, status.description);
  if (name == "LoadState") return read_string(m, status.load_state);
  if (name == "ActiveState") return read_string(m, status.active_state);
  if (name == "SubState") return read_string(m, status.sub_state);
  if (name == "Result") return read_string(m, status.result);
  if (name == "Type") return read_string(m, status.type);
  if (name == "Restart") return read_string(m, status.restart);
  if (name == "MainPID") return read_uint(m, status.main_pid);
  if (name == "NRestarts") return read_uint(m, status.restarts);
  if (name == "InvocationID") return read_invocation(m, status.invocation_id);
  if (name == "StateChangeTimestamp") return read_timestamp(m, status.state_change);
  if (name == "ActiveEnterTimestamp") return read_timestamp(m, status.active_enter);
  if (name == "Job") return read_job(m, status.start_job);
  return sd_bus_message_skip(m, "v");
}

Status await_ready(sd_bus* bus) {
  const base::SystemClock real;  // of sockets, not of the agent
  const SteadyTime end = real.steady() + kCallLimit;
  while (sd_bus_is_ready(bus) <= 0) {
    int r = sd_bus_process(bus, nullptr);
    const Nanos left = end - real.steady();
    if (left <= Nanos(0)) return fail(Errc::kTimeout, "connect to the bus: it does not answer");
    const auto micros = std::chrono::ceil<std::chrono::microseconds>(left).count();
    if (r == 0) r = sd_bus_wait(bus, static_cast<std::uint64_t>(micros));
    if (r < 0 && r != -EINTR) return std::unexpected(bus_error(r, "connect to the bus"));
  }
  return {};
}

}  // namespace

void CloseBus::operator()(sd_bus* bus) const noexcept {
  sd_bus_close_unref(bus);
}
void UnrefMessage::operator()(sd_bus_message* message) const noexcept {
  sd_bus_message_unref(message);
}
void UnrefSlot::operator()(sd_bus_slot* slot) const noexcept {
  sd_bus_slot_unref(slot);
}

Result<Bus> open_bus(const std::string& address) {
  if (!address.empty()) return connect(address, address != kPrivateSocket);
  auto bus = connect(system_bus_address(), true);
  if (bus || bus.error().code() != Errc::kUnavailable || geteuid() != 0) return bus;
  auto direct = connect(kPrivateSocket, false);
  return direct ? std::move(direct) : std::move(bus);
}

Result<Bus> open_ready_bus(const std::string& address) {
  auto bus = open_bus(address);
  if (!bus) return bus;
  if (auto ready = await_ready(bus->get()); !ready) return propagate(std::move(ready));
  return bus;
}

const char* signal_sender(sd_bus* bus) {
  return sd_bus_is_bus_client(bus) > 0 ? kSystemd : nullptr;
}

Result<Message> request(sd_bus* bus, const std::string& path, const char* interface,
                        const char* member) {
  sd_bus_message* raw = nullptr;
  const int r =
      sd_bus_message_new_method_call(bus, &raw, kSystemd, path.c_str(), interface, member);
  if (r < 0) return std::unexpected(bus_error(r, member));
  Message message(raw);
  // Activation of systemd by the bus waits for systemd: without it, "not there" is said at once.
  sd_bus_message_set_auto_start(raw, 0);
  return message;
}

Result<Message> call(sd_bus* bus, sd_bus_message* message, std::string_view what, Millis limit) {
  sd_bus_error error{};
  sd_bus_message* reply = nullptr;
  const auto micros = static_cast<std::uint64_t>(std::chrono::microseconds(limit).count());
  const int r = sd_bus_call(bus, message, micros, &error, &reply);
  if (r >= 0) return Message(reply);
  const Error failed =
      sd_bus_error_is_set(&error) > 0 ? named_error(error, what) : bus_error(r, what);
  sd_bus_error_free(&error);
  return std::unexpected(failed);
}

Status reply_status(sd_bus_message* reply, std::string_view what) {
  if (sd_bus_message_is_method_error(reply, nullptr) <= 0) return {};
  return std::unexpected(named_error(*sd_bus_message_get_error(reply), what));
}

Error bus_error(int negative_errno, std::string_view what) {
  Error error = Error::from_errno(-negative_errno, what);
  const bool away =
      negative_errno == -ENOENT || negative_errno == -ENOTCONN || negative_errno == -ECONNRESET;
  return away ? Error(Errc::kUnavailable, error.message()) : error;
}

std::string unit_path(std::string_view unit) {
  char* path = nullptr;
  const std::string name(unit);
  NEXUS_CHECK(sd_bus_path_encode(kUnitPaths, name.c_str(), &path) >= 0);
  const std::unique_ptr<char, decltype(&std::free)> owner(path, &std::free);
  return path;
}

int read_properties(sd_bus_message* m, UnitStatus& status) {
  int r = sd_bus_message_enter_container(m, SD_BUS_TYPE_ARRAY, "{sv}");
  while (r >= 0 && (r = sd_bus_message_enter_container(m, SD_BUS_TYPE_DICT_ENTRY, "sv")) > 0) {
    const char* name = nullptr;
    r = sd_bus_message_read(m, "s", &name);
    if (r >= 0) r = read_property(m, name, status);
    if (r >= 0) r = sd_bus_message_exit_container(m);
  }
  return r < 0 ? r : sd_bus_message_exit_container(m);
}

}  // namespace nexus::drivers
