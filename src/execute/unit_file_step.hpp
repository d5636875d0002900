// enable_service, disable_service and reset_service of units: whether one comes up by itself, and
// that it has failed. Thread safety: as nexus/execute/step.hpp says.
#pragma once

#include <memory>

#include "nexus/execute/step.hpp"

namespace nexus::execute {

enum class UnitFileWish { kEnable, kDisable };
/// Undone by the other wish, when that is how it was.
[[nodiscard]] std::unique_ptr<Step> make_unit_file_step(UnitFileWish wish);
[[nodiscard]] std::unique_ptr<Step> make_unit_reset_step();

}  // namespace nexus::execute
