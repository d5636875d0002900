// Secrets as a configuration names them: in a file, in the environment, or as a systemd credential.
// Thread safety: functions of their arguments and the files.
#pragma once

#include <string>
#include <string_view>

#include "nexus/base/result.hpp"
#include "nexus/config/load.hpp"

namespace nexus::config {

/// `source`: "file" (an absolute path that nobody else can read), "env" or "credential" (a name).
/// Errors never show the secret.
[[nodiscard]] Result<std::string> secret_of(std::string_view source, const std::string& value,
                                            const LoadOptions& options);

}  // namespace nexus::config
