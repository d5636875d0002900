#include "nexus/drivers/fetcher.hpp"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <list>
#include <memory>

#include "drivers/tls_facts.hpp"
#include "nexus/base/text.hpp"

namespace nexus::drivers {
namespace {

constexpr long kMostConnections = 64;
constexpr std::size_t kMostHeaders = 200;

struct Transfer {
  FetchRequest request;
  Fetcher::Takers takers;
  FetchResult result;
  CURL* handle = nullptr;
  curl_slist* headers = nullptr;
  curl_slist* resolve = nullptr;
  curl_slist* connect_to = nullptr;
  char message[CURL_ERROR_SIZE] = {};
  bool headed = false;  // on_head was called
  bool enough = false;  // on_data said so

  ~Transfer() {
    if (handle != nullptr) curl_easy_cleanup(handle);
    curl_slist_free_all(headers);
    curl_slist_free_all(resolve);
    curl_slist_free_all(connect_to);
  }
};

void note_tls(Transfer& transfer) {
  curl_tlssessioninfo* session = nullptr;
  if (curl_easy_getinfo(transfer.handle, CURLINFO_TLS_SSL_PTR, &session) != CURLE_OK ||
      session == nullptr || session->internals == nullptr ||
      session->backend != CURLSSLBACKEND_OPENSSL)
    return;
  transfer.result.ssl = true;
  transfer.result.tls = tls_facts(static_cast<const SSL*>(session->internals));
}

std::size_t on_header(char* data, std::size_t size, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) {  // of a redirect, or of the final answer
    transfer.result.headers.clear();
    transfer.result.ssl = false;
    note_tls(transfer);
    return size * count;
  }
  const auto colon = line.find(':');
  if (colon != std::string_view::npos && transfer.result.headers.size() < kMostHeaders) {
    transfer.result.headers.emplace_back(base::trim(line.substr(0, colon)),
                                         base::trim(line.substr(colon + 1)));
  }
  return size * count;
}

void note_answer(Transfer& transfer) {
  FetchResult& result = transfer.result;
  long status = 0;
  curl_easy_getinfo(transfer.handle, CURLINFO_RESPONSE_CODE, &status);
  result.http_status = static_cast<unsigned>(status);
  const char* type = nullptr;
  curl_easy_getinfo(transfer.handle, CURLINFO_CONTENT_TYPE, &type);
  if (type != nullptr) result.content_type = type;
  long version = 0;
  curl_easy_getinfo(transfer.handle, CURLINFO_HTTP_VERSION, &version);
  result.http_version = version == CURL_HTTP_VERSION_1_0   ? "1.0"
                        : version == CURL_HTTP_VERSION_1_1 ? "1.1"
                        : version == CURL_HTTP_VERSION_2_0 ? "2.0"
                                                           : "";
  curl_off_t length = -1;
  curl_easy_getinfo(transfer.handle, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  result.content_length = length;
}

std::size_t on_data(char* data, std::size_t size, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (!transfer.headed) {
    transfer.headed = true;
    note_answer(transfer);
    if (transfer.takers.on_head) transfer.takers.on_head(transfer.result);
  }
  const std::string_view part(data, size * count);
  transfer.result.body_bytes += part.size();
  if (!transfer.takers.on_data || transfer.takers.on_data(part)) return size * count;
  transfer.enough = true;
  return 0;  // ends the transfer
}

void note_times(Transfer& transfer) {
  FetchResult& result = transfer.result;
  const auto seconds = [&](CURLINFO what) {
    curl_off_t micros = 0;
    curl_easy_getinfo(transfer.handle, what, &micros);
    return static_cast<double>(micros) / 1e6;
  };
  // Each from the begin; 0 when it was not reached, or a connection was used again.
  const double resolved = seconds(CURLINFO_NAMELOOKUP_TIME_T);
  const double connected = std::max(resolved, seconds(CURLINFO_CONNECT_TIME_T));
  const double secured = std::max(connected, seconds(CURLINFO_APPCONNECT_TIME_T));
  const double first = seconds(CURLINFO_STARTTRANSFER_TIME_T);
  result.total_seconds = seconds(CURLINFO_TOTAL_TIME_T);
  result.resolve_seconds = resolved;
  result.connect_seconds = connected - resolved;
  result.tls_seconds = secured - connected;
  result.processing_seconds = std::max(0.0, first - secured);
  result.transfer_seconds = first > 0 ? std::max(0.0, result.total_seconds - first) : 0;
  curl_easy_getinfo(transfer.handle, CURLINFO_REDIRECT_COUNT, &result.redirects);
}

Errc classify(CURLcode code) {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return Errc::kTimeout;
    case CURLE_WRITE_ERROR:
    case CURLE_TOO_MANY_REDIRECTS:
      return Errc::kExhausted;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
      return Errc::kInvalidArgument;
    default:
      return Errc::kUnavailable;
  }
}

void set_tls(CURL* handle, const TlsOptions& tls) {
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, tls.insecure_skip_verify ? 0L : 1L);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, tls.insecure_skip_verify ? 0L : 2L);
  if (!tls.ca_file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, tls.ca_file.c_str());
  if (!tls.cert_file.empty()) curl_easy_setopt(handle, CURLOPT_SSLCERT, tls.cert_file.c_str());
  if (!tls.key_file.empty()) curl_easy_setopt(handle, CURLOPT_SSLKEY, tls.key_file.c_str());
}

/// The certificate is to be for another name than the URL's host: that name is asked for (SNI too),
/// at the URL's address, and the URL's host stays the Host header.
void set_server_name(Transfer& transfer) {
  const auto& name = transfer.request.tls.server_name;
  if (name.empty()) return;
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), curl_url_cleanup);
  const auto get = [&](CURLUPart part, unsigned flags) {
    char* text = nullptr;
    std::string out;
    if (curl_url_get(url.get(), part, &text, flags) == CURLUE_OK) out = text;
    curl_free(text);
    return out;
  };
  if (!url ||
      curl_url_set(url.get(), CURLUPART_URL, transfer.request.url.c_str(), 0) != CURLUE_OK ||
      get(CURLUPART_SCHEME, 0) != "https")
    return;
  const auto host = get(CURLUPART_HOST, 0);
  const auto port = get(CURLUPART_PORT, CURLU_DEFAULT_PORT);
  const auto shown = get(CURLUPART_PORT, CURLU_NO_DEFAULT_PORT);
  if (curl_url_set(url.get(), CURLUPART_HOST, name.c_str(), 0) != CURLUE_OK) return;
  transfer.connect_to =
      curl_slist_append(nullptr, fmt::format("{}:{}:{}:{}", name, port, host, port).c_str());
  const auto host_header = fmt::format("Host: {}{}{}", host, shown.empty() ? "" : ":", shown);
  transfer.headers = curl_slist_append(transfer.headers, host_header.c_str());
  curl_easy_setopt(transfer.handle, CURLOPT_CONNECT_TO, transfer.connect_to);
  curl_easy_setopt(transfer.handle, CURLOPT_URL, get(CURLUPART_URL, 0).c_str());
}

void set_headers(Transfer& transfer) {
  const auto& request = transfer.request;
  const auto add = [&](const std::string& line) {
    transfer.headers = curl_slist_append(transfer.headers, line.c_str());
  };
  for (const auto& [name, value] : request.headers)
    add(value.empty() ? fmt::format("{};", name) : fmt::format("{}: {}", name, value));
  if (!request.token.empty()) add(fmt::format("Authorization: Bearer {}", request.token));
  curl_easy_setopt(transfer.handle, CURLOPT_HTTPHEADER, transfer.headers);
}

void set_body(CURL* handle, const FetchRequest& request) {
  if (request.method == "HEAD") {
    curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
    return;
  }
  curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  if (request.body.empty() && request.method != "POST") return;
  curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE,
                   static_cast<curl_off_t>(request.body.size()));
  curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request.body.c_str());
}

void prepare(Transfer& transfer) {
  CURL* handle = transfer.handle;
  const auto& request = transfer.request;
  curl_easy_setopt(handle, CURLOPT_PRIVATE, &transfer);
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, transfer.message);
  curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  if (!request.unix_socket.empty())
    curl_easy_setopt(handle, CURLOPT_UNIX_SOCKET_PATH, request.unix_socket.c_str());
  curl_easy_setopt(handle, CURLOPT_PROXY, "");  // an agent asks its targets itself
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, request.max_redirects > 0 ? 1L : 0L);
  curl_easy_setopt(handle, CURLOPT_MAXREDIRS, request.max_redirects);
  curl_easy_setopt(handle, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
  if (request.compressed) curl_easy_setopt(handle, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
  if (!request.username.empty()) {
    curl_easy_setopt(handle, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
    curl_easy_setopt(handle, CURLOPT_USERNAME, request.username.c_str());
    curl_easy_setopt(handle, CURLOPT_PASSWORD, request.password.c_str());
  }
  if (!request.resolve.empty()) {
    transfer.resolve = curl_slist_append(nullptr, request.resolve.c_str());
    curl_easy_setopt(handle, CURLOPT_RESOLVE, transfer.resolve);
  }
  set_tls(handle, request.tls);
  set_server_name(transfer);
  set_headers(transfer);
  set_body(handle, request);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_data);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
}

}  // namespace

std::optional<std::int64_t> parse_http_date(const std::string& text) {
  const auto seconds = curl_getdate(text.c_str(), nullptr);
  return seconds < 0 ? std::nullopt : std::optional<std::int64_t>(seconds);
}

struct Fetcher::Impl {
  CURLM* multi = nullptr;
  std::list<Transfer> transfers;
  std::vector<std::pair<FetchResult, Takers>> refused;  // before they began

  void complete(CURL* handle, CURLcode code) {
    Transfer* found = nullptr;
    curl_easy_getinfo(handle, CURLINFO_PRIVATE, &found);
    curl_multi_remove_handle(multi, handle);
    const auto at =
        std::ranges::find_if(transfers, [&](const Transfer& one) { return &one == found; });
    if (at == transfers.end()) return;
    Transfer& transfer = *at;
    note_times(transfer);
    if (!transfer.headed) note_answer(transfer);
    if (code != CURLE_OK) {
      const char* why = transfer.message[0] != '\0' ? transfer.message : curl_easy_strerror(code);
      transfer.result.status = transfer.enough
                                   ? fail(Errc::kExhausted, "{} {}: enough",
                                          transfer.request.method, transfer.request.url)
                                   : fail(classify(code), "{} {}: {}", transfer.request.method,
                                          transfer.request.url, why);
    } else if (!transfer.headed && transfer.takers.on_head) {
      transfer.takers.on_head(transfer.result);
    }
    auto takers = std::move(transfer.takers);
    auto result = std::move(transfer.result);
    transfers.erase(at);
    if (takers.on_done) takers.on_done(std::move(result));
  }
};

Fetcher::Fetcher() : impl_(std::make_unique<Impl>()) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  impl_->multi = initialised == CURLE_OK ? curl_multi_init() : nullptr;
  if (impl_->multi != nullptr)
    curl_multi_setopt(impl_->multi, CURLMOPT_MAXCONNECTS, kMostConnections);
}

Fetcher::~Fetcher() {
  for (auto& transfer : impl_->transfers) curl_multi_remove_handle(impl_->multi, transfer.handle);
  impl_->transfers.clear();
  if (impl_->multi != nullptr) curl_multi_cleanup(impl_->multi);
}

void Fetcher::start(FetchRequest request, Takers takers) {
  Transfer& transfer = impl_->transfers.emplace_back();
  transfer.request = std::move(request);
  transfer.takers = std::move(takers);
  transfer.handle = impl_->multi == nullptr ? nullptr : curl_easy_init();
  if (transfer.handle != nullptr) {
    prepare(transfer);
    if (curl_multi_add_handle(impl_->multi, transfer.handle) == CURLM_OK) return;
  }
  FetchResult result;
  result.status = fail(Errc::kExhausted, "{} {}: libcurl gave no handle", transfer.request.method,
                       transfer.request.url);
  impl_->refused.emplace_back(std::move(result), std::move(transfer.takers));
  impl_->transfers.pop_back();
}

void Fetcher::run(Millis wait) {
  auto refused = std::exchange(impl_->refused, {});
  for (auto& [result, takers] : refused) {
    if (takers.on_done) takers.on_done(std::move(result));
  }
  if (impl_->multi == nullptr) return;
  int running = 0;
  curl_multi_perform(impl_->multi, &running);
  int left = 0;
  bool ended = !refused.empty();
  while (const CURLMsg* message = curl_multi_info_read(impl_->multi, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    impl_->complete(message->easy_handle, message->data.result);
    ended = true;
  }
  // Whoever waits for an end measures the time until then.
  if (wait > Millis(0) && !ended && impl_->refused.empty())
    curl_multi_poll(impl_->multi, nullptr, 0, static_cast<int>(wait.count()), nullptr);
}

void Fetcher::wake() {
  if (impl_->multi != nullptr) curl_multi_wakeup(impl_->multi);
}

std::size_t Fetcher::running() const noexcept {
  return impl_->transfers.size() + impl_->refused.size();
}

}  // namespace nexus::drivers
