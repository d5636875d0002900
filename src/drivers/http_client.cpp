#include "nexus/drivers/http_client.hpp"

#include <curl/curl.h>
#include <fmt/format.h>

#include <array>
#include <memory>

#include "nexus/base/text.hpp"

namespace nexus::drivers {
namespace {

constexpr std::size_t kMostHeaders = 100;

struct Received {
  CURL* handle;
  const HttpRequest& request;
  std::string body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};
  bool ended = false;  // by HttpRequest::receive
};

std::size_t on_header(char* data, std::size_t size, std::size_t count, void* user) {
  auto& received = *static_cast<Received*>(user);
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) {  // what came before was of a proxy, a hint or a redirect
    received.headers.clear();
    return size * count;
  }
  const auto colon = line.find(':');
  if (colon != std::string_view::npos && received.headers.size() < kMostHeaders) {
    std::string name(base::trim(line.substr(0, colon)));
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    received.headers.emplace_back(std::move(name), base::trim(line.substr(colon + 1)));
  }
  return size * count;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return (*static_cast<const std::function<bool()>*>(user))() ? 1 : 0;  // 1 ends the transfer
}

std::size_t on_data(char* data, std::size_t size, std::size_t count, void* user) {
  auto& received = *static_cast<Received*>(user);
  if (received.request.receive) {
    long status = 0;
    curl_easy_getinfo(received.handle, CURLINFO_RESPONSE_CODE, &status);
    if (status < 400) {
      received.ended = !received.request.receive({data, size * count});
      return received.ended ? 0 : size * count;
    }
  }
  if (received.body.size() + size * count > received.request.max_body)
    return 0;  // makes curl end with CURLE_WRITE_ERROR
  received.body.append(data, size * count);
  return size * count;
}

Errc classify(CURLcode code) {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return Errc::kTimeout;
    case CURLE_WRITE_ERROR:
      return Errc::kExhausted;
    case CURLE_ABORTED_BY_CALLBACK:
      return Errc::kCancelled;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return Errc::kInvalidArgument;
    default:
      return Errc::kUnavailable;
  }
}

void set_pem(CURL* handle, CURLoption option, const std::string& pem) {
  curl_blob blob{const_cast<char*>(pem.data()), pem.size(), CURL_BLOB_NOCOPY};
  curl_easy_setopt(handle, option, &blob);
}

void set_tls(CURL* handle, const HttpTls& tls) {
  const auto set_file = [&](CURLoption option, const std::string& file) {
    if (!file.empty()) curl_easy_setopt(handle, option, file.c_str());
  };
  set_file(CURLOPT_CAINFO, tls.ca_file);
  set_file(CURLOPT_SSLCERT, tls.cert_file);
  set_file(CURLOPT_SSLKEY, tls.key_file);
  if (!tls.ca_pem.empty()) set_pem(handle, CURLOPT_CAINFO_BLOB, tls.ca_pem);
  if (!tls.cert_pem.empty()) set_pem(handle, CURLOPT_SSLCERT_BLOB, tls.cert_pem);
  if (!tls.key_pem.empty()) set_pem(handle, CURLOPT_SSLKEY_BLOB, tls.key_pem);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, tls.verify ? 1L : 0L);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, tls.verify ? 2L : 0L);
}

bool initialised() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  return code == CURLE_OK;
}

}  // namespace

Result<HttpResponse> http_request(const HttpRequest& request) {
  if (!initialised()) return fail(Errc::kInternal, "libcurl cannot be initialised");
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(),
                                                                 curl_easy_cleanup);
  if (!curl) return fail(Errc::kExhausted, "libcurl gave no handle");
  curl_slist* list = nullptr;
  for (const auto& [name, value] : request.headers)
    list = curl_slist_append(list, fmt::format("{}: {}", name, value).c_str());
  const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(list,
                                                                            curl_slist_free_all);
  CURL* handle = curl.get();
  Received received{.handle = handle, .request = request};
  curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  // Else the end of the handle waits for a resolver that hangs, for far longer than the time limit.
  curl_easy_setopt(handle, CURLOPT_QUICK_EXIT, 1L);
  curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_data);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &received);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &received);
  if (!request.proxy.empty()) curl_easy_setopt(handle, CURLOPT_PROXY, request.proxy.c_str());
  if (request.cancelled) {
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &request.cancelled);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  }
  std::array<char, CURL_ERROR_SIZE> reason{};
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, reason.data());
  set_tls(handle, request.tls);
  if (!request.unix_socket.empty())
    curl_easy_setopt(handle, CURLOPT_UNIX_SOCKET_PATH, request.unix_socket.c_str());
  if (!request.body.empty() || request.method == "POST") {
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request.body.c_str());
  }
  if (const auto code = curl_easy_perform(handle); code != CURLE_OK && !received.ended) {
    // The buffer says more: which certificate, which port.
    return fail(
        classify(code), "{} {}: {}", request.method,
        request.shown.empty() ? request.url : request.shown,
        reason[0] != 0 && code != CURLE_WRITE_ERROR ? reason.data() : curl_easy_strerror(code));
  }
  HttpResponse response;
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  response.status = static_cast<unsigned>(status);
  const char* type = nullptr;
  curl_easy_getinfo(handle, CURLINFO_CONTENT_TYPE, &type);
  if (type != nullptr) response.content_type = type;
  response.body = std::move(received.body);
  response.headers = std::move(received.headers);
  return response;
}

std::string url_encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
                       (byte >= 'a' && byte <= 'z') || byte == '-' || byte == '_' || byte == '.' ||
                       byte == '~';
    if (plain) {
      out += c;
    } else {
      fmt::format_to(std::back_inserter(out), "%{:02X}", byte);
    }
  }
  return out;
}

}  // namespace nexus::drivers
