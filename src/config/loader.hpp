// Loader: reads the sources one after the other into a Config; load() and load_text() are made of
// it.
//
// Private to the room so that a test can see which keys exist (known_keys). Thread safety: none;
// one load, one thread.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "config/document.hpp"
#include "config/report.hpp"

namespace nexus::config {

class Loader {
 public:
  explicit Loader(const LoadOptions& options) : options_(options) {
    loaded_.config.vitals = default_vitals();
  }

  void read_files();
  void read_text(std::string_view text, std::string_view name);
  void read_environment_and_overrides();
  /// After the last source: the checks across keys, and the problems in order.
  [[nodiscard]] Loaded finish();

  [[nodiscard]] const std::set<std::string>& known_keys() const noexcept { return report_.known(); }

 private:
  enum class Absence { kIsFine, kIsProblem };
  void read_path(const std::string& path, Absence absence);
  void read_tree(const Node& root, bool damaged);

  const LoadOptions& options_;
  Report report_;
  Loaded loaded_;
};

}  // namespace nexus::config
