// Archive: the state of a detector as bytes and back, by one description for both ways:
// `template <class A> void visit(A& archive) { archive(a, b, c); }`.
//
// Bytes begin with a kind and end with a checksum; what does not fit (another version, another
// size, a flipped bit) is refused as a whole, and the detector learns anew. Little-endian only, as
// the state database never leaves its host's architecture.
//
// Thread safety: plain values.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace nexus::analyze {

[[nodiscard]] inline std::uint64_t checksum(std::string_view bytes) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

class Saver {
 public:
  template <class... T>
  void operator()(T&... values) {
    (put(values), ...);
  }
  [[nodiscard]] std::string finish(std::uint32_t kind) && {
    std::string out(reinterpret_cast<const char*>(&kind), sizeof kind);
    out += bytes_;
    const std::uint64_t sum = checksum(out);
    out.append(reinterpret_cast<const char*>(&sum), sizeof sum);
    return out;
  }

 private:
  template <class T>
  void put(T& value) {
    if constexpr (std::is_trivially_copyable_v<T>) {
      bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    } else {
      value.visit(*this);
    }
  }
  template <class T>
  void put(std::vector<T>& values) {
    std::uint64_t size = values.size();
    put(size);
    if constexpr (std::is_trivially_copyable_v<T>) {
      bytes_.append(reinterpret_cast<const char*>(values.data()), size * sizeof(T));
    } else {
      for (T& value : values) put(value);
    }
  }
  std::string bytes_;
};

class Loader {
 public:
  Loader(std::string_view bytes, std::uint32_t kind) {
    std::uint32_t found = 0;
    std::uint64_t sum = 0;
    if (bytes.size() < sizeof found + sizeof sum) return;
    std::memcpy(&found, bytes.data(), sizeof found);
    std::memcpy(&sum, bytes.data() + bytes.size() - sizeof sum, sizeof sum);
    bytes.remove_suffix(sizeof sum);
    if (found != kind || checksum(bytes) != sum) return;
    bytes_ = bytes.substr(sizeof found);
    good_ = true;
  }
  template <class... T>
  void operator()(T&... values) {
    (get(values), ...);
  }
  /// Everything was there and nothing is left over.
  [[nodiscard]] bool complete() const noexcept { return good_ && bytes_.empty(); }

 private:
  void take(void* to, std::size_t size) {
    good_ = good_ && size <= bytes_.size();
    if (!good_ || size == 0) return;  // an empty vector has no place
    std::memcpy(to, bytes_.data(), size);
    bytes_.remove_prefix(size);
  }
  template <class T>
  void get(T& value) {
    if constexpr (std::is_trivially_copyable_v<T>) {
      take(&value, sizeof value);
    } else {
      value.visit(*this);
    }
  }
  template <class T>
  void get(std::vector<T>& values) {
    std::uint64_t size = 0;
    get(size);
    good_ = good_ && size <= bytes_.size();  // every element takes a byte at least
    if (!good_) return;
    values.resize(size);
    if constexpr (std::is_trivially_copyable_v<T>) {
      take(values.data(), size * sizeof(T));
    } else {
      for (T& value : values) get(value);
    }
  }
  std::string_view bytes_;
  bool good_ = false;
};

}  // namespace nexus::analyze
