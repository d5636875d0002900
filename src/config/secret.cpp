#include "config/secret.hpp"

#include "config/files.hpp"

namespace nexus::config {
namespace {

constexpr std::size_t kLongestSecret = 4096;

/// As PostgreSQL judges key files: nobody but the owner, or root's file with read access for its
/// group.
bool is_private(const FileText& file) {
  const unsigned open_to = file.mode & 0077U;
  return open_to == 0 || (open_to == 0040U && file.owner == 0);
}

enum class Guarded { kByMode, kBySystemd };

Result<std::string> read_secret(const std::string& path, Guarded guarded) {
  auto file = read_file(path, kLongestSecret);
  if (!file) return propagate(std::move(file));
  if (!file->regular) return fail(Errc::kInvalidArgument, "not a regular file");
  if (guarded == Guarded::kByMode && !is_private(*file)) {
    return fail(Errc::kPermissionDenied,
                "others can read it (mode {:04o}); expected 0600, or 0640 when root owns it",
                file->mode);
  }
  std::string text = std::move(file->text);
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  return text;
}

std::optional<std::string> environment(const LoadOptions& options, const std::string& name) {
  return options.environment ? options.environment(name) : std::nullopt;
}

}  // namespace

Result<std::string> secret_of(std::string_view source, const std::string& value,
                              const LoadOptions& options) {
  if (source == "file") {
    if (!value.starts_with('/')) return fail(Errc::kInvalidArgument, "expected an absolute path");
    return read_secret(value, Guarded::kByMode);
  }
  if (source == "env") {
    auto secret = environment(options, value);
    if (!secret) return fail(Errc::kNotFound, "there is no environment variable of this name");
    return *std::move(secret);
  }
  if (value.contains('/') || value.starts_with('.')) {
    return fail(Errc::kInvalidArgument, "expected the name of a systemd credential, not a path");
  }
  const auto directory = environment(options, "CREDENTIALS_DIRECTORY");
  if (!directory) {
    return fail(Errc::kNotFound,
                "there are no credentials: CREDENTIALS_DIRECTORY is not set (is LoadCredential= in "
                "the unit?)");
  }
  return read_secret(*directory + "/" + value, Guarded::kBySystemd);
}

}  // namespace nexus::config
