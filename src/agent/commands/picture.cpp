#include "agent/commands/picture.hpp"

#include <cerrno>
#include <fstream>

namespace nexus::agent {

Status write_png(const std::string& path, const serve::Chart& chart) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << serve::to_png(chart);
  out.close();
  if (!out) {
    return fail(Errc::kIo, "write {}: {}", path,
                std::error_code(errno != 0 ? errno : EIO, std::generic_category()).message());
  }
  return {};
}

}  // namespace nexus::agent
