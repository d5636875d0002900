// What a container engine keeps that nobody uses: images without a name, records of its build
// cache. What it is asked here changes nothing but what remove_image() and prune_build_cache()
// name; no volume is ever touched. Errors as docker.hpp. Thread safety: functions without state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/drivers/docker_control.hpp"

namespace nexus::drivers {

struct UnnamedImage {
  std::string id;
  /// Bytes that are nobody else's, where the engine tells; otherwise all of its layers, of which
  /// others may have some.
  std::uint64_t bytes = 0;
  WallTime named{};  // last, as far as the engine tells; never before it was made
};

struct CacheRecord {
  std::string id;
  std::string description;
  std::uint64_t bytes = 0;
  WallTime used{};  // last
};

/// Images without a name ("dangling"), at most `limit`; those that are layers of others are not
/// among them.
[[nodiscard]] Result<std::vector<UnnamedImage>> unnamed_images(const Docker& engine,
                                                               std::size_t limit,
                                                               SteadyTime deadline);
/// By id, and only when no container was made of it, not even a stopped one (kConflict).
[[nodiscard]] Status remove_image(const Docker& engine, std::string_view id,
                                  const EngineCall& call);

/// What of the build cache no build uses and no image shares; empty: the engine has none.
[[nodiscard]] Result<std::vector<CacheRecord>> build_cache(const Docker& engine,
                                                           SteadyTime deadline);
/// What of it was not used for so long; bytes that came free. kNotFound: the engine has none.
[[nodiscard]] Result<std::uint64_t> prune_build_cache(const Docker& engine, Millis unused_for,
                                                      const EngineCall& call);

/// Where the engine keeps all of this.
[[nodiscard]] Result<std::string> data_root(const Docker& engine, SteadyTime deadline);

}  // namespace nexus::drivers
