#include "nexus/drivers/kubernetes_lease.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "drivers/json.hpp"
#include "drivers/kubernetes_calls.hpp"
#include "drivers/kubernetes_list.hpp"
#include "nexus/base/away.hpp"
#include "nexus/base/text.hpp"

namespace nexus::drivers {
namespace {

namespace json = boost::json;

constexpr std::string_view kGroup = "/apis/coordination.k8s.io/v1";  // from Kubernetes 1.14 on
constexpr std::string_view kVersion = "coordination.k8s.io/v1";

Lease to_lease(const json::value& object) {
  const auto* metadata = member(&object, "metadata");
  const auto* spec = member(&object, "spec");
  Lease out;
  out.name = text_of(member(metadata, "name"));
  out.holder = text_of(member(spec, "holderIdentity"));
  if (const auto seconds = whole_of<std::int64_t>(member(spec, "leaseDurationSeconds"));
      seconds > 0)
    out.lasts = std::chrono::seconds(seconds);
  out.renewed = text_of(member(spec, "renewTime"));
  out.transitions = whole_of<std::uint64_t>(member(spec, "leaseTransitions"));
  out.uid = text_of(member(metadata, "uid"));
  out.version = text_of(member(metadata, "resourceVersion"));
  return out;
}

/// The API takes exactly six digits behind the point.
std::string micro_time(WallTime time) {
  std::string out = base::to_rfc3339(time);
  if (out.ends_with('Z')) out.insert(out.size() - 1, "000");
  return out;
}

json::object spec_of(std::string_view holder, Millis lasts, WallTime now,
                     std::uint64_t transitions) {
  return {{"holderIdentity", holder},
          {"leaseDurationSeconds",
           std::max<std::int64_t>(1, std::chrono::ceil<std::chrono::seconds>(lasts).count())},
          {"acquireTime", micro_time(now)},
          {"renewTime", micro_time(now)},
          {"leaseTransitions", transitions}};
}

/// Whether it may have been done all the same.
bool is_open(const Error& error) {
  return is_away(error) || error.code() == Errc::kInternal;
}

/// Sends what makes `holder` the holder of the lease at `path`; when nobody answers, the lease
/// itself is asked.
Result<Lease> hold(const Kubernetes& api, const KubernetesCall& call, const std::string& path,
                   std::string_view holder, const KubernetesPatience& patience) {
  auto sent = ask(api, call, patience);
  if (sent) return to_lease(*sent);
  if (!is_open(sent.error())) return propagate(std::move(sent));
  auto now = get(api, path, patience);
  if (!now) return propagate(std::move(sent));
  auto lease = to_lease(*now);
  if (lease.holder != holder) return propagate(std::move(sent));
  return lease;
}

}  // namespace

Result<std::vector<Lease>> KubernetesLeases::labelled(std::string_view key, std::string_view value,
                                                      std::size_t limit,
                                                      const KubernetesPatience& patience) const {
  std::vector<Lease> out;
  auto listed = list_objects(
      api_, collection(kGroup, name_space_, "leases"),
      "labelSelector=" + url_encode(fmt::format("{}={}", key, value)), limit, patience,
      [&](const json::value& item) { out.push_back(to_lease(item)); }, [&] { out.clear(); });
  if (!listed) return propagate(std::move(listed));
  if (listed->left_out > 0)
    return fail(Errc::kExhausted, "namespace {} has more than {} leases with the label {}={}",
                name_space_, limit, key, value);
  return out;
}

Result<Lease> KubernetesLeases::make(std::string_view name, std::string_view key,
                                     std::string_view value, std::string_view holder, Millis lasts,
                                     const KubernetesPatience& patience) const {
  const json::object object{
      {"apiVersion", kVersion},
      {"kind", "Lease"},
      {"metadata",
       {{"name", name}, {"namespace", name_space_}, {"labels", json::object{{key, value}}}}},
      {"spec", spec_of(holder, lasts, api_.clock().wall(), 0)}};
  return hold(api_,
              {.method = "POST",
               .path = collection(kGroup, name_space_, "leases"),
               .json = json::serialize(object)},
              object_path(kGroup, name_space_, "leases", name), holder, patience);
}

Result<Lease> KubernetesLeases::take(const Lease& seen, std::string_view holder, Millis lasts,
                                     const KubernetesPatience& patience) const {
  const std::string path = object_path(kGroup, name_space_, "leases", seen.name);
  const json::object change{
      {"metadata", {{"resourceVersion", seen.version}, {"uid", seen.uid}}},
      {"spec", spec_of(holder, lasts, api_.clock().wall(), seen.transitions + 1)}};
  return hold(api_,
              {.method = "PATCH",
               .path = path,
               .json = json::serialize(change),
               .content_type = kMergePatch},
              path, holder, patience);
}

Status KubernetesLeases::give_back(const Lease& mine, const KubernetesPatience& patience) const {
  const std::string path = object_path(kGroup, name_space_, "leases", mine.name);
  auto given = edit(
      api_, path, patience, [&](const json::value& now) -> Result<std::optional<KubernetesEdit>> {
        const Lease is = to_lease(now);
        if (is.uid != mine.uid || is.holder != mine.holder) return std::nullopt;
        // As client-go does: free at once, also for those who only look at the time.
        return KubernetesEdit{json::object{{"spec", spec_of("", std::chrono::seconds(1),
                                                            api_.clock().wall(), is.transitions)}},
                              kMergePatch};
      });
  // Somebody has removed it: then nobody holds it.
  if (!given && given.error().code() != Errc::kNotFound) return propagate(std::move(given));
  return {};
}

std::string object_name(std::string_view text, std::size_t longest) {
  constexpr std::size_t kNumber = 9;  // "-0123abcd"
  std::string out;
  bool same = true;
  for (const char c : text) {
    const bool kept = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    out += kept ? c : '-';
    // '_' is what names of actions have between their words.
    same = same && (kept || c == '_');
  }
  const auto first = out.find_first_not_of('-');
  same = same && first == 0 && !out.ends_with('-') && out.size() <= longest;
  if (same) return out;
  out.erase(0, std::min(first, out.size()));
  out.resize(std::min(out.size(), longest - kNumber));
  while (out.ends_with('-')) out.pop_back();
  return fmt::format("{}{}{:08x}", out, out.empty() ? "" : "-",
                     static_cast<std::uint32_t>(base::fnv1a(text)));
}

}  // namespace nexus::drivers
