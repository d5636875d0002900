#include "agent/commands/picture.hpp"

#include "nexus/host/file.hpp"

namespace nexus::agent {

Status write_png(const std::string& path, const serve::Chart& chart) {
  constexpr int kReadable = 0644;
  return host::write_file_atomically(path, serve::to_png(chart), kReadable);
}

}  // namespace nexus::agent
