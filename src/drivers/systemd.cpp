#include "nexus/drivers/systemd.hpp"

#include <systemd/sd-bus.h>

#include <map>
#include <mutex>

#include "drivers/bus.hpp"
#include "drivers/unit_job.hpp"
#include "nexus/base/away.hpp"

namespace nexus::drivers {
namespace {

constexpr std::size_t kMaxIdle = 4;  // connections that are kept for the next query
// Requests on their way: the bus takes 128 of a connection by default, and refuses more.
constexpr std::size_t kMaxInFlight = 64;

using Types = std::map<std::string, std::string, std::less<>>;

Result<Message> get_property(sd_bus* bus, const std::string& path, const char* interface,
                             const char* name) {
  auto message = request(bus, path, kProperties, "Get");
  if (!message) return message;
  sd_bus_message_append(message->get(), "ss", interface, name);
  return call(bus, message->get(), fmt::format("property {} of systemd", name));
}

Result<std::string> get_string(sd_bus* bus, const std::string& path, const char* interface,
                               const char* name) {
  auto reply = get_property(bus, path, interface, name);
  if (!reply) return propagate(std::move(reply));
  const char* text = nullptr;
  if (const int r = sd_bus_message_read(reply->get(), "v", "s", &text); r < 0) {
    return std::unexpected(bus_error(r, name));
  }
  return std::string(text);
}

// Changes with every daemon-reload; 0 on a systemd that does not have it.
std::uint64_t units_loaded_at(sd_bus* bus) {
  auto reply = get_property(bus, kManagerPath, kManager, "UnitsLoadTimestampMonotonic");
  std::uint64_t micros = 0;
  if (reply) sd_bus_message_read(reply->get(), "v", "t", &micros);
  return micros;
}

Result<std::vector<UnitSummary>> read_units(sd_bus* bus) {
  auto message = request(bus, kManagerPath, kManager, "ListUnits");
  if (!message) return propagate(std::move(message));
  auto reply = call(bus, message->get(), "list units");
  if (!reply) return propagate(std::move(reply));
  std::vector<UnitSummary> units;
  int r = sd_bus_message_enter_container(reply->get(), SD_BUS_TYPE_ARRAY, "(ssssssouso)");
  while (r > 0) {
    const char* name = nullptr;
    const char* load = nullptr;
    const char* active = nullptr;
    const char* sub = nullptr;
    r = sd_bus_message_read(reply->get(), "(ssssssouso)", &name, nullptr, &load, &active, &sub,
                            nullptr, nullptr, nullptr, nullptr, nullptr);
    if (r > 0) units.push_back({name, load, active, sub, {}});
  }
  if (r < 0) return std::unexpected(bus_error(r, "list units"));
  return units;
}

/// A variant with a number of any width, or a truth value; negative errno when it is none.
int read_number(sd_bus_message* m, std::uint64_t& out) {
  char type = 0;
  const char* contents = nullptr;
  if (const int r = sd_bus_message_peek_type(m, &type, &contents); r <= 0)
    return r < 0 ? r : -ENXIO;
  if (type != SD_BUS_TYPE_VARIANT || contents == nullptr) return -ENXIO;
  const std::string_view held = contents;
  if (held == "b") {
    int truth = 0;
    const int r = sd_bus_message_read(m, "v", "b", &truth);
    out = truth != 0 ? 1 : 0;
    return r;
  }
  if (held == "t") return sd_bus_message_read(m, "v", "t", &out);
  if (held == "u") {
    std::uint32_t narrow = 0;
    const int r = sd_bus_message_read(m, "v", "u", &narrow);
    out = narrow;
    return r;
  }
  return -ENXIO;
}

/// The file of a unit, then its drop-ins.
Result<std::vector<std::string>> read_files(sd_bus* bus, const std::string& unit) {
  constexpr const char* kUnit = "org.freedesktop.systemd1.Unit";
  const auto path = unit_path(unit);
  auto fragment = get_string(bus, path, kUnit, "FragmentPath");
  if (!fragment) return propagate(std::move(fragment));
  std::vector<std::string> out;
  if (!fragment->empty()) out.push_back(*std::move(fragment));
  auto reply = get_property(bus, path, kUnit, "DropInPaths");
  if (!reply) return propagate(std::move(reply));
  int r = sd_bus_message_enter_container(reply->get(), SD_BUS_TYPE_VARIANT, "as");
  if (r >= 0) r = sd_bus_message_enter_container(reply->get(), SD_BUS_TYPE_ARRAY, "s");
  const char* text = nullptr;
  while (r >= 0 && (r = sd_bus_message_read(reply->get(), "s", &text)) > 0) out.emplace_back(text);
  if (r < 0) return std::unexpected(bus_error(r, "DropInPaths"));
  return out;
}

/// Property requests of which many are on their way at once: a round trip through the bus each,
/// one after the other, would take most of a second on a host with many units.
class NumberBatch {
 public:
  NumberBatch(sd_bus* bus, std::span<const UnitProperty> properties)
      : bus_(bus), properties_(properties), answers_(properties.size()) {}

  [[nodiscard]] Status run(Clock& clock) {
    const SteadyTime deadline = clock.steady() + kCallLimit;
    while (next_ < properties_.size() || in_flight_ > 0) {
      while (next_ < properties_.size() && in_flight_ < kMaxInFlight) {
        if (Status sent = send(); !sent) return sent;
      }
      const int r = sd_bus_process(bus_, nullptr);
      if (r < 0) return std::unexpected(bus_error(r, "properties of units"));
      if (r > 0) continue;
      const SteadyTime now = clock.steady();
      if (now >= deadline) return fail(Errc::kTimeout, "properties of units: no answer");
      const auto left = std::chrono::duration_cast<std::chrono::microseconds>(deadline - now);
      const int waited = sd_bus_wait(bus_, static_cast<std::uint64_t>(left.count()));
      if (waited < 0 && waited != -EINTR)
        return std::unexpected(bus_error(waited, "properties of units"));
    }
    return {};
  }

  [[nodiscard]] std::vector<std::optional<std::uint64_t>> take() {
    std::vector<std::optional<std::uint64_t>> out;
    out.reserve(answers_.size());
    for (const Answer& answer : answers_) out.push_back(answer.value);
    return out;
  }

 private:
  struct Answer {
    NumberBatch* batch = nullptr;
    std::optional<std::uint64_t> value;
    Slot slot;  // as long as the reply is awaited; with it goes the callback
  };

  [[nodiscard]] Status send() {
    const UnitProperty& property = properties_[next_];
    Answer& answer = answers_[next_];
    auto message = request(bus_, unit_path(property.unit), kProperties, "Get");
    if (!message) return propagate(std::move(message));
    const std::string interface = "org.freedesktop.systemd1." + property.interface;
    sd_bus_message_append(message->get(), "ss", interface.c_str(), property.name.c_str());
    answer.batch = this;
    sd_bus_slot* slot = nullptr;
    const int r = sd_bus_call_async(bus_, &slot, message->get(), on_reply, &answer, 0);
    if (r < 0) return std::unexpected(bus_error(r, "properties of units"));
    answer.slot.reset(slot);
    ++next_;
    ++in_flight_;
    return {};
  }

  static int on_reply(sd_bus_message* reply, void* data, sd_bus_error* /*error*/) {
    auto& answer = *static_cast<Answer*>(data);
    --answer.batch->in_flight_;
    std::uint64_t value = 0;
    if (sd_bus_message_is_method_error(reply, nullptr) == 0 && read_number(reply, value) >= 0)
      answer.value = value;
    return 0;
  }

  sd_bus* const bus_;
  const std::span<const UnitProperty> properties_;
  std::vector<Answer> answers_;  // never grows: callbacks point into it
  std::size_t next_ = 0;
  std::size_t in_flight_ = 0;
};

/// The interface that tells the Type= of such a unit; null when it has none.
const char* typed_interface(std::string_view unit) {
  if (unit.ends_with(".service")) return "org.freedesktop.systemd1.Service";
  if (unit.ends_with(".mount")) return "org.freedesktop.systemd1.Mount";
  return nullptr;
}

}  // namespace

struct Systemd::Impl {
  Clock& clock;
  const std::string address;
  std::mutex mutex;
  std::vector<Bus> idle;       // guarded by mutex
  Types types;                 // Type= by unit, guarded by mutex
  std::uint64_t types_of = 0;  // units_loaded_at() that `types` belongs to, guarded by mutex

  Bus take_idle() {
    const std::lock_guard guard(mutex);
    if (idle.empty()) return nullptr;
    Bus bus = std::move(idle.back());
    idle.pop_back();
    return bus;
  }

  void keep(Bus bus) {
    const std::lock_guard guard(mutex);
    if (idle.size() < kMaxIdle) idle.push_back(std::move(bus));
  }

  /// Runs a query, that may be repeated, on an idle connection, and on a new one when that turns
  /// out to be dead.
  template <typename Query>
  auto with_bus(Query&& query) -> decltype(query(std::declval<sd_bus*>())) {
    while (Bus bus = take_idle()) {
      auto result = query(bus.get());
      if (result || result.error().code() != Errc::kUnavailable) {
        keep(std::move(bus));
        return result;
      }
    }
    auto bus = open_ready_bus(address);
    if (!bus) return std::unexpected(std::move(bus).error());
    auto result = query(bus->get());
    if (result || !is_away(result.error())) keep(std::move(*bus));
    return result;
  }

  /// Fills in the service types; they are asked for once per unit and daemon-reload.
  void add_types(sd_bus* bus, std::vector<UnitSummary>& units) {
    const std::uint64_t loaded_at = units_loaded_at(bus);
    Types known;
    {
      const std::lock_guard guard(mutex);
      if (types_of == loaded_at) known = types;
    }
    Types present;
    for (UnitSummary& unit : units) {
      const char* const interface = typed_interface(unit.name);
      if (interface == nullptr || unit.load_state != "loaded") continue;
      const auto found = known.find(unit.name);
      if (found != known.end()) {
        unit.type = found->second;
      } else {
        unit.type = get_string(bus, unit_path(unit.name), interface, "Type").value_or("");
      }
      present.emplace(unit.name, unit.type);
    }
    const std::lock_guard guard(mutex);
    types = std::move(present);
    types_of = loaded_at;
  }
};

Systemd::Systemd(Clock& clock, std::string address)
    : impl_(std::make_unique<Impl>(clock, std::move(address))) {}
Systemd::~Systemd() = default;

Result<UnitStatus> Systemd::status(std::string_view unit) {
  const auto name = normalize_unit_name(unit);
  if (!name) return std::unexpected(name.error());
  auto status = impl_->with_bus([&](sd_bus* bus) { return read_status(bus, *name); });
  // A unit whose file was removed while it runs is still a unit.
  if (status && status->load_state == "not-found" && status->active_state == "inactive") {
    return fail(Errc::kNotFound, "status of {}: there is no such unit", *name);
  }
  return status;
}

Result<UnitStatus> Systemd::loaded_status(std::string_view unit) {
  const auto name = normalize_unit_name(unit);
  if (!name) return std::unexpected(name.error());
  return impl_->with_bus([&](sd_bus* bus) -> Result<UnitStatus> {
    auto message = request(bus, kManagerPath, kManager, "GetUnit");
    if (!message) return propagate(std::move(message));
    sd_bus_message_append(message->get(), "s", name->c_str());
    auto reply = call(bus, message->get(), "status of " + *name);
    if (!reply) return propagate(std::move(reply));
    return read_status(bus, *name);
  });
}

Result<std::vector<UnitSummary>> Systemd::list_units() {
  return impl_->with_bus([this](sd_bus* bus) {
    auto units = read_units(bus);
    if (units) impl_->add_types(bus, *units);
    return units;
  });
}

Result<std::vector<std::optional<std::uint64_t>>> Systemd::unit_numbers(
    std::span<const UnitProperty> properties) {
  return impl_->with_bus([&](sd_bus* bus) -> Result<std::vector<std::optional<std::uint64_t>>> {
    NumberBatch batch(bus, properties);
    if (Status done = batch.run(impl_->clock); !done) return propagate(std::move(done));
    return batch.take();
  });
}

Result<std::vector<StaleUnit>> Systemd::stale_units(std::span<const std::string> units) {
  std::vector<UnitProperty> asked;
  for (const std::string& unit : units)
    asked.push_back({normalize_unit_name(unit).value_or(unit), "Unit", "NeedDaemonReload"});
  const auto stale = unit_numbers(asked);
  if (!stale) return std::unexpected(stale.error());
  std::vector<StaleUnit> out;
  for (std::size_t i = 0; i < units.size(); ++i) {
    if ((*stale)[i].value_or(0) == 0) continue;
    auto files = impl_->with_bus([&](sd_bus* bus) { return read_files(bus, asked[i].unit); });
    if (!files && is_away(files.error())) return propagate(std::move(files));
    if (files) out.push_back({units[i], *std::move(files)});  // else it is gone meanwhile
  }
  return out;
}

Result<std::string> Systemd::version() {
  return impl_->with_bus(
      [](sd_bus* bus) { return get_string(bus, kManagerPath, kManager, "Version"); });
}

Result<std::string> Systemd::system_state() {
  return impl_->with_bus(
      [](sd_bus* bus) { return get_string(bus, kManagerPath, kManager, "SystemState"); });
}

Result<std::string> Systemd::virtualization() {
  return impl_->with_bus(
      [](sd_bus* bus) { return get_string(bus, kManagerPath, kManager, "Virtualization"); });
}

}  // namespace nexus::drivers
