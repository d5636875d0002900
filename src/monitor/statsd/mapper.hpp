// [[statsd.mapping]]: what a statsd name becomes. The first mapping that matches counts.
//
// A glob's * stands for one part between dots; $1, $2, ... in the name and in labels are what they
// stood for, as are the groups of a regular expression. Thread safety: map() by any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "monitor/probe/probe.hpp"
#include "monitor/statsd/message.hpp"
#include "nexus/config/sources.hpp"

namespace nexus::monitor {

struct MappedName {
  bool dropped = false;
  std::string name;
  config::StringMap labels;
  const config::StatsdMapping* mapping = nullptr;  // null: none matched
};

class StatsdMapper {
 public:
  [[nodiscard]] static Result<StatsdMapper> compile(const config::StatsdSection& section);
  [[nodiscard]] MappedName map(std::string_view name, StatsdType type) const;

 private:
  struct Rule {
    config::StatsdMapping mapping;
    Regex regex;  // of globs too
  };
  std::vector<std::shared_ptr<const Rule>> rules_;
};

}  // namespace nexus::monitor
