#include "nexus/plan/action.hpp"

#include <array>
#include <utility>

namespace nexus::plan {
namespace {

constexpr std::array<std::pair<ActionState, std::string_view>, 10> kNames{{
    {ActionState::kProposed, "proposed"},
    {ActionState::kQueued, "queued"},
    {ActionState::kRunning, "running"},
    {ActionState::kVerifying, "verifying"},
    {ActionState::kSucceeded, "succeeded"},
    {ActionState::kFailed, "failed"},
    {ActionState::kUnverified, "unverified"},
    {ActionState::kCancelled, "cancelled"},
    {ActionState::kExpired, "expired"},
    {ActionState::kInterrupted, "interrupted"},
}};

}  // namespace

std::string_view to_string(ActionState state) noexcept {
  for (const auto& [value, name] : kNames) {
    if (value == state) return name;
  }
  return "unknown";
}

std::optional<ActionState> parse_action_state(std::string_view text) noexcept {
  for (const auto& [value, name] : kNames) {
    if (name == text) return value;
  }
  return std::nullopt;
}

bool is_final(ActionState state) noexcept {
  switch (state) {
    case ActionState::kProposed:
    case ActionState::kQueued:
    case ActionState::kRunning:
    case ActionState::kVerifying:
      return false;
    case ActionState::kSucceeded:
    case ActionState::kFailed:
    case ActionState::kUnverified:
    case ActionState::kCancelled:
    case ActionState::kExpired:
    case ActionState::kInterrupted:
      return true;
  }
  return true;
}

}  // namespace nexus::plan
