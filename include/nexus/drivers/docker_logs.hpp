// What containers have written: GET /containers/ID/logs of the engine's API, of both outputs. A
// container without a terminal has it in frames of eight bytes and a payload; lines that are longer
// than a frame come in several.
//
// Errors as docker.hpp's; kInternal where the log driver keeps nothing that can be read. Thread
// safety: any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/drivers/docker.hpp"

namespace nexus::drivers {

/// The last lines, oldest first: `most` at most, each cut to `longest` bytes, valid UTF-8.
[[nodiscard]] Result<std::vector<std::string>> last_lines(const Docker& engine, std::string_view id,
                                                          std::size_t most, std::size_t longest,
                                                          SteadyTime deadline);

/// The payload of the frames; the text itself when there are none. What is cut off is left out.
[[nodiscard]] std::string without_frames(std::string_view text);

}  // namespace nexus::drivers
