#include "drivers/kubernetes_calls.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "drivers/json.hpp"
#include "drivers/kubernetes_list.hpp"
#include "nexus/base/text.hpp"

namespace nexus::drivers {
namespace {

namespace json = boost::json;

constexpr Millis kSlice{200};  // how soon a cancellation is heeded
constexpr Millis kFirstWait{250};
constexpr Millis kLongestWait{5'000};
constexpr int kMostConflicts = 20;  // in a row: then somebody changes it all the time

bool asks_to_wait(const KubernetesReply& reply) {
  return reply.status == 429 ||
         ((reply.status == 503 || reply.status == 504 || reply.status == 500) && reply.retry_after);
}

/// Of what was read, so that a change applies to nothing else. A JSON Patch says it as operations.
void pin(KubernetesEdit& edit, const json::value& now) {
  const auto* metadata = member(&now, "metadata");
  const std::string version = text_of(member(metadata, "resourceVersion"));
  if (auto* operations = edit.body.if_array()) {
    operations->insert(
        operations->begin(),
        json::object{{"op", "replace"}, {"path", "/metadata/resourceVersion"}, {"value", version}});
    return;
  }
  auto& object = edit.body.as_object();
  if (!object.contains("metadata")) object["metadata"] = json::object();
  auto& head = object["metadata"].as_object();
  head["resourceVersion"] = version;
  head["uid"] = text_of(member(metadata, "uid"));
}

}  // namespace

Status wait_for(Clock& clock, Millis how_long, const KubernetesPatience& patience) {
  const SteadyTime until = clock.steady() + how_long;
  if (until > patience.deadline)
    return fail(Errc::kTimeout, "{} more to wait, which is longer than the time that is left",
                base::format_duration(how_long));
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  while (clock.steady() < until) {
    if (patience.cancelled && patience.cancelled()) return fail(Errc::kCancelled, "cancelled");
    clock.wait_until(lock, never, std::min<SteadyTime>(until, clock.steady() + kSlice),
                     [] { return false; });
  }
  return {};
}

Result<KubernetesReply> send_patiently(const Kubernetes& api, KubernetesCall call,
                                       const KubernetesPatience& patience,
                                       const std::function<bool(const KubernetesReply&)>& busy) {
  call.deadline = patience.deadline;
  call.cancelled = patience.cancelled;
  Millis wait = kFirstWait;
  while (true) {
    auto reply = api.send(call);
    if (!reply) return reply;
    if (!asks_to_wait(*reply) || (busy && !busy(*reply))) return reply;
    if (auto waited = wait_for(api.clock(), reply->retry_after.value_or(wait), patience); !waited)
      return std::unexpected(Error(
          waited.error().code(),
          fmt::format("{}; {}", api.explain(call, *reply).message(), waited.error().message())));
    wait = std::min(2 * wait, kLongestWait);
  }
}

Result<json::value> ask(const Kubernetes& api, KubernetesCall call,
                        const KubernetesPatience& patience) {
  auto reply = send_patiently(api, call, patience);
  if (!reply) return propagate(std::move(reply));
  if (reply->status >= 400 || reply->status < 200)
    return std::unexpected(api.explain(call, *reply));
  auto value = parse_json(reply->body);
  if (!value) return propagate(std::move(value), "{}{}", api.access().server, call.path);
  return value;
}

Result<json::value> get(const Kubernetes& api, const std::string& path,
                        const KubernetesPatience& patience) {
  return ask(api, {.path = path}, patience);
}

Result<json::value> edit(
    const Kubernetes& api, const std::string& path, const KubernetesPatience& patience,
    const std::function<Result<std::optional<KubernetesEdit>>(const json::value& now)>& change) {
  Millis wait{0};
  std::string uid;
  for (int attempt = 0;; ++attempt) {
    auto now = get(api, path, patience);
    if (!now) return now;
    const std::string uid_now = text_of(member(member(&*now, "metadata"), "uid"));
    if (attempt > 0 && uid_now != uid)
      return fail(Errc::kConflict, "{}{}: it was deleted and made again meanwhile",
                  api.access().server, path);
    uid = uid_now;
    auto wanted = change(*now);
    if (!wanted) return propagate(std::move(wanted));
    if (!*wanted) return now;
    KubernetesEdit& body = **wanted;
    pin(body, *now);
    const KubernetesCall call{.method = body.method,
                              .path = path,
                              .json = json::serialize(body.body),
                              .content_type = body.content_type};
    auto reply = send_patiently(api, call, patience);
    if (!reply) return propagate(std::move(reply));
    if (reply->status == 409 && attempt < kMostConflicts) {
      if (auto waited = wait_for(api.clock(), wait, patience); !waited)
        return propagate(std::move(waited), "{}", api.explain(call, *reply).message());
      wait = std::min(2 * wait + Millis(10), kLongestWait);
      continue;
    }
    if (reply->status >= 400) return std::unexpected(api.explain(call, *reply));
    auto value = parse_json(reply->body);
    if (!value) return propagate(std::move(value), "{}{}", api.access().server, path);
    return value;
  }
}

std::string object_path(std::string_view group, std::string_view name_space, std::string_view kind,
                        std::string_view name) {
  return collection(group, name_space, kind) + "/" + url_encode(name);
}

Result<std::string> choose_version(const Kubernetes& api, std::string_view group,
                                   std::span<const std::string_view> versions,
                                   const KubernetesPatience& patience) {
  auto value = get(api, fmt::format("/apis/{}", group), patience);
  if (!value && value.error().code() != Errc::kNotFound) return propagate(std::move(value));
  std::vector<std::string> served;
  if (value) {
    if (const auto* list = array_of(member(&*value, "versions"))) {
      for (const auto& one : *list) served.push_back(text_of(member(&one, "version")));
    }
  }
  for (const auto version : versions) {
    if (std::ranges::find(served, version) != served.end()) return std::string(version);
  }
  return fail(Errc::kUnsupported, "{} serves no {} in {} (but {})", api.access().server, group,
              fmt::join(versions, ", "),
              served.empty() ? "none at all" : fmt::format("{}", fmt::join(served, ", ")));
}

}  // namespace nexus::drivers
