// Charts written to files. Thread safety: pure but for the file.
#pragma once

#include <string>

#include "nexus/base/result.hpp"
#include "nexus/serve/chart.hpp"

namespace nexus::agent {

/// Replaces the file; an error names it.
[[nodiscard]] Status write_png(const std::string& path, const serve::Chart& chart);

}  // namespace nexus::agent
