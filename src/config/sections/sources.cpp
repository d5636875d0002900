#include "config/sections/sources.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "config/secret.hpp"
#include "config/shapes.hpp"
#include "nexus/base/text.hpp"

namespace nexus::config {
namespace {

bool is_status(std::string_view text) {
  if (text.size() != 3 || text.front() < '1' || text.front() > '5') return false;
  return text.substr(1) == "xx" || base::parse_uint(text).has_value();
}

void read_secret(Section& section, Reading& reading, std::string_view what, Secret& out,
                 std::string& file) {
  const auto env_key = fmt::format("{}_env", what);
  const auto credential_key = fmt::format("{}_credential", what);
  const auto file_key = fmt::format("{}_file", what);
  if (section.take(what) != nullptr) {
    section.complain(what, fmt::format("a secret does not belong into this file; expected one of "
                                       "{}, {} and {}",
                                       file_key, env_key, credential_key));
  }
  section.text(file_key, file, kAbsolutePath);
  for (const auto& key : {env_key, credential_key}) {
    std::string name;
    if (section.text(key, name) == nullptr) continue;
    auto secret = secret_of(key == env_key ? "env" : "credential", name, reading.options);
    if (secret) {
      out = Secret(*std::move(secret));
    } else {
      section.complain(key, secret.error().message());
    }
  }
  const int given = (section.has(file_key) ? 1 : 0) + (section.has(env_key) ? 1 : 0) +
                    (section.has(credential_key) ? 1 : 0);
  if (given > 1)
    section.complain(file_key, fmt::format("expected only one of {}, {} and {}", file_key, env_key,
                                           credential_key));
}

}  // namespace

const Shape kStatus{is_status, "a status such as \"200\", or a class such as \"2xx\""};

void read_map(Section& section, std::string_view key, StringMap& out, Keys keys) {
  section.table(key, [&](Section& map) {
    for (const auto& entry : map.entries()) {
      std::string value;
      if (keys == Keys::kLabels && !is_label_name(entry.key)) {
        map.take(entry.key);
        map.complain(entry.key,
                     "expected a label name, [a-zA-Z_][a-zA-Z0-9_]*, without __ in "
                     "front");
      } else if (map.text(entry.key, value, kAnyText) != nullptr) {
        out.insert_or_assign(entry.key, std::move(value));
      }
    }
  });
}

void read_numbers(Section& section, std::string_view key, std::vector<double>& out) {
  const Node* node = section.take(key);
  if (node == nullptr) return;
  const auto* array = node->as<Array>();
  if (array == nullptr) return section.expect(key, *node, "an array of numbers");
  std::vector<double> values;
  for (const auto& item : *array) {
    if (const auto* whole = item.as<std::int64_t>()) {
      values.push_back(static_cast<double>(*whole));
    } else if (const auto* number = item.as<double>()) {
      values.push_back(*number);
    } else {
      return section.expect(key, item, "a number");
    }
  }
  out = std::move(values);
}

void read_buckets(Section& section, std::vector<double>& out) {
  read_numbers(section, "buckets", out);
  constexpr std::size_t kMost = 200;
  const bool ascending = std::ranges::adjacent_find(out, std::greater_equal()) == out.end();
  if (section.has("buckets") && (!ascending || out.empty() || out.size() > kMost))
    section.complain("buckets", "expected ascending numbers, at least one and at most 200");
}

void read_tls(Section& section, TlsClientConfig& out) {
  section.table("tls", [&](Section& tls) {
    tls.text("ca_file", out.ca_file, kAbsolutePath);
    tls.text("cert_file", out.cert_file, kAbsolutePath);
    tls.text("key_file", out.key_file, kAbsolutePath);
    tls.text("server_name", out.server_name, kHostName);
    tls.boolean("insecure_skip_verify", out.insecure_skip_verify);
    if (out.cert_file.empty() != out.key_file.empty())
      tls.complain(out.cert_file.empty() ? "key_file" : "cert_file",
                   "expected cert_file and key_file together");
  });
}

void read_credentials(Section& section, Reading& reading, CredentialConfig& out) {
  section.text("username", out.username);
  read_secret(section, reading, "password", out.password, out.password_file);
  read_secret(section, reading, "token", out.token, out.token_file);
  const bool password = !out.password.empty() || !out.password_file.empty();
  if (password && out.username.empty())
    section.complain("username", "expected the name that the password belongs to");
  if (!out.username.empty() && (!out.token.empty() || !out.token_file.empty()))
    section.complain("username", "expected a user with a password or a token, not both");
}

void read_name(Section& section, Reading& reading, std::string_view kind, std::string& out) {
  section.require("name", kPlainName.expected);
  if (section.text("name", out, kPlainName) != nullptr)
    reading.report.claim(kind, out, section.place_of({"name"}));
}

}  // namespace nexus::config
