// The fleet lock over Lease objects of Kubernetes: `budget` of them a lock, each a place.
//
// A holder never renews: it writes how long its action may take at most. Whoever wants a place
// lists those of the lock, notes since when he has seen each as it is (by his own steady clock, so
// that clocks of hosts that differ, or jump, free nothing), and takes one that is free or has
// lapsed. Of two who take the same one at once the server refuses the second, who looks again.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "nexus/base/id.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/load.hpp"
#include "nexus/drivers/kubernetes_lease.hpp"
#include "nexus/execute/fleet.hpp"

namespace nexus::execute {
namespace {

using drivers::KubernetesLeases;
using drivers::Lease;

constexpr std::string_view kLabel = "nexus-agent/fleet-lock";
constexpr std::size_t kLongestName = 58;  // a label's value has 63 characters, and a name gets "-N"
constexpr std::size_t kMostPlaces = 2'000;  // twice the largest budget, for one that was lowered
constexpr std::size_t kMostLocks = 1'000;   // that are watched; beyond, all are seen anew
constexpr std::size_t kMostShown = 10;      // holders that an error names
constexpr int kMostTries = 50;              // of places that others took in between

class KubernetesPlace final : public FleetPlace {
 public:
  KubernetesPlace(KubernetesLeases leases, Lease lease, std::int64_t token, Clock& clock,
                  Millis timeout)
      : leases_(std::move(leases)),
        lease_(std::move(lease)),
        token_(token),
        clock_(clock),
        timeout_(timeout) {}
  ~KubernetesPlace() override {
    // What cannot be given back lapses by itself.
    auto given = leases_.give_back(lease_, {clock_.steady() + timeout_});
    if (!given)
      log::warning("executor", "the fleet lock {} is held on until it lapses: {}", lease_.name,
                   given.error().message());
  }
  [[nodiscard]] std::string describe() const override {
    return fmt::format("kubernetes lease {}/{}, token {}", leases_.name_space(), lease_.name,
                       token_);
  }
  [[nodiscard]] std::int64_t token() const override { return token_; }

 private:
  const KubernetesLeases leases_;
  const Lease lease_;
  const std::int64_t token_;
  Clock& clock_;
  const Millis timeout_;
};

/// What a lock looks like to somebody who wants a place of it.
struct Look {
  std::vector<std::string> holders;
  std::vector<const Lease*> open;  // given back, or lapsed
};

class KubernetesFleet final : public FleetLock {
 public:
  KubernetesFleet(Clock& clock, const config::FleetSection& fleet,
                  const config::KubernetesSection& cluster, host::Roots roots, std::string host)
      : clock_(clock),
        fleet_(fleet),
        cluster_(cluster),
        roots_(std::move(roots)),
        host_(std::move(host)) {}

  Result<std::unique_ptr<FleetPlace>> acquire(const std::string& what, Millis lasts) override {
    const drivers::KubernetesPatience patience{clock_.steady() + fleet_.timeout};
    const auto lock = drivers::object_name(fmt::format("{}:{}", fleet_.name, what), kLongestName);
    auto leases = connect();
    if (!leases) return propagate(std::move(leases), "fleet lock {}", lock);
    const auto holder = fmt::format("{}:{}", host_, base::random_hex(16));
    for (int lost = 0; lost < kMostTries; ++lost) {
      auto all = leases->labelled(kLabel, lock, kMostPlaces, patience);
      if (!all && lost > 0 && all.error().code() == Errc::kTimeout) break;
      if (!all) return propagate(std::move(all), "fleet lock {}", lock);
      const Look now = look(lock, *all, lasts);
      auto mine = take(*leases, lock, now, *all, holder, lasts, patience);
      if (mine && mine->has_value()) return grant(*leases, **std::move(mine));
      if (mine) {
        const auto shown = std::min(now.holders.size(), kMostShown);
        return fail(Errc::kConflict, "fleet lock {}: {} hosts do the same already: {}", lock,
                    now.holders.size(),
                    fmt::join(now.holders.begin(), now.holders.begin() + shown, ", "));
      }
      // Somebody was quicker, or has tidied the lease away.
      if (mine.error().code() != Errc::kConflict && mine.error().code() != Errc::kNotFound)
        return propagate(std::move(mine), "fleet lock {}", lock);
      if (mine.error().code() == Errc::kNotFound && now.open.empty())
        return propagate(std::move(mine), "fleet lock {}", lock);  // there is no such namespace
    }
    return fail(Errc::kConflict, "fleet lock {}: other hosts were quicker each time", lock);
  }

 private:
  struct Seen {
    std::string as;  // what the holder wrote last
    SteadyTime since{};
  };

  /// A kubeconfig or a token may have been renewed since.
  [[nodiscard]] Result<KubernetesLeases> connect() const {
    auto access = drivers::kubernetes_access(cluster_, roots_, config::process_environment);
    if (!access) return propagate(std::move(access));
    std::string where = !fleet_.name_space.empty()    ? fleet_.name_space
                        : !access->name_space.empty() ? access->name_space
                                                      : "default";
    return KubernetesLeases(drivers::Kubernetes(clock_, *std::move(access)), std::move(where));
  }

  Look look(const std::string& lock, const std::vector<Lease>& all, Millis lasts) {
    Look out;
    const auto now = clock_.steady();
    std::map<std::string, Seen, std::less<>> fresh;
    const std::lock_guard guard(mutex_);
    if (seen_.size() >= kMostLocks && !seen_.contains(lock)) seen_.clear();
    auto& known = seen_[lock];
    for (const auto& lease : all) {
      if (lease.holder.empty()) {
        out.open.push_back(&lease);
        continue;
      }
      std::string as = fmt::format("{} {} {}", lease.holder, lease.renewed, lease.transitions);
      const auto before = known.find(lease.name);
      const bool same = before != known.end() && before->second.as == as;
      const auto since = same ? before->second.since : now;
      fresh.emplace(lease.name, Seen{std::move(as), since});
      // One that has not said how long is held to what it would be for us.
      if (now - since >= lease.lasts.value_or(lasts)) {
        out.open.push_back(&lease);
      } else {
        out.holders.push_back(lease.holder.substr(0, lease.holder.find(':')));
      }
    }
    known = std::move(fresh);
    return out;
  }

  /// Nothing: all places are taken. Hosts begin at different ones, so that they do not all want
  /// the same.
  [[nodiscard]] Result<std::optional<Lease>> take(
      const KubernetesLeases& leases, const std::string& lock, const Look& now,
      const std::vector<Lease>& all, const std::string& holder, Millis lasts,
      const drivers::KubernetesPatience& patience) const {
    if (now.holders.size() >= fleet_.budget) return std::nullopt;
    const auto first = base::fnv1a(holder) % fleet_.budget;
    for (std::uint32_t i = 0; i < fleet_.budget; ++i) {
      const auto name = fmt::format("{}-{}", lock, (first + i) % fleet_.budget + 1);
      const auto open = std::ranges::find(now.open, name, &Lease::name);
      const bool exists = std::ranges::find(all, name, &Lease::name) != all.end();
      if (exists && open == now.open.end()) continue;
      if (exists && !(*open)->holder.empty())
        log::warning("executor", "the fleet lock {} of {} has lapsed: it was never given back",
                     name, (*open)->holder);
      auto mine = exists ? leases.take(**open, holder, lasts, patience)
                         : leases.make(name, kLabel, lock, holder, lasts, patience);
      if (!mine) return propagate(std::move(mine));
      return *std::move(mine);
    }
    return std::nullopt;
  }

  [[nodiscard]] Result<std::unique_ptr<FleetPlace>> grant(const KubernetesLeases& leases,
                                                          Lease mine) const {
    // The version of an object is that of the whole store at that moment: it only grows.
    const auto token = base::parse_int(mine.version);
    auto place = std::make_unique<KubernetesPlace>(leases, std::move(mine), token.value_or(0),
                                                   clock_, fleet_.timeout);
    if (!token) return fail(Errc::kCorrupt, "{}: expected a number", place->describe());
    return place;
  }

  Clock& clock_;
  const config::FleetSection fleet_;
  const config::KubernetesSection cluster_;
  const host::Roots roots_;
  const std::string host_;
  std::mutex mutex_;
  /// By lock and lease; guarded by mutex_.
  std::map<std::string, std::map<std::string, Seen, std::less<>>, std::less<>> seen_;
};

}  // namespace

std::shared_ptr<FleetLock> make_kubernetes_fleet(Clock& clock, const config::FleetSection& fleet,
                                                 const config::KubernetesSection& cluster,
                                                 host::Roots roots, std::string host) {
  return std::make_shared<KubernetesFleet>(clock, fleet, cluster, std::move(roots),
                                           std::move(host));
}

}  // namespace nexus::execute
