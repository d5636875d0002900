// Witness: what is kept of the host just before an action that may destroy the traces: the largest
// processes, pressure, the last messages of the unit or of the containers (whose log goes with
// them), and the last minutes of the vitals.
//
// Bounded: kMostBytes of JSON; what is left out is said. Thread safety: any thread; reads the
// journal and the history, and may take some milliseconds; a container engine has two seconds.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/host/roots.hpp"
#include "nexus/knowledge/queryable.hpp"
#include "nexus/monitor/observed.hpp"
#include "nexus/plan/action.hpp"

namespace nexus::agent {

class Witness {
 public:
  static constexpr std::size_t kMostBytes = 48U << 10;

  /// Where the container engine is (drivers::engine_socket), or why there is none.
  using FindEngine = std::function<Result<std::string>()>;

  Witness(Clock& clock, const host::Roots& roots, const monitor::Observed& observed,
          const knowledge::Queryable& data, FindEngine find_engine)
      : clock_(clock),
        roots_(roots),
        observed_(observed),
        data_(data),
        find_engine_(std::move(find_engine)) {}

  /// One JSON object.
  [[nodiscard]] std::string testify(const plan::Action& action) const;

 private:
  Clock& clock_;
  const host::Roots& roots_;
  const monitor::Observed& observed_;
  const knowledge::Queryable& data_;
  const FindEngine find_engine_;
};

}  // namespace nexus::agent
