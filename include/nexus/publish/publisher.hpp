// Publisher: findings of the book become notifications, and reach their receivers.
//
// A finding that fires or ends wakes the thread `notify`, which gives it to the dispatcher (routes,
// groups, inhibitions, silences, the notification log) and hands what is due to the couriers, one a
// receiver with a thread of its own. What is due is in the state database before a courier has it;
// when the database cannot be written, it is sent all the same, and counted. A change of severity
// while a finding fires is the end of one alert and the begin of another, as with Prometheus's
// rules. What crosses its threshold again and again is told to begin and to end once (ends
// settle first; settling.hpp). After a restart and a reload everything is routed anew: the
// notification log keeps what was told from being told again, and what ended meanwhile is told to
// have ended.
//
// What is dropped (refused, too old, too many) is forgotten by the notification log as well, so
// that what still fires is told again at the next look at its group.
//
// A crash between an answer of the receiver and its note in the database tells it once more: at
// least once, never less.
//
// Thread safety: all members, any thread; on_finding() neither blocks nor throws.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nexus/analyze/book.hpp"
#include "nexus/config/config.hpp"
#include "nexus/knowledge/self_metrics.hpp"
#include "nexus/knowledge/state.hpp"
#include "nexus/publish/approvals.hpp"
#include "nexus/publish/routing.hpp"
#include "nexus/publish/status.hpp"

namespace nexus::publish {

/// What somebody wants silenced.
struct SilenceRequest {
  std::string id;  // of the one it changes; empty: a new one
  Matchers matchers;
  WallTime starts{};
  WallTime ends{};
  std::string author;
  std::string comment;
};

/// What the rest of the agent knows of a finding, asked for when a notification is made (deeds,
/// trend) or sent (chart, on the courier's thread). Each may be unset.
struct Surroundings {
  std::function<std::vector<Deed>(const analyze::Finding& finding)> deeds;
  std::function<std::string(const analyze::Finding& finding)> trend;
  std::function<std::string(const Alert& alert)> chart;  // PNG
  std::function<bool()> healthy;                         // for signs of life
};

class Publisher {
 public:
  static constexpr std::size_t kMostInbox = 20'000;
  static constexpr std::size_t kMostSilences = 10'000;
  static constexpr Millis kKeepExpired{5 * 24 * 3'600'000};

  /// Which machine this is: its name, as messages call it, and what no other machine has.
  struct Machine {
    std::string host;
    std::string id = {};
  };
  /// `before`: where an agent before kept what is in `db` now; it is moved here.
  [[nodiscard]] static Result<std::unique_ptr<Publisher>> open(
      Clock& clock, knowledge::StateDb& db, knowledge::SelfMetrics& self, analyze::Book& book,
      Machine machine, knowledge::StateDb* before = nullptr);
  ~Publisher();

  /// Before configure() and start().
  void set_surroundings(Surroundings surroundings);
  /// The links in messages.
  [[nodiscard]] Approvals& approvals() noexcept;

  /// At start and at every reload; couriers whose configuration is the same stay as they are.
  void configure(const std::shared_ptr<const config::Config>& config,
                 std::shared_ptr<const Routing> routing);
  void start();
  /// Running attempts are cancelled; what waits stays in the state database.
  void stop();

  /// For how long the thread owes a turn: what the watchdog asks.
  [[nodiscard]] Nanos late() const noexcept;
  /// The book's listener.
  void on_finding(const analyze::Finding& finding);
  /// One turn of the thread; when the next is due.
  SteadyTime turn();

  /// kInvalidArgument, kNotFound (its id), kExhausted (too many).
  [[nodiscard]] Result<Silence> put_silence(SilenceRequest request);
  /// kNotFound; kConflict: it stands in the file, or is over.
  [[nodiscard]] Status expire_silence(std::string_view id);
  /// Active, pending, then expired; newest first.
  [[nodiscard]] std::vector<Silence> silences() const;

  [[nodiscard]] std::vector<ReceiverStatus> receivers() const;
  /// Sends a real notification that says it is a test; kNotFound: no such receiver.
  [[nodiscard]] Status test(const std::string& receiver,
                            const std::function<bool()>& cancelled = {});

 private:
  struct Impl;
  explicit Publisher(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::publish
