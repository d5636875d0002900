#include "nexus/drivers/kubernetes.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "drivers/json.hpp"
#include "drivers/kubernetes_objects.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

namespace nexus::drivers {
namespace {

// A page is parsed as a whole, which takes several times its bytes: few objects a page, and half as
// many when they turn out to be large.
constexpr std::size_t kPage = 100;              // objects
constexpr std::size_t kLargestPage = 4U << 20;  // bytes

struct Page {
  std::uint64_t remaining = 0;
  std::string next;  // token of the next page
};

using AddItem = std::function<void(const boost::json::value& item)>;

Result<Page> read_page(const std::string& body, const AddItem& add) {
  const auto value = parse_json(body);
  if (!value) return propagate(Result<boost::json::value>(std::unexpected(value.error())));
  const auto* items = array_of(member(&*value, "items"));
  const auto* nothing = member(&*value, "items");
  if (items == nullptr && (nothing == nullptr || !nothing->is_null()))
    return fail(Errc::kCorrupt, "the answer is no list");
  if (items != nullptr) {
    for (const auto& item : *items) add(item);
  }
  const auto* metadata = member(&*value, "metadata");
  return Page{whole_of<std::uint64_t>(member(metadata, "remainingItemCount")),
              text_of(member(metadata, "continue"))};
}

/// Follows a list page by page. `clear` is called when it begins anew.
Result<std::uint64_t> follow(const Kubernetes& api, const std::string& path, std::string query,
                             std::size_t limit, SteadyTime deadline,
                             const std::function<std::size_t()>& taken, const AddItem& add,
                             const std::function<void()>& clear) {
  if (!query.empty()) query = "&" + query;
  std::string next;
  bool again = false;
  std::size_t page_size = kPage;
  while (true) {
    const std::size_t room = limit - std::min(limit, taken());
    std::string target = fmt::format("{}?limit={}{}", path, std::min(page_size, room), query);
    if (!next.empty()) target += "&continue=" + url_encode(next);
    auto answer = api.request("GET", target, {}, deadline);
    if (!answer && answer.error().code() == Errc::kExhausted && page_size > 1 &&
        !answer.error().message().ends_with("(status 429)")) {
      page_size = std::max<std::size_t>(1, std::min(page_size, std::max<std::size_t>(1, room)) / 2);
      continue;
    }
    if (!answer) {
      // 410 Gone: the page is older than what the API server keeps.
      const bool gone = answer.error().message().ends_with("(status 410)");
      if (!gone || again || next.empty()) return propagate(std::move(answer));
      again = true;
      next.clear();
      clear();
      continue;
    }
    auto page = read_page(answer->body, add);
    if (!page) return propagate(std::move(page), "{}{}", api.access().server, path);
    if (page->next.empty()) return 0;
    if (page->next == next)
      return fail(Errc::kCorrupt, "{}{}: the list goes round", api.access().server, path);
    next = page->next;
    if (taken() >= limit) return std::max<std::uint64_t>(page->remaining, 1);
  }
}

template <typename T, typename Convert>
Result<KubernetesList<T>> list(const Kubernetes& api, const std::string& path,
                               const std::string& query, std::size_t limit, SteadyTime deadline,
                               Convert convert) {
  KubernetesList<T> out;
  std::uint64_t extra = 0;
  auto left_out = follow(
      api, path, query, limit, deadline, [&] { return out.items.size(); },
      [&](const boost::json::value& item) {
        if (out.items.size() < limit) {
          out.items.push_back(convert(item));
        } else {
          ++extra;
        }
      },
      [&] {
        out.items.clear();
        extra = 0;
      });
  if (!left_out) return propagate(std::move(left_out));
  out.left_out = *left_out + extra;
  return out;
}

std::string within(std::string_view group, std::string_view name_space, std::string_view kind) {
  return name_space.empty()
             ? fmt::format("{}/{}", group, kind)
             : fmt::format("{}/namespaces/{}/{}", group, url_encode(name_space), kind);
}

std::string select(std::string_view field, std::string_view value) {
  return value.empty() ? std::string()
                       : "fieldSelector=" + url_encode(fmt::format("{}={}", field, value));
}

}  // namespace

Result<KubernetesAnswer> Kubernetes::request(std::string_view method, std::string_view path,
                                             std::string_view body, SteadyTime deadline,
                                             std::string_view content_type) const {
  HttpRequest request;
  request.method = method;
  request.url = fmt::format("{}{}", access_.server, path);
  request.body = body;
  request.max_body = kLargestPage;
  request.tls = access_.tls;
  request.headers.emplace_back("Accept", "application/json");
  if (!body.empty()) request.headers.emplace_back("Content-Type", content_type);
  std::string token = access_.token.reveal();
  if (!access_.token_file.empty()) {
    auto text = host::read_file(access_.token_file);
    if (!text) return propagate(std::move(text), "token of the Kubernetes API");
    token = base::trim(*text);
  }
  if (!token.empty()) request.headers.emplace_back("Authorization", "Bearer " + token);
  request.timeout = std::chrono::duration_cast<Millis>(deadline - clock_.steady());
  if (request.timeout <= Millis(0))
    return fail(Errc::kTimeout, "{} {}: no time is left", method, request.url);
  auto response = http_request(request);
  if (!response) return propagate(std::move(response), "Kubernetes API");
  if (response->status >= 400 || response->status < 200)
    return fail(errc_of_status(response->status), "Kubernetes API: {} {}: {} (status {})", method,
                request.url, message_of(response->body, {"message"}), response->status);
  return KubernetesAnswer{response->status, std::move(response->body)};
}

Result<KubernetesList<KubernetesNode>> Kubernetes::nodes(std::string_view name, std::size_t limit,
                                                         SteadyTime deadline) const {
  return list<KubernetesNode>(*this, "/api/v1/nodes", select("metadata.name", name), limit,
                              deadline, to_node);
}

Result<KubernetesList<KubernetesPod>> Kubernetes::pods(std::string_view name_space,
                                                       std::string_view node, std::size_t limit,
                                                       SteadyTime deadline) const {
  return list<KubernetesPod>(*this, within("/api/v1", name_space, "pods"),
                             select("spec.nodeName", node), limit, deadline, to_pod);
}

Result<KubernetesList<KubernetesDeployment>> Kubernetes::deployments(std::string_view name_space,
                                                                     std::size_t limit,
                                                                     SteadyTime deadline) const {
  return list<KubernetesDeployment>(*this, within("/apis/apps/v1", name_space, "deployments"), {},
                                    limit, deadline, to_deployment);
}

Result<KubernetesList<KubernetesEvent>> Kubernetes::warnings(std::string_view name_space,
                                                             std::size_t limit,
                                                             SteadyTime deadline) const {
  return list<KubernetesEvent>(*this, within("/api/v1", name_space, "events"),
                               select("type", "Warning"), limit, deadline, to_event);
}

}  // namespace nexus::drivers
