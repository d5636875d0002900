#include "nexus/drivers/docker_leftovers.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "drivers/json.hpp"
#include "nexus/base/text.hpp"
#include "nexus/drivers/http_client.hpp"

namespace nexus::drivers {
namespace {

namespace json = boost::json;

/// Go's zero is the year 1: nothing is known.
WallTime time_or(const json::value* value, WallTime otherwise) {
  const auto text = text_of(value);
  if (text.empty() || text.starts_with("0001-")) return otherwise;
  return base::parse_time(text).value_or(otherwise);
}

Result<json::value> get(const Docker& engine, std::string_view path, SteadyTime deadline) {
  auto answer = engine.request("GET", path, {}, deadline);
  if (!answer) return propagate(std::move(answer));
  auto value = parse_json(answer->body);
  if (!value)
    return propagate(std::move(value), "container engine at {}: GET {}", engine.socket(), path);
  return value;
}

/// An engine that leaves `SharedSize` out, or has not counted it (-1), tells of all layers.
std::uint64_t own_bytes(const json::value& image) {
  const auto all = whole_of<std::uint64_t>(member(&image, "Size"));
  const auto* shared = member(&image, "SharedSize");
  const double count = shared == nullptr ? -1 : number_of(shared);
  return count <= 0 ? all : all - std::min(all, static_cast<std::uint64_t>(count));
}

}  // namespace

Result<std::vector<UnnamedImage>> unnamed_images(const Docker& engine, std::size_t limit,
                                                 SteadyTime deadline) {
  const auto filters = url_encode(R"({"dangling":["true"]})");
  auto listed =
      get(engine, fmt::format("/images/json?shared-size=1&filters={}", filters), deadline);
  if (!listed) return propagate(std::move(listed));
  const auto* images = array_of(&*listed);
  if (images == nullptr)
    return fail(Errc::kCorrupt, "container engine at {}: its images are no list", engine.socket());
  std::vector<UnnamedImage> out;
  for (const auto& image : *images) {
    if (out.size() >= limit) break;
    UnnamedImage one{.id = text_of(member(&image, "Id")),
                     .bytes = own_bytes(image),
                     .named = base::from_unix_millis(
                         static_cast<std::int64_t>(number_of(member(&image, "Created"))) * 1000)};
    if (one.id.empty()) continue;
    // It may be old and have lost its name a moment ago, to a newer one.
    auto about = get(engine, fmt::format("/images/{}/json", url_encode(one.id)), deadline);
    if (!about && about.error().code() == Errc::kNotFound) continue;
    if (!about) return propagate(std::move(about));
    one.named =
        std::max(one.named, time_or(member(member(&*about, "Metadata"), "LastTagTime"), one.named));
    out.push_back(std::move(one));
  }
  return out;
}

Status remove_image(const Docker& engine, std::string_view id, const EngineCall& call) {
  auto answer = engine.request("DELETE", fmt::format("/images/{}", url_encode(id)), {},
                               call.deadline, {}, call.ended);
  if (!answer) return propagate(std::move(answer));
  return {};
}

Result<std::vector<CacheRecord>> build_cache(const Docker& engine, SteadyTime deadline) {
  // Engines before API 1.42 do not know `type` and count everything, which takes its time.
  auto listed = get(engine, "/system/df?type=build-cache", deadline);
  if (!listed) return propagate(std::move(listed));
  std::vector<CacheRecord> out;
  const auto* records = array_of(member(&*listed, "BuildCache"));
  if (records == nullptr) return out;
  for (const auto& record : *records) {
    if (is_true(member(&record, "InUse")) || is_true(member(&record, "Shared"))) continue;
    const auto type = text_of(member(&record, "Type"));
    if (type == "internal" || type == "frontend") continue;  // the engine keeps these
    const auto made = time_or(member(&record, "CreatedAt"), {});
    out.push_back({.id = text_of(member(&record, "ID")),
                   .description = text_of(member(&record, "Description")),
                   .bytes = whole_of<std::uint64_t>(member(&record, "Size")),
                   .used = time_or(member(&record, "LastUsedAt"), made)});
  }
  return out;
}

Result<std::uint64_t> prune_build_cache(const Docker& engine, Millis unused_for,
                                        const EngineCall& call) {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(unused_for).count();
  const json::array until{json::value(fmt::format("{}s", seconds))};
  const auto filters = json::serialize(json::object{{"until", until}});
  auto answer = engine.request("POST", "/build/prune?filters=" + url_encode(filters), {},
                               call.deadline, {}, call.ended);
  if (!answer) return propagate(std::move(answer));
  auto value = parse_json(answer->body);
  if (!value)
    return propagate(std::move(value), "container engine at {}: POST /build/prune",
                     engine.socket());
  return whole_of<std::uint64_t>(member(&*value, "SpaceReclaimed"));
}

Result<std::string> data_root(const Docker& engine, SteadyTime deadline) {
  auto info = get(engine, "/info", deadline);
  if (!info) return propagate(std::move(info));
  auto root = text_of(member(&*info, "DockerRootDir"));
  if (root.empty())
    return fail(Errc::kCorrupt, "container engine at {}: it tells no DockerRootDir",
                engine.socket());
  return root;
}

}  // namespace nexus::drivers
