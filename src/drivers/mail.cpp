#include "nexus/drivers/mail.hpp"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "nexus/base/text.hpp"

namespace nexus::drivers {
namespace {

using Handle = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using List = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;
using Mime = std::unique_ptr<curl_mime, decltype(&curl_mime_free)>;

bool has_break(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

bool is_address(std::string_view text) {
  return text.contains('@') && std::ranges::none_of(text, [](char c) {
           return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || c == '<' || c == '>';
         });
}

/// A line has 998 bytes at most: many addresses are as many lines.
std::string folded(std::string_view header) {
  constexpr std::size_t kLongest = 900;
  std::string out;
  while (header.size() > kLongest) {
    const auto comma = header.rfind(", ", kLongest);
    if (comma == std::string_view::npos) break;
    out += std::string(header.substr(0, comma + 1)) + "\r\n ";
    header.remove_prefix(comma + 2);
  }
  return out + std::string(header);
}

Status check(const Mail& mail) {
  for (const auto& header : mail.headers) {
    if (has_break(header))
      return fail(Errc::kInvalidArgument, "a header of a mail has a line break");
  }
  if (!is_address(mail.from)) return fail(Errc::kInvalidArgument, "{}: no address", mail.from);
  for (const auto& to : mail.to) {
    if (!is_address(to)) return fail(Errc::kInvalidArgument, "{}: no address", to);
  }
  return {};
}

void append(List& list, const std::string& line) {
  curl_slist* longer = curl_slist_append(list.get(), line.c_str());
  if (longer == nullptr) return;
  (void)list.release();
  list.reset(longer);
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return (*static_cast<const std::function<bool()>*>(user))() ? 1 : 0;
}

/// Lines end with CR and LF in a text (RFC 2045, 6.7): the encoder takes a LF alone for a byte.
std::string with_line_ends(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 32);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) out += '\r';
    out += text[i];
  }
  return out;
}

void add_part(curl_mime* mime, const std::string& body, const char* type) {
  curl_mimepart* part = curl_mime_addpart(mime);
  const std::string text = with_line_ends(body);
  curl_mime_data(part, text.data(), text.size());
  curl_mime_type(part, type);
  curl_mime_encoder(part, "quoted-printable");
}

void set_tls(CURL* handle, const Mail& mail) {
  const auto set_file = [&](CURLoption option, const std::string& file) {
    if (!file.empty()) curl_easy_setopt(handle, option, file.c_str());
  };
  curl_easy_setopt(
      handle, CURLOPT_USE_SSL,
      static_cast<long>(mail.security == MailSecurity::kNone ? CURLUSESSL_NONE : CURLUSESSL_ALL));
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, mail.tls.verify ? 1L : 0L);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, mail.tls.verify ? 2L : 0L);
  set_file(CURLOPT_CAINFO, mail.tls.ca_file);
  set_file(CURLOPT_SSLCERT, mail.tls.cert_file);
  set_file(CURLOPT_SSLKEY, mail.tls.key_file);
}

/// The conversation with the server, as far as it matters whose answer an answer is.
struct Talk {
  std::string recipient;  // of the last RCPT
  bool sent_body = false;
  std::vector<std::pair<std::string, std::string>> refused;
};

/// Of what we say only commands are looked at: nothing of a login is kept.
int on_talk(CURL*, curl_infotype kind, char* data, std::size_t size, void* user) {
  auto& talk = *static_cast<Talk*>(user);
  const std::string_view text(data, size);
  if (kind == CURLINFO_DATA_OUT) talk.sent_body = true;
  if (kind == CURLINFO_HEADER_OUT) {
    constexpr std::string_view kRcpt = "RCPT TO:";
    talk.recipient =
        text.starts_with(kRcpt) ? std::string(base::trim(text.substr(kRcpt.size()))) : "";
  }
  const bool refuses = !text.empty() && (text[0] == '4' || text[0] == '5');
  if (kind == CURLINFO_HEADER_IN && refuses && !talk.recipient.empty())
    talk.refused.emplace_back(talk.recipient, base::sanitize_utf8(base::trim(text)));
  return 0;
}

Errc classify(CURLcode code, long answer, const Talk& talk) {
  if (code == CURLE_LOGIN_DENIED) return Errc::kPermissionDenied;
  if (code == CURLE_OPERATION_TIMEDOUT) return Errc::kTimeout;
  if (code == CURLE_ABORTED_BY_CALLBACK) return Errc::kCancelled;
  if (code == CURLE_URL_MALFORMAT) return Errc::kInvalidArgument;
  return answer >= 500 && answer < 600 && talk.sent_body ? Errc::kConflict : Errc::kUnavailable;
}

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string base64(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j)
      out += i + j > bytes.size() ? '=' : kBase64[group >> (18 - 6 * j) & 63U];
  }
  return out;
}

}  // namespace

std::string encode_header(std::string_view text) {
  const bool plain = std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; });
  if (plain && !text.contains("=?")) return std::string(text);
  // An encoded word has 75 characters at most; a character is not cut in two.
  constexpr std::size_t kBytes = 45;
  std::string out;
  while (!text.empty()) {
    std::size_t length = std::min(kBytes, text.size());
    while (length < text.size() && length > 1 &&
           (static_cast<unsigned char>(text[length]) & 0xc0U) == 0x80U)
      --length;
    out += fmt::format("{}=?UTF-8?B?{}?=", out.empty() ? "" : " ", base64(text.substr(0, length)));
    text.remove_prefix(length);
  }
  return out;
}

Status send_mail(const Mail& mail) {
  if (auto good = check(mail); !good) return good;
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  const Handle curl(initialised == CURLE_OK ? curl_easy_init() : nullptr, curl_easy_cleanup);
  if (!curl) return fail(Errc::kExhausted, "libcurl gave no handle");
  CURL* handle = curl.get();
  const auto url = fmt::format("{}://{}/{}", mail.security == MailSecurity::kTls ? "smtps" : "smtp",
                               mail.server, mail.hello);
  List headers(nullptr, curl_slist_free_all);
  for (const auto& header : mail.headers) append(headers, folded(header));
  if (!mail.png.empty()) append(headers, "Content-Type: multipart/related");
  List to(nullptr, curl_slist_free_all);
  for (const auto& address : mail.to) append(to, "<" + address + ">");
  const Mime mime(curl_mime_init(handle), curl_mime_free);
  curl_mime* alternatives = curl_mime_init(handle);
  add_part(alternatives, mail.text, "text/plain; charset=utf-8");
  add_part(alternatives, mail.html, "text/html; charset=utf-8");
  curl_mimepart* both = curl_mime_addpart(mime.get());
  curl_mime_subparts(both, alternatives);  // owns them from here on
  curl_mime_type(both, "multipart/alternative");
  List picture_headers(nullptr, curl_slist_free_all);
  if (!mail.png.empty()) {
    curl_mimepart* picture = curl_mime_addpart(mime.get());
    curl_mime_data(picture, mail.png.data(), mail.png.size());
    curl_mime_type(picture, "image/png");
    curl_mime_encoder(picture, "base64");
    append(picture_headers, "Content-ID: <chart>");
    append(picture_headers, "Content-Disposition: inline; filename=\"chart.png\"");
    curl_mime_headers(picture, picture_headers.get(), 0);
  }
  List inline_header(curl_slist_append(nullptr, "Content-Disposition: inline"),
                     curl_slist_free_all);
  curl_mime_headers(both, inline_header.get(), 0);
  const std::string from = "<" + mail.from + ">";
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_QUICK_EXIT, 1L);  // as http_client
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(mail.timeout.count()));
  curl_easy_setopt(handle, CURLOPT_MAIL_FROM, from.c_str());
  curl_easy_setopt(handle, CURLOPT_MAIL_RCPT, to.get());
  curl_easy_setopt(handle, CURLOPT_MAIL_RCPT_ALLLOWFAILS, 1L);
  Talk talk;
  curl_easy_setopt(handle, CURLOPT_VERBOSE, 1L);
  curl_easy_setopt(handle, CURLOPT_DEBUGFUNCTION, on_talk);
  curl_easy_setopt(handle, CURLOPT_DEBUGDATA, &talk);
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(handle, CURLOPT_MIMEPOST, mime.get());
  if (!mail.username.empty()) {
    curl_easy_setopt(handle, CURLOPT_USERNAME, mail.username.c_str());
    curl_easy_setopt(handle, CURLOPT_PASSWORD, mail.password.c_str());
  }
  set_tls(handle, mail);
  if (!mail.proxy.empty()) curl_easy_setopt(handle, CURLOPT_PROXY, mail.proxy.c_str());
  curl_easy_setopt(handle, CURLOPT_HTTPPROXYTUNNEL, 1L);
  if (mail.cancelled) {
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &mail.cancelled);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  }
  std::array<char, CURL_ERROR_SIZE> reason{};
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, reason.data());
  const auto code = curl_easy_perform(handle);
  if (code == CURLE_OK) {
    for (const auto& [recipient, said] : talk.refused) {
      if (mail.on_refused) mail.on_refused(recipient, said);
    }
    return {};
  }
  long answer = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &answer);
  return fail(classify(code, answer, talk), "mail over {}: {}{}", mail.server,
              reason[0] != 0 ? reason.data() : curl_easy_strerror(code),
              talk.refused.empty() ? "" : "; " + talk.refused.back().second);
}

}  // namespace nexus::drivers
