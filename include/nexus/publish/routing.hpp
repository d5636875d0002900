// Routing: the routing tree, inhibitions, time intervals and the file's silences, compiled from the
// configuration.
//
// The tree has Alertmanager's semantics: an alert goes depth first to the first child that matches
// (and on to its neighbours where that one says `continue`); where no child takes it, the node
// itself does. Thread safety: immutable.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nexus/config/config.hpp"
#include "nexus/publish/alert.hpp"
#include "nexus/publish/matchers.hpp"

namespace nexus::publish {

class TimeInterval;

struct Route {
  std::string key;  // "{}/{severity=\"critical\"}", unique
  Matchers matchers;
  bool go_on = false;
  /// A matcher of it, or of one around it, asks for a kind or a name (analyze::is_asking): what is
  /// told only where somebody asks for it is told here.
  bool asks = false;
  std::vector<std::string> receivers;
  std::vector<std::string> group_by;
  bool group_by_all = false;
  Millis group_wait{};
  Millis group_interval{};
  Millis repeat_interval{};
  std::vector<std::string> mute;  // time intervals
  std::vector<std::string> active;
  std::vector<std::unique_ptr<Route>> routes;

  /// The labels of `alert` that its group has.
  [[nodiscard]] StringMap group_of(const StringMap& labels) const;
};

/// Where an alert is told: by the first route that takes it, or, what nobody needs to hear (see
/// Alert::only_where_asked), by the first that asks; one that neither asks nor has a child that
/// does takes no such alert.
enum class Tell { kAsRouted, kWhereAsked };

struct Inhibition {
  Matchers source;
  Matchers target;
  std::vector<std::string> equal;
};

/// A silence as Alertmanager has it: while it is active, what all matchers match is not told.
struct Silence {
  std::string id;
  Matchers matchers;
  WallTime starts{};
  WallTime ends{};
  std::string author;
  std::string comment;
  WallTime updated{};
  bool from_file = false;  // cannot be expired but in the file

  [[nodiscard]] std::string_view state(WallTime now) const noexcept {  // pending active expired
    return now >= ends ? "expired" : now < starts ? "pending" : "active";
  }
};

class Routing {
 public:
  /// Every mistake goes to `problems` with its place: matchers, unknown receivers and intervals.
  [[nodiscard]] static std::shared_ptr<const Routing> compile(
      const config::Config& config, std::vector<config::Problem>& problems);
  ~Routing();

  /// The routes that take an alert with these labels: at least one, or none when nobody asks.
  [[nodiscard]] std::vector<const Route*> match(const StringMap& labels,
                                                Tell tell = Tell::kAsRouted) const;
  [[nodiscard]] const Route& root() const noexcept { return *root_; }
  [[nodiscard]] const std::vector<Inhibition>& inhibitions() const noexcept { return inhibitions_; }
  [[nodiscard]] const std::vector<Silence>& silences() const noexcept { return silences_; }
  /// Whether a route with these intervals is quiet now.
  [[nodiscard]] bool is_muted(const Route& route, WallTime now) const;
  /// Whether a receiver is to hear of ends.
  [[nodiscard]] bool sends_resolved(std::string_view receiver) const;
  /// Whether it hears of ends once they have settled; false: at once, it groups by itself.
  [[nodiscard]] bool holds_ends(std::string_view receiver) const;

 private:
  Routing();
  friend struct RoutingCompiler;

  std::unique_ptr<Route> root_;
  std::vector<Inhibition> inhibitions_;
  std::vector<Silence> silences_;
  std::vector<std::pair<std::string, TimeInterval>> intervals_;  // several of one name
  std::vector<std::string> without_resolved_;                    // receivers
  std::vector<std::string> at_once_;                             // receivers that hold no ends
};

/// The receiver that is there without being written: the journal.
inline constexpr std::string_view kLogReceiver = "log";

}  // namespace nexus::publish
