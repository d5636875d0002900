#include "nexus/config/config.hpp"

#include <fmt/core.h>

namespace nexus::config {

std::string to_string(const Where& where) {
  if (where.line == 0) return where.file;
  if (where.column == 0) return fmt::format("{}:{}", where.file, where.line);
  return fmt::format("{}:{}:{}", where.file, where.line, where.column);
}

std::string to_string(const Problem& problem) {
  const auto place = to_string(problem.where);
  return place.empty() ? problem.message : fmt::format("{}: {}", place, problem.message);
}

std::string_view to_string(Role role) noexcept {
  switch (role) {
    case Role::kNone:
      return "none";
    case Role::kViewer:
      return "viewer";
    case Role::kOperator:
      return "operator";
    case Role::kAdministrator:
      return "administrator";
  }
  return "";
}

std::string_view to_string(Severity severity) noexcept {
  switch (severity) {
    case Severity::kInfo:
      return "info";
    case Severity::kWarning:
      return "warning";
    case Severity::kCritical:
      return "critical";
  }
  return "";
}

std::string_view to_string(Mode mode) noexcept {
  switch (mode) {
    case Mode::kObserve:
      return "observe";
    case Mode::kPropose:
      return "propose";
    case Mode::kAct:
      return "act";
  }
  return "";
}

std::string_view to_string(OnMissing policy) noexcept {
  switch (policy) {
    case OnMissing::kResolve:
      return "resolve";
    case OnMissing::kHold:
      return "hold";
    case OnMissing::kFire:
      return "fire";
  }
  return "";
}

std::string_view to_string(Direction direction) noexcept {
  switch (direction) {
    case Direction::kAbove:
      return "above";
    case Direction::kBelow:
      return "below";
  }
  return "";
}

}  // namespace nexus::config
