#include "execute/engine_leftovers.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>

#include <algorithm>
#include <set>

#include "execute/container.hpp"
#include "nexus/base/text.hpp"
#include "nexus/drivers/docker_leftovers.hpp"

namespace nexus::execute {
namespace {

using drivers::DockerControl;
using drivers::EngineCall;

constexpr std::size_t kMostContainers = 10'000;  // that are listed
constexpr std::size_t kMostLooked = 500;         // things of a kind that are looked at closely
constexpr std::size_t kShortId = 19;             // "sha256:" and twelve digits

using Ids = std::set<std::string, std::less<>>;

/// Images that containers have, or had before their last rollout.
Result<Ids> images_in_use(const DockerControl& engine, SteadyTime deadline) {
  auto containers = engine.engine().containers(deadline, kMostContainers);
  if (!containers) return propagate(std::move(containers));
  if (containers->size() >= kMostContainers)
    return fail(Errc::kExhausted, "there are {} containers or more", kMostContainers);
  Ids out;
  for (const auto& one : *containers) {
    out.insert(one.image_id);
    if (const auto before = one.labels.find(kPreviousImage); before != one.labels.end())
      out.insert(before->second);
  }
  return out;
}

Result<std::vector<Leftover>> images(const LeftoverWish& wish, const DockerControl& engine,
                                     const EngineCall& call, std::vector<std::string>& notes) {
  auto used = images_in_use(engine, call.deadline);
  if (!used) return propagate(std::move(used));
  auto found = drivers::unnamed_images(engine.engine(), kMostLooked, call.deadline);
  if (!found) return propagate(std::move(found));
  std::vector<Leftover> out;
  std::size_t kept = 0;
  for (const auto& image : *found) {
    if (image.named > wish.now - wish.older_than) continue;
    if (used->contains(image.id)) {
      ++kept;
      continue;
    }
    out.push_back({.kind = std::string(kUnnamedImages),
                   .id = image.id,
                   .name = "image " + image.id.substr(0, kShortId),
                   .bytes = image.bytes,
                   .used = image.named,
                   .older_than = wish.older_than});
  }
  if (kept > 0)
    notes.push_back(
        fmt::format("{}: containers have {}, or a rollback needs them", kUnnamedImages, kept));
  return out;
}

Result<std::vector<Leftover>> cache(const LeftoverWish& wish, const DockerControl& engine,
                                    const EngineCall& call) {
  auto records = drivers::build_cache(engine.engine(), call.deadline);
  if (!records) return propagate(std::move(records));
  Leftover all{.kind = std::string(kBuildCache),
               .id = {},
               .name = {},
               .bytes = 0,
               .used = wish.now,
               .older_than = wish.older_than};
  std::size_t count = 0;
  for (const auto& record : *records) {
    if (record.used > wish.now - wish.older_than) continue;
    ++count;
    all.bytes += record.bytes;
    all.used = std::min(all.used, record.used);
  }
  if (count == 0) return std::vector<Leftover>{};
  all.name = fmt::format("build cache, {} records", count);
  return std::vector<Leftover>{std::move(all)};
}

/// When a container that does not run ran last; nothing: it runs, or that is not known.
std::optional<WallTime> stopped_since(const Container& one) {
  if (one.state != "exited" && one.state != "dead" && one.state != "created") return std::nullopt;
  const auto& text = one.state == "created" ? one.created : one.finished;
  if (text.starts_with("0001-")) return std::nullopt;
  auto time = base::parse_time(text);
  return time ? std::optional(*time) : std::nullopt;
}

/// Bytes of its own layer: what it has written.
std::uint64_t own_layer(const std::string& id, const DockerControl& engine,
                        const EngineCall& call) {
  const auto answer = engine.engine().request("GET", "/containers/" + id + "/json?size=1", {},
                                              call.deadline, {}, call.ended);
  if (!answer) return 0;
  boost::json::error_code error;
  const auto value = boost::json::parse(answer->body, error);
  const auto* object = error ? nullptr : value.if_object();
  const auto* size = object != nullptr ? object->if_contains("SizeRw") : nullptr;
  if (size == nullptr || !size->is_number()) return 0;
  const auto bytes = size->to_number<std::int64_t>(error);
  return error || bytes < 0 ? 0 : static_cast<std::uint64_t>(bytes);
}

Result<std::vector<Leftover>> containers(const LeftoverWish& wish, const DockerControl& engine,
                                         const config::Config& config, const EngineCall& call,
                                         std::vector<std::string>& notes) {
  auto listed = engine.engine().containers(call.deadline, kMostLooked,
                                           R"({"status":["exited","dead","created"]})");
  if (!listed) return propagate(std::move(listed));
  std::vector<Leftover> out;
  for (const auto& entry : *listed) {
    auto one = look_at(entry.id, engine, call);
    if (!one && one.error().code() == Errc::kNotFound) continue;
    if (!one) return propagate(std::move(one));
    const auto since = stopped_since(*one);
    if (!since || *since > wish.now - wish.older_than) continue;
    if (one->name.ends_with(kOldSuffix)) {
      notes.push_back(fmt::format("docker:{} is what a rollout would go back to", one->name));
      continue;
    }
    if (auto why = container_protected(*one, engine.engine().socket(), config)) {
      notes.push_back(*std::move(why));
      continue;
    }
    out.push_back({.kind = std::string(kStoppedContainers),
                   .id = one->id,
                   .name = fmt::format("container {} ({}), {}", one->name, one->image, one->state),
                   .bytes = own_layer(one->id, engine, call),
                   .used = *since,
                   .older_than = wish.older_than});
  }
  return out;
}

}  // namespace

Result<std::vector<Leftover>> leftovers_of(const LeftoverWish& wish, const DockerControl& engine,
                                           const config::Config& config, const EngineCall& call,
                                           std::vector<std::string>& notes) {
  auto found = wish.kind == kUnnamedImages ? images(wish, engine, call, notes)
               : wish.kind == kBuildCache  ? cache(wish, engine, call)
                                           : containers(wish, engine, config, call, notes);
  if (found) std::ranges::stable_sort(*found, {}, &Leftover::used);
  return found;
}

Status remove(const Leftover& leftover, const DockerControl& engine, const config::Config& config,
              const EngineCall& call) {
  if (leftover.kind == kUnnamedImages)
    return drivers::remove_image(engine.engine(), leftover.id, call);
  if (leftover.kind == kBuildCache) {
    auto freed = drivers::prune_build_cache(engine.engine(), leftover.older_than, call);
    if (!freed) return propagate(std::move(freed));
    return {};
  }
  auto one = look_at(leftover.id, engine, call);
  if (!one) return propagate(std::move(one));
  if (stopped_since(*one) != leftover.used)
    return fail(Errc::kConflict, "docker:{} has run since", one->name);
  if (auto why = container_protected(*one, engine.engine().socket(), config))
    return fail(Errc::kPermissionDenied, "{}", *why);
  return engine.remove(leftover.id, false, call);
}

}  // namespace nexus::execute
