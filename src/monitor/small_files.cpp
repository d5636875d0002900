#include "monitor/small_files.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "monitor/directory.hpp"

namespace nexus::monitor {
namespace {

constexpr std::size_t kMaxNames = 65'536;

host::Fd open_directory(int parent, const char* name) {
  return host::Fd(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

}  // namespace

std::optional<SmallDir> SmallDir::open(const std::string& path) {
  host::Fd fd = open_directory(AT_FDCWD, path.c_str());
  if (!fd) return std::nullopt;
  return SmallDir(std::move(fd), nullptr, path);
}

std::optional<SmallDir> SmallDir::child(const char* name) const {
  host::Fd fd = open_directory(fd_.get(), name);
  if (!fd) return std::nullopt;
  return SmallDir(std::move(fd), this, name);
}

bool SmallDir::has(const char* name) const {
  return ::faccessat(fd_.get(), name, F_OK, 0) == 0;
}

std::string SmallDir::path() const {
  if (parent_ == nullptr) return std::string(name_);
  return parent_->path().append("/").append(name_);
}

bool NameList::read(const SmallDir& directory) {
  // The directory's own descriptor is shared with nobody, but it may have been listed before.
  if (::lseek(directory.fd(), 0, SEEK_SET) != 0) return false;
  return list(directory.fd());
}

bool NameList::read(const std::string& path) {
  const host::Fd fd = open_directory(AT_FDCWD, path.c_str());
  return fd && list(fd.get());
}

bool NameList::list(int fd) {
  bytes_.clear();
  offsets_.clear();
  names_.clear();
  const Status read = for_each_entry(fd, [this](const char* name) {
    if (name[0] == '.' || offsets_.size() >= kMaxNames) return;
    offsets_.push_back(bytes_.size());
    bytes_.insert(bytes_.end(), name, name + std::strlen(name) + 1);
  });
  if (!read) return false;
  for (const std::size_t offset : offsets_) names_.push_back(bytes_.data() + offset);
  std::ranges::sort(names_, [](const char* a, const char* b) { return std::strcmp(a, b) < 0; });
  return true;
}

std::optional<std::string_view> SmallFiles::text(const SmallDir& directory, const char* name) {
  const host::Fd fd(::openat(directory.fd(), name, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return std::nullopt;
  const ssize_t got = ::read(fd.get(), bytes_.data(), bytes_.size());
  if (got < 0) return std::nullopt;
  return base::trim(std::string_view(bytes_.data(), static_cast<std::size_t>(got)));
}

std::optional<double> SmallFiles::number(const SmallDir& directory, const char* name,
                                         std::string_view absent) {
  const auto content = text(directory, name);
  if (!content || (!absent.empty() && *content == absent)) return std::nullopt;
  const auto value = parse_number(*content);
  if (!value) complaints_.add(directory.path() + "/" + name, 1, "a number", *content);
  return value;
}

void SmallFiles::add_numbers(Sink& sink, const SmallDir& directory,
                             std::span<const NumberFile> files, std::span<const FamilyId> families,
                             std::span<const LabelView> labels) {
  for (const NumberFile& one : files) {
    if (const auto value = number(directory, one.file))
      sink.add(families[one.metric], labels, *value * one.factor / one.divisor);
  }
}

std::optional<double> parse_number(std::string_view text) noexcept {
  if (text.starts_with("0x")) {
    const auto value = base::parse_uint(text.substr(2), 16);
    return value ? std::optional(static_cast<double>(*value)) : std::nullopt;
  }
  if (const auto value = base::parse_int(text)) return static_cast<double>(*value);
  if (const auto value = base::parse_uint(text)) return static_cast<double>(*value);
  return std::nullopt;
}

}  // namespace nexus::monitor
