// A kernel text file with a name in every line, read as the collectors of such files do.
//
// Thread safety: one thread at a time.
#pragma once

#include <string>
#include <string_view>

#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {

/// Calls `add(line number, line)` for every line of `path`, and drops the names that none of them
/// had. Returns what could not be read. `expected`: what an empty file lacks, e.g. "memory
/// information"; nothing when it may be empty.
template <typename State, typename Add>
[[nodiscard]] Status read_named_lines(host::KeptFiles& files, const std::string& path,
                                      host::Record record, std::string_view expected,
                                      NameTable<State>& names, Complaints& complaints, Add&& add) {
  auto text = files.read(path, record);
  if (!text) return propagate(std::move(text));
  if (text->empty() && !expected.empty())
    complaints.add(path, fmt::format("empty, expected {}", expected));
  names.start_run();
  Lines lines(*text);
  for (std::string_view line; lines.next(line);) add(lines.number(), line);
  names.forget_absent();
  return complaints.take();
}

}  // namespace nexus::monitor
