// Directories of small files, as sysfs has them: one value a file, each read with three system
// calls and without allocating.
//
// A file that is not there, that this process may not read, or that its driver does not answer for
// (EINVAL, EIO, ENODATA, ... are usual in sysfs) is absent. One that holds something else than it
// should is a complaint, and nothing else is lost. Thread safety: one thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "monitor/parse.hpp"
#include "nexus/host/fd.hpp"
#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

/// An open directory that knows its path for messages. What it was made from must outlive it.
class SmallDir {
 public:
  [[nodiscard]] static std::optional<SmallDir> open(const std::string& path);
  [[nodiscard]] std::optional<SmallDir> child(const char* name) const;
  [[nodiscard]] bool has(const char* name) const;
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] std::string path() const;

 private:
  SmallDir(host::Fd fd, const SmallDir* parent, std::string_view name)
      : fd_(std::move(fd)), parent_(parent), name_(name) {}
  host::Fd fd_;
  const SmallDir* parent_;
  std::string_view name_;
};

/// The names in a directory, sorted, without those that begin with a dot. At most 65536 of them.
class NameList {
 public:
  /// False when the directory cannot be listed (any more).
  [[nodiscard]] bool read(const SmallDir& directory);
  [[nodiscard]] bool read(const std::string& path);
  /// Valid until the next read().
  [[nodiscard]] std::span<const char* const> names() const noexcept { return names_; }

 private:
  [[nodiscard]] bool list(int fd);
  std::vector<char> bytes_;
  std::vector<std::size_t> offsets_;
  std::vector<const char*> names_;
};

struct NumberFile {
  const char* file;
  std::size_t metric;  // index into the collector's families
  double factor = 1;
  double divisor = 1;  // rather than a factor of 0.001, which is not exact
};

class SmallFiles {
 public:
  explicit SmallFiles(Complaints& complaints) : complaints_(complaints) {}

  /// What the file holds, without blanks around it; valid until the next call.
  [[nodiscard]] std::optional<std::string_view> text(const SmallDir& directory, const char* name);
  /// A decimal number, or with 0x in front a hexadecimal one. `absent`: a word that stands for
  /// none.
  [[nodiscard]] std::optional<double> number(const SmallDir& directory, const char* name,
                                             std::string_view absent = {});
  /// Adds every file that is there, times its factor, over its divisor.
  void add_numbers(Sink& sink, const SmallDir& directory, std::span<const NumberFile> files,
                   std::span<const FamilyId> families, std::span<const LabelView> labels);

 private:
  // sysfs gives a page at most; what does not fit is damaged.
  std::array<char, 4097> bytes_{};
  Complaints& complaints_;
};

/// A decimal number with sign, or with 0x in front a hexadecimal one.
[[nodiscard]] std::optional<double> parse_number(std::string_view text) noexcept;

/// `make` of collectors that cannot fail to be made.
template <typename T>
[[nodiscard]] Result<std::unique_ptr<Collector>> make_plain(const CollectorContext& context) {
  return std::make_unique<T>(context);
}

}  // namespace nexus::monitor
