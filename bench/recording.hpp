// A recording of a host as benches read it: "@MILLISECONDS" starts a scrape, then `name{labels}
// value` a line. Thread safety: plain values.
#pragma once

#include <cstdint>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/text.hpp"

namespace nexus::bench {

struct Scrape {
  std::vector<std::uint32_t> names;
  std::vector<double> values;
};

struct Recording {
  std::vector<std::string> names;
  std::vector<Scrape> scrapes;
};

inline Recording load_recording(const char* path) {
  Recording recording;
  std::map<std::string, std::uint32_t> known;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with('@')) {
      recording.scrapes.emplace_back();
      continue;
    }
    const std::size_t space = line.rfind(' ');
    if (space == std::string::npos || recording.scrapes.empty()) continue;
    std::string name = line.substr(0, space);
    const auto [entry, is_new] = known.try_emplace(name, recording.names.size());
    if (is_new) recording.names.push_back(std::move(name));
    recording.scrapes.back().names.push_back(entry->second);
    recording.scrapes.back().values.push_back(
        base::parse_double(std::string_view(line).substr(space + 1)).value_or(0));
  }
  return recording;
}

}  // namespace nexus::bench
