// Cipher: payloads of the history under AES-256-GCM, when a key is configured.
//
// A payload is sealed with a random 96-bit nonce of its own, and its record's header up to the
// checksums as additional data, so that a payload cannot be moved under another header. With
// random nonces one key is good for 2^32 payloads (NIST SP 800-38D): more than a thousand years of
// them. Thread safety: all members, any thread.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "knowledge/disk/format.hpp"
#include "nexus/base/result.hpp"

namespace nexus::knowledge::disk {

class Cipher {
 public:
  static constexpr std::size_t kKeyBytes = 32;
  static constexpr std::size_t kOverhead = 12 + 16;  // nonce, tag
  using Key = std::array<std::uint8_t, kKeyBytes>;

  explicit Cipher(const Key& key);
  ~Cipher();
  Cipher(const Cipher&) = delete;
  Cipher& operator=(const Cipher&) = delete;
  /// The key in a file that others cannot read: 32 bytes, or 64 hexadecimal digits and perhaps a
  /// line end. The error never shows any of it.
  [[nodiscard]] static Result<std::shared_ptr<const Cipher>> from_file(const std::string& path);

  [[nodiscard]] const KeyId& id() const noexcept { return id_; }
  /// Nonce, ciphertext, tag. kInternal when the library or the kernel's random numbers fail.
  [[nodiscard]] Result<std::vector<std::uint8_t>> seal(Bytes header, Bytes plain) const;
  /// kCorrupt when it was sealed by another key, under another header, or changed since.
  [[nodiscard]] Result<std::vector<std::uint8_t>> open(Bytes header, Bytes sealed) const;

 private:
  Key key_;
  KeyId id_{};
};

}  // namespace nexus::knowledge::disk
