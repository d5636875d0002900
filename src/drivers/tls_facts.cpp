#include "drivers/tls_facts.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <ctime>

namespace nexus::drivers {
namespace {

std::int64_t expiry_of(const X509* certificate) {
  std::tm time{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &time) != 1) return 0;
  return timegm(&time);
}

/// As Go prints a name: CN=a,O=b, the most specific part first.
std::string name_of(const X509_NAME* name) {
  BIO* out = BIO_new(BIO_s_mem());
  if (out == nullptr) return {};
  X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out, &text);
  std::string result(text, static_cast<std::size_t>(size));
  BIO_free(out);
  return result;
}

std::string alternatives_of(const X509* certificate) {
  auto* names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  std::string out;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_DNS) continue;
    const auto* data = ASN1_STRING_get0_data(name->d.dNSName);
    const auto size = static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName));
    if (!out.empty()) out += ',';
    out.append(reinterpret_cast<const char*>(data), size);
  }
  GENERAL_NAMES_free(names);
  return out;
}

std::string serial_of(const X509* certificate) {
  const ASN1_INTEGER* serial = X509_get0_serialNumber(certificate);
  std::string out;
  const auto* data = ASN1_STRING_get0_data(serial);
  for (int i = 0; i < ASN1_STRING_length(serial); ++i) out += fmt::format("{:02x}", data[i]);
  return out;
}

std::string fingerprint_of(const X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  std::string out;
  if (X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1) return out;
  for (unsigned i = 0; i < size; ++i) out += fmt::format("{:02x}", digest.at(i));
  return out;
}

std::string version_of(const SSL* connection) {
  const std::string_view name = SSL_get_version(connection);  // TLSv1.3
  return name.starts_with("TLSv") ? fmt::format("TLS {}", name == "TLSv1" ? "1.0" : name.substr(4))
                                  : std::string(name);
}

}  // namespace

TlsFacts tls_facts(const SSL* connection) {
  TlsFacts facts;
  facts.version = version_of(connection);
  if (const char* cipher = SSL_get_cipher_name(connection)) facts.cipher = cipher;
  const STACK_OF(X509)* shown = SSL_get_peer_cert_chain(connection);
  for (int i = 0; i < sk_X509_num(shown); ++i) {
    const std::int64_t expiry = expiry_of(sk_X509_value(shown, i));
    if (facts.earliest_expiry == 0 || expiry < facts.earliest_expiry)
      facts.earliest_expiry = expiry;
  }
  if (SSL_get_verify_result(connection) == X509_V_OK) {
    const STACK_OF(X509)* verified = SSL_get0_verified_chain(connection);
    for (int i = 0; i < sk_X509_num(verified); ++i) {
      const std::int64_t expiry = expiry_of(sk_X509_value(verified, i));
      if (facts.last_chain_expiry == 0 || expiry < facts.last_chain_expiry)
        facts.last_chain_expiry = expiry;
    }
  }
  if (sk_X509_num(shown) > 0) {
    const X509* leaf = sk_X509_value(shown, 0);
    facts.fingerprint = fingerprint_of(leaf);
    facts.subject = name_of(X509_get_subject_name(leaf));
    facts.issuer = name_of(X509_get_issuer_name(leaf));
    facts.alternatives = alternatives_of(leaf);
    facts.serial = serial_of(leaf);
  }
  return facts;
}

}  // namespace nexus::drivers
