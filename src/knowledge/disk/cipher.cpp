#include "knowledge/disk/cipher.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <sys/stat.h>

#include <algorithm>
#include <string_view>

#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

namespace nexus::knowledge::disk {
namespace {

constexpr int kNonce = 12;
constexpr int kTag = 16;
constexpr std::string_view kIdPurpose = "nexus-agent history key id";

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const noexcept { EVP_CIPHER_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

int length(Bytes bytes) {
  return static_cast<int>(bytes.size());  // a payload is far below 2 GiB
}

Error library_failure(std::string_view what) {
  return {Errc::kInternal, fmt::format("{}: the library of OpenSSL failed", what)};
}

}  // namespace

Cipher::Cipher(const Key& key) : key_(key) {
  std::vector<std::uint8_t> text(kIdPurpose.begin(), kIdPurpose.end());
  text.insert(text.end(), key.begin(), key.end());
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  NEXUS_CHECK(EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) ==
              1);
  OPENSSL_cleanse(text.data(), text.size());
  std::copy_n(digest.begin(), id_.size(), id_.begin());
}

Cipher::~Cipher() {
  OPENSSL_cleanse(key_.data(), key_.size());
}

Result<std::shared_ptr<const Cipher>> Cipher::from_file(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) {
    return std::unexpected(Error::from_errno("history key " + path));
  }
  const unsigned open_to = status.st_mode & 0077U;
  if (open_to != 0 && !(open_to == 0040U && status.st_uid == 0)) {
    return fail(Errc::kPermissionDenied,
                "history key {}: others can read it (mode {:04o}); expected 0600, or 0640 when "
                "root owns it",
                path, status.st_mode & 07777U);
  }
  Result<std::string> read = host::read_file(path);
  if (!read) return propagate(std::move(read), "history key");
  std::string& text = *read;
  Key key{};
  bool good = text.size() == key.size();
  if (good) {
    std::ranges::copy(text, key.begin());
  } else {
    std::string_view digits = text;
    while (digits.ends_with('\n') || digits.ends_with('\r')) digits.remove_suffix(1);
    good = digits.size() == 2 * key.size();
    for (std::size_t i = 0; good && i < key.size(); ++i) {
      const auto byte = base::parse_uint(digits.substr(2 * i, 2), 16);
      good = byte.has_value();
      if (good) key[i] = static_cast<std::uint8_t>(*byte);
    }
  }
  OPENSSL_cleanse(text.data(), text.size());
  if (!good) {
    return fail(Errc::kInvalidArgument,
                "history key {}: expected 32 bytes or 64 hexadecimal digits", path);
  }
  auto cipher = std::make_shared<const Cipher>(key);
  OPENSSL_cleanse(key.data(), key.size());
  return cipher;
}

Result<std::vector<std::uint8_t>> Cipher::seal(Bytes header, Bytes plain) const {
  std::vector<std::uint8_t> out(plain.size() + kOverhead);
  const Context context(EVP_CIPHER_CTX_new());
  int done = 0;
  int ended = 0;
  std::uint8_t* const text = out.data() + kNonce;
  const bool good =
      context != nullptr && RAND_bytes(out.data(), kNonce) == 1 &&
      EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key_.data(), out.data()) == 1 &&
      EVP_EncryptUpdate(context.get(), nullptr, &done, header.data(), length(header)) == 1 &&
      EVP_EncryptUpdate(context.get(), text, &done, plain.data(), length(plain)) == 1 &&
      EVP_EncryptFinal_ex(context.get(), text + done, &ended) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTag, text + plain.size()) == 1;
  if (!good) return std::unexpected(library_failure("encrypt"));
  return out;
}

Result<std::vector<std::uint8_t>> Cipher::open(Bytes header, Bytes sealed) const {
  if (sealed.size() < kOverhead) {
    return fail(Errc::kCorrupt, "decrypt: {} bytes are too few", sealed.size());
  }
  std::vector<std::uint8_t> out(sealed.size() - kOverhead);
  const Bytes text = sealed.subspan(kNonce, out.size());
  std::array<std::uint8_t, kTag> tag{};
  std::ranges::copy(sealed.last(kTag), tag.begin());
  const Context context(EVP_CIPHER_CTX_new());
  int done = 0;
  int ended = 0;
  const bool ready =
      context != nullptr &&
      EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key_.data(), sealed.data()) ==
          1 &&
      EVP_DecryptUpdate(context.get(), nullptr, &done, header.data(), length(header)) == 1 &&
      EVP_DecryptUpdate(context.get(), out.data(), &done, text.data(), length(text)) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTag, tag.data()) == 1;
  if (!ready) return std::unexpected(library_failure("decrypt"));
  if (EVP_DecryptFinal_ex(context.get(), out.data() + done, &ended) != 1) {
    return fail(Errc::kCorrupt, "decrypt: the key is another one or the bytes were changed");
  }
  return out;
}

}  // namespace nexus::knowledge::disk
