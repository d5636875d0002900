#include "drivers/kubernetes_list.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "drivers/json.hpp"

namespace nexus::drivers {
namespace {

// A page is parsed as a whole, which takes several times its bytes: few objects a page, and half as
// many when they turn out to be large.
constexpr std::size_t kPage = 100;              // objects
constexpr std::size_t kLargestPage = 4U << 20;  // bytes

struct Page {
  std::uint64_t remaining = 0;
  std::string next;  // token of the next page
  std::string version;
};

Result<Page> read_page(const std::string& body,
                       const std::function<void(const boost::json::value&)>& add) {
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
              text_of(member(metadata, "continue")), text_of(member(metadata, "resourceVersion"))};
}

}  // namespace

Result<KubernetesListed> list_objects(
    const Kubernetes& api, const std::string& path, std::string query, std::size_t limit,
    const KubernetesPatience& patience,
    const std::function<void(const boost::json::value& item)>& add,
    const std::function<void()>& clear) {
  if (!query.empty()) query = "&" + query;
  std::string next;
  std::size_t taken = 0;
  std::uint64_t extra = 0;
  bool again = false;
  std::size_t page_size = kPage;
  const auto take = [&](const boost::json::value& item) {
    if (taken >= limit) {
      ++extra;
      return;
    }
    ++taken;
    add(item);
  };
  while (true) {
    KubernetesCall call{
        .path = fmt::format("{}?limit={}{}", path, std::min(page_size, limit - taken), query),
        .deadline = patience.deadline,
        .cancelled = patience.cancelled,
        .largest_answer = kLargestPage};
    if (!next.empty()) call.path += "&continue=" + url_encode(next);
    auto reply = api.send(call);
    if (!reply && reply.error().code() == Errc::kExhausted && page_size > 1) {
      page_size = std::max<std::size_t>(std::min(page_size, limit - taken) / 2, 1);
      continue;
    }
    if (!reply) return propagate(std::move(reply));
    if (reply->status == 410 && !again && !next.empty()) {
      // The page is older than what the API server keeps.
      again = true;
      next.clear();
      taken = 0;
      extra = 0;
      clear();
      continue;
    }
    if (reply->status != 200) return std::unexpected(api.explain(call, *reply));
    auto page = read_page(reply->body, take);
    if (!page) return propagate(std::move(page), "{}{}", api.access().server, path);
    if (page->next.empty()) return KubernetesListed{std::move(page->version), extra};
    if (page->next == next)
      return fail(Errc::kCorrupt, "{}{}: the list goes round", api.access().server, path);
    next = page->next;
    if (taken >= limit)
      return KubernetesListed{std::move(page->version),
                              extra + std::max<std::uint64_t>(page->remaining, 1)};
  }
}

std::string collection(std::string_view group, std::string_view name_space, std::string_view kind) {
  return name_space.empty()
             ? fmt::format("{}/{}", group, kind)
             : fmt::format("{}/namespaces/{}/{}", group, url_encode(name_space), kind);
}

std::string selecting(std::string_view field, std::string_view value) {
  return value.empty() ? std::string()
                       : "fieldSelector=" + url_encode(fmt::format("{}={}", field, value));
}

}  // namespace nexus::drivers
