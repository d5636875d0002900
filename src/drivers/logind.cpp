#include "nexus/drivers/logind.hpp"

#include <systemd/sd-bus.h>

#include "drivers/bus.hpp"

namespace nexus::drivers {
namespace {

constexpr const char* kLogin = "org.freedesktop.login1";
constexpr const char* kLoginPath = "/org/freedesktop/login1";
constexpr const char* kLoginManager = "org.freedesktop.login1.Manager";
constexpr const char* kLoginSession = "org.freedesktop.login1.Session";
constexpr std::size_t kMaxSessions = 1000;

Result<Message> ask(sd_bus* bus, const char* path, const char* interface, const char* member,
                    const char* first = nullptr, const char* second = nullptr) {
  sd_bus_message* raw = nullptr;
  const int made = sd_bus_message_new_method_call(bus, &raw, kLogin, path, interface, member);
  if (made < 0) return std::unexpected(bus_error(made, member));
  const Message message(raw);
  sd_bus_message_set_auto_start(raw, 0);
  if (first != nullptr) sd_bus_message_append(raw, "ss", first, second);
  return call(bus, raw, fmt::format("{} of logind", member));
}

template <typename T>
void read_property(sd_bus* bus, const char* path, const char* name, const char* type, T& value) {
  auto reply = ask(bus, path, kProperties, "Get", kLoginSession, name);
  if (reply) sd_bus_message_read(reply->get(), "v", type, &value);
}

std::string read_text(sd_bus* bus, const char* path, const char* name) {
  auto reply = ask(bus, path, kProperties, "Get", kLoginSession, name);
  const char* text = nullptr;
  if (!reply || sd_bus_message_read(reply->get(), "v", "s", &text) < 0) return {};
  return text;
}

Result<std::vector<std::string>> read_seats(sd_bus* bus) {
  auto reply = ask(bus, kLoginPath, kLoginManager, "ListSeats");
  if (!reply) return propagate(std::move(reply));
  std::vector<std::string> seats;
  int r = sd_bus_message_enter_container(reply->get(), SD_BUS_TYPE_ARRAY, "(so)");
  while (r > 0) {
    const char* name = nullptr;
    r = sd_bus_message_read(reply->get(), "(so)", &name, nullptr);
    if (r > 0) seats.emplace_back(name);
  }
  if (r < 0) return std::unexpected(bus_error(r, "seats of logind"));
  return seats;
}

}  // namespace

Result<Logins> read_logins(const std::string& address) {
  auto bus = open_ready_bus(address);
  if (!bus) return propagate(std::move(bus));
  auto seats = read_seats(bus->get());
  if (!seats) return propagate(std::move(seats));
  Logins out{.seats = std::move(*seats), .sessions = {}};
  auto reply = ask(bus->get(), kLoginPath, kLoginManager, "ListSessions");
  if (!reply) return propagate(std::move(reply));
  int r = sd_bus_message_enter_container(reply->get(), SD_BUS_TYPE_ARRAY, "(susso)");
  while (r > 0 && out.sessions.size() < kMaxSessions) {
    const char* seat = nullptr;
    const char* path = nullptr;
    r = sd_bus_message_read(reply->get(), "(susso)", nullptr, nullptr, nullptr, &seat, &path);
    if (r <= 0) break;
    LoginSession& session = out.sessions.emplace_back();
    session.seat = seat;
    session.type = read_text(bus->get(), path, "Type");
    session.kind = read_text(bus->get(), path, "Class");
    int remote = 0;
    read_property(bus->get(), path, "Remote", "b", remote);
    session.remote = remote != 0;
    if (session.type.empty()) out.sessions.pop_back();  // it has ended meanwhile
  }
  if (r < 0) return std::unexpected(bus_error(r, "sessions of logind"));
  return out;
}

}  // namespace nexus::drivers
