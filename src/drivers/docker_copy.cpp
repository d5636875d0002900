// A container like another one: what of it is copied, left out, refused (docker_control.hpp).
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "drivers/json.hpp"
#include "nexus/base/text.hpp"
#include "nexus/drivers/docker_control.hpp"

namespace nexus::drivers {
namespace {

namespace json = boost::json;

constexpr std::size_t kShortId = 12;

const json::object* object_of(const json::value* value) {
  return value != nullptr && value->is_object() ? &value->get_object() : nullptr;
}

/// Ports of the host that only one can hold, for people: "8080".
std::string fixed_ports(const json::value& original) {
  const auto* bindings = object_of(member(member(&original, "HostConfig"), "PortBindings"));
  std::string out;
  if (bindings == nullptr) return out;
  for (const auto& port : *bindings) {
    const auto* places = array_of(&port.value());
    if (places == nullptr) continue;
    for (const auto& place : *places) {
      const auto number = text_of(member(&place, "HostPort"));
      if (!number.empty() && number != "0" && !number.contains('-'))
        out += (out.empty() ? "" : ", ") + number;
    }
  }
  return out;
}

bool has_fixed_address(const json::value& network) {
  const auto* wish = member(&network, "IPAMConfig");
  return !text_of(member(wish, "IPv4Address")).empty() ||
         !text_of(member(wish, "IPv6Address")).empty();
}

bool any_fixed_address(const json::value& original) {
  const auto* networks = object_of(member(member(&original, "NetworkSettings"), "Networks"));
  return networks != nullptr && std::ranges::any_of(*networks, [](const auto& network) {
           return has_fixed_address(network.value());
         });
}

std::string network_mode(const json::value& original) {
  return text_of(member(member(&original, "HostConfig"), "NetworkMode"));
}

/// Whether it has a network namespace of its own that networks can be joined with.
bool has_networks(const std::string& mode) {
  return mode != "host" && mode != "none" && !mode.starts_with("container:");
}

/// What of `config` is as the image has it is the image's, and the next image's to say.
void leave_to_image(json::object& config, const json::object& image) {
  for (const auto* key : {"WorkingDir", "User", "StopSignal", "Healthcheck", "Shell", "OnBuild"}) {
    const auto* ours = config.if_contains(key);
    const auto* theirs = image.if_contains(key);
    if (ours != nullptr && theirs != nullptr && *ours == *theirs) config.erase(key);
  }
  for (const auto* key : {"Labels", "ExposedPorts", "Volumes"}) {
    auto* ours = config.if_contains(key);
    const auto* theirs = object_of(image.if_contains(key));
    if (ours == nullptr || !ours->is_object() || theirs == nullptr) continue;
    for (const auto& entry : *theirs) {
      const auto* known = ours->get_object().if_contains(entry.key());
      if (known != nullptr && *known == entry.value()) ours->get_object().erase(entry.key());
    }
  }
  auto* environment = config.if_contains("Env");
  const auto* theirs = array_of(image.if_contains("Env"));
  if (environment != nullptr && environment->is_array() && theirs != nullptr) {
    json::array kept;
    for (const auto& entry : environment->get_array()) {
      if (std::ranges::find(*theirs, entry) == theirs->end()) kept.push_back(entry);
    }
    *environment = std::move(kept);
  }
  // An entry point of one's own hides the image's command: then both stay.
  const auto same = [&](const char* key) {
    const auto* ours = config.if_contains(key);
    const auto* image_has = image.if_contains(key);
    const bool none = ours == nullptr || ours->is_null();
    return none || (image_has != nullptr && *ours == *image_has);
  };
  if (!same("Entrypoint")) return;
  config.erase("Entrypoint");
  if (same("Cmd")) config.erase("Cmd");
}

/// Where in the container something is mounted that its configuration names.
std::vector<std::string> named_places(const json::object& host) {
  std::vector<std::string> out;
  if (const auto* binds = array_of(host.if_contains("Binds"))) {
    for (const auto& bind : *binds) {
      const auto text = text_of(&bind);  // SOURCE:PLACE[:OPTIONS]
      const auto parts = base::split(text, ':');
      if (parts.size() > 1) out.emplace_back(parts[1]);
    }
  }
  if (const auto* mounts = array_of(host.if_contains("Mounts"))) {
    for (const auto& mount : *mounts) out.push_back(text_of(member(&mount, "Target")));
  }
  return out;
}

/// Volumes without a name that the original has: its successor is to have them, not new ones.
void keep_anonymous_volumes(const json::value& original, json::object& host) {
  const auto* mounts = array_of(member(&original, "Mounts"));
  if (mounts == nullptr) return;
  if (auto* wanted = host.if_contains("Mounts"); wanted != nullptr && wanted->is_array()) {
    for (auto& one : wanted->get_array()) {
      if (text_of(member(&one, "Type")) != "volume" || !text_of(member(&one, "Source")).empty())
        continue;
      const auto place = text_of(member(&one, "Target"));
      for (const auto& mount : *mounts) {
        if (text_of(member(&mount, "Destination")) == place)
          one.get_object()["Source"] = text_of(member(&mount, "Name"));
      }
    }
  }
  const auto named = named_places(host);
  json::array binds;
  if (auto* list = host.if_contains("Binds"); list != nullptr && list->is_array())
    binds = list->get_array();
  for (const auto& mount : *mounts) {
    const auto name = text_of(member(&mount, "Name"));
    const auto place = text_of(member(&mount, "Destination"));
    if (text_of(member(&mount, "Type")) != "volume" || name.empty() ||
        std::ranges::find(named, place) != named.end())
      continue;
    binds.emplace_back(
        fmt::format("{}:{}{}", name, place, is_true(member(&mount, "RW")) ? "" : ":ro"));
  }
  if (!binds.empty()) host["Binds"] = std::move(binds);
}

/// Podman tells "RLIMIT_NOFILE" and takes "nofile", as Docker does both ways.
void name_limits_as_taken(json::object& host) {
  auto* limits = host.if_contains("Ulimits");
  if (limits == nullptr || !limits->is_array()) return;
  constexpr std::string_view kPrefix = "RLIMIT_";
  for (auto& limit : limits->get_array()) {
    auto name = text_of(member(&limit, "Name"));
    if (!name.starts_with(kPrefix)) continue;
    name.erase(0, kPrefix.size());
    std::ranges::transform(name, name.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    limit.get_object()["Name"] = name;
  }
}

json::object endpoint_of(const json::value& network, const std::string& short_id) {
  json::object out;
  for (const auto* key : {"IPAMConfig", "Links", "DriverOpts"}) {
    if (const auto* value = member(&network, key); value != nullptr && !value->is_null())
      out[key] = *value;
  }
  json::array aliases;
  if (const auto* known = array_of(member(&network, "Aliases"))) {
    for (const auto& alias : *known) {
      if (text_of(&alias) != short_id) aliases.push_back(alias);
    }
  }
  if (!aliases.empty()) out["Aliases"] = std::move(aliases);
  return out;
}

/// The network of its mode goes with the creation, for engines take one there; the others follow.
void copy_networks(const json::value& original, const std::string& short_id, json::object& create,
                   ContainerCopy& out) {
  const auto mode = network_mode(original);
  const auto* networks = object_of(member(member(&original, "NetworkSettings"), "Networks"));
  if (!has_networks(mode) || networks == nullptr) return;
  for (const auto& network : *networks) {
    auto endpoint = endpoint_of(network.value(), short_id);
    const bool first = network.key() == mode || (mode == "default" && network.key() == "bridge");
    if (first) {
      if (network.key() != "bridge")
        create["NetworkingConfig"] = {{"EndpointsConfig", {{network.key(), std::move(endpoint)}}}};
    } else {
      out.networks.emplace_back(network.key(), json::serialize(endpoint));
    }
  }
}

Status refuse_what_cannot_be(const json::value& original, const CopyWish& wish) {
  const auto name = text_of(member(&original, "Name"));
  const auto* host = member(&original, "HostConfig");
  if (const auto* links = array_of(member(host, "Links")); links != nullptr && !links->empty())
    return fail(Errc::kUnsupported, "container {} has links to others, which are not copied", name);
  if (!wish.beside) {
    if (is_true(member(host, "AutoRemove")))
      return fail(Errc::kUnsupported,
                  "container {} is removed as soon as it stops: it could not be put back", name);
    return {};
  }
  if (const auto ports = fixed_ports(original); !ports.empty())
    return fail(Errc::kUnsupported, "container {} holds port {} of the host: only one can", name,
                ports);
  if (any_fixed_address(original))
    return fail(Errc::kUnsupported, "container {} has a fixed address: only one can", name);
  return {};
}

}  // namespace

bool may_run_beside(const std::string& inspected) {
  const auto original = parse_json(inspected);
  if (!original || !fixed_ports(*original).empty() || any_fixed_address(*original) ||
      network_mode(*original) == "host")
    return false;
  // Two that write to one volume may spoil it.
  const auto* mounts = array_of(member(&*original, "Mounts"));
  return mounts == nullptr || std::ranges::none_of(*mounts, [](const json::value& mount) {
           return is_true(member(&mount, "RW"));
         });
}

Result<ContainerCopy> copy_container(const std::string& inspected, const CopyWish& wish) {
  const auto original = parse_json(inspected);
  const auto* config = original ? object_of(member(&*original, "Config")) : nullptr;
  const auto* host = original ? object_of(member(&*original, "HostConfig")) : nullptr;
  if (config == nullptr || host == nullptr)
    return fail(Errc::kCorrupt, "the engine told no Config and HostConfig of a container");
  if (auto ok = refuse_what_cannot_be(*original, wish); !ok) return propagate(std::move(ok));
  const auto short_id = text_of(member(&*original, "Id")).substr(0, kShortId);

  ContainerCopy out;
  json::object create = *config;
  if (text_of(create.if_contains("Hostname")) == short_id || network_mode(*original) == "host")
    create.erase("Hostname");
  create.erase("MacAddress");
  if (!wish.old_image.empty()) {
    const auto image = parse_json(wish.old_image);
    if (const auto* defaults = image ? object_of(member(&*image, "Config")) : nullptr)
      leave_to_image(create, *defaults);
  }
  if (!wish.image.empty()) create["Image"] = wish.image;
  json::object labels;
  if (const auto* known = object_of(create.if_contains("Labels"))) labels = *known;
  for (const auto& [key, value] : wish.labels) labels[key] = value;
  create["Labels"] = std::move(labels);

  json::object limits = *host;
  limits.erase("ContainerIDFile");
  name_limits_as_taken(limits);
  if (!wish.beside) keep_anonymous_volumes(*original, limits);
  if (network_mode(*original) == "host" && wish.beside)
    out.notes.emplace_back("it shares the host's network: two may not listen on one port");
  create["HostConfig"] = std::move(limits);
  copy_networks(*original, short_id, create, out);
  out.create = json::serialize(create);
  return out;
}

}  // namespace nexus::drivers
