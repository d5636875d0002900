// What of a container engine may go because nobody uses it: images without a name, the build cache,
// containers that have stopped. Never volumes; never a protected container, one that is being
// replaced, or an image that a container has or that a rollback would need. Thread safety:
// functions without state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/config/config.hpp"
#include "nexus/drivers/docker_control.hpp"

namespace nexus::execute {

inline constexpr std::string_view kUnnamedImages = "dangling_images";
inline constexpr std::string_view kBuildCache = "build_cache";
inline constexpr std::string_view kStoppedContainers = "stopped_containers";
/// So long something is unused before it goes, when nobody says otherwise.
inline constexpr Millis kLeftoverAge{24 * 3'600'000};

struct Leftover {
  std::string kind;         // one of the three
  std::string id;           // of the build cache: empty
  std::string name;         // for people
  std::uint64_t bytes = 0;  // at most so much comes free
  WallTime used{};          // last
  Millis older_than{};      // by which it was chosen
};

struct LeftoverWish {
  std::string_view kind;
  Millis older_than = kLeftoverAge;
  WallTime now{};
};

/// The longest unused first; `notes` gets what was left out, and why.
[[nodiscard]] Result<std::vector<Leftover>> leftovers_of(const LeftoverWish& wish,
                                                         const drivers::DockerControl& engine,
                                                         const config::Config& config,
                                                         const drivers::EngineCall& call,
                                                         std::vector<std::string>& notes);
/// Removes it, as the engine lets it: what somebody has begun to use meanwhile is refused
/// (kConflict).
[[nodiscard]] Status remove(const Leftover& leftover, const drivers::DockerControl& engine,
                            const config::Config& config, const drivers::EngineCall& call);

}  // namespace nexus::execute
