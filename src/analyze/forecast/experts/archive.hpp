// Writing and reading the state of what learns: plain numbers and vectors of them, in the order in
// which `archive(a)` of a type names its members. Host byte order: a state never leaves its host.
//
// Thread safety: none.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace nexus::analyze {

class ArchiveWriter {
 public:
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  void value(const T& value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <typename T>
  void values(const std::vector<T>& values) {
    value(static_cast<std::uint32_t>(values.size()));
    text_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

/// Reads into values that stand already: a vector must have the size that was written, so that
/// damaged text can neither allocate nor leave an index out of range.
class ArchiveReader {
 public:
  explicit ArchiveReader(std::string_view text) : rest_(text) {}
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  void value(T& value) {
    copy(&value, sizeof value);
  }
  template <typename T>
  void values(std::vector<T>& values) {
    std::uint32_t size = 0;
    value(size);
    if (size != values.size()) ok_ = false;
    if (ok_) copy(values.data(), values.size() * sizeof(T));
  }
  /// Whether everything fitted and nothing is left.
  [[nodiscard]] bool complete() const { return ok_ && rest_.empty(); }
  [[nodiscard]] bool ok() const { return ok_; }

 private:
  void copy(void* to, std::size_t size) {
    if (rest_.size() < size) ok_ = false;
    if (!ok_ || size == 0) return;
    std::memcpy(to, rest_.data(), size);
    rest_.remove_prefix(size);
  }

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace nexus::analyze
