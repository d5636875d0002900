// KubernetesLeases: Lease objects (coordination.k8s.io/v1) of one namespace, as a lock.
//
// Invariants: (1) a lease is taken and given back only as it was read (its uid and
// resourceVersion), so that of two who want it at once one gets kConflict; (2) no clock of another
// host and none of the server's matters: what a holder has written is held against the clock of
// whoever looks (the caller, who has to remember since when he has seen it so), as client-go does;
// (3) a request of which nobody can say what became of it is asked about before it counts.
//
// Times in a Lease are microseconds in RFC 3339, and for people only. Errors: as kubernetes.hpp;
// kConflict: somebody else was quicker. Thread safety: any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/drivers/kubernetes_control.hpp"

namespace nexus::drivers {

struct Lease {
  std::string name;
  std::string holder;             // empty: nobody
  std::optional<Millis> lasts;    // unset: its holder has not said
  std::string renewed;            // as it is written; changes whenever its holder shows itself
  std::uint64_t transitions = 0;  // how often it went to another holder
  std::string uid;
  std::string version;  // resourceVersion
};

class KubernetesLeases {
 public:
  KubernetesLeases(Kubernetes api, std::string name_space)
      : api_(std::move(api)), name_space_(std::move(name_space)) {}

  /// Those whose label `key` has the value, at most `limit`; kExhausted: there are more.
  [[nodiscard]] Result<std::vector<Lease>> labelled(std::string_view key, std::string_view value,
                                                    std::size_t limit,
                                                    const KubernetesPatience& patience) const;
  /// Makes the lease, labelled, and holds it. kConflict: there is one of that name.
  [[nodiscard]] Result<Lease> make(std::string_view name, std::string_view key,
                                   std::string_view value, std::string_view holder, Millis lasts,
                                   const KubernetesPatience& patience) const;
  /// Takes one that is free, or that its holder has lost.
  [[nodiscard]] Result<Lease> take(const Lease& seen, std::string_view holder, Millis lasts,
                                   const KubernetesPatience& patience) const;
  /// Gives it back, unless somebody else has it by now.
  [[nodiscard]] Status give_back(const Lease& mine, const KubernetesPatience& patience) const;

  [[nodiscard]] const std::string& name_space() const noexcept { return name_space_; }

 private:
  const Kubernetes api_;
  const std::string name_space_;
};

/// `text` as part of a name of an object: lower-case letters, digits and '-'. What that would make
/// equal to another is told from it by a number at its end.
[[nodiscard]] std::string object_name(std::string_view text, std::size_t longest);

}  // namespace nexus::drivers
