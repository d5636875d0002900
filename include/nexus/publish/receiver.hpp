// The contract of a receiver, a way to tell people or programs: one file in src/publish/receivers,
// one descriptor, one class; one line in src/publish/table.cpp.
//
// A receiver makes one attempt at a time and says what became of it; when to try again, how often,
// and in which order is the courier's. No secret is in what it says. Thread safety: a receiver is
// used by one thread at a time (its courier's); descriptors are constant.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/config/config.hpp"
#include "nexus/publish/alert.hpp"

namespace nexus::publish {

struct Delivery {
  enum class Result { kSent, kRetry, kRefused };  // kRefused: it would be refused again
  Result result = Result::kSent;
  std::string why = {};  // unless sent: what and why, without any secret
  std::optional<Millis> retry_after = std::nullopt;  // as the other side asked for
  /// The other side answered, and it may be this notification that it does not like.
  bool suspect = false;

  [[nodiscard]] static Delivery sent() { return {}; }
  [[nodiscard]] static Delivery retry(std::string why, std::optional<Millis> after = {}) {
    return {Result::kRetry, std::move(why), after};
  }
  [[nodiscard]] static Delivery disliked(std::string why) {
    return {Result::kRetry, std::move(why), {}, true};
  }
  [[nodiscard]] static Delivery refused(std::string why) {
    return {Result::kRefused, std::move(why), {}};
  }
};

class Receiver {
 public:
  virtual ~Receiver() = default;
  /// Ends within the receiver's timeout, or soon after `cancelled` says so.
  [[nodiscard]] virtual Delivery send(const Notification& notification,
                                      const std::function<bool()>& cancelled) = 0;
  /// How often beat() is called; unset: never.
  [[nodiscard]] virtual std::optional<Millis> beats() const { return std::nullopt; }
  /// A sign of life, or what has to be said again without anything new. `healthy`: the agent is.
  [[nodiscard]] virtual Delivery beat(bool healthy, const std::function<bool()>& cancelled) {
    (void)healthy, (void)cancelled;
    return Delivery::sent();
  }
};

/// What a receiver has to know over restarts, such as the thread of a group. Bounded: of too many
/// the oldest are forgotten. Thread safety: as the receiver.
class Memory {
 public:
  virtual ~Memory() = default;
  [[nodiscard]] virtual std::optional<std::string> recall(const std::string& key) const = 0;
  virtual void note(const std::string& key, const std::string& value) = 0;
  virtual void forget(const std::string& key) = 0;
};

struct ReceiverContext {
  Clock& clock;
  Origin origin;
  std::shared_ptr<const config::Config> config;  // listed commands
  /// Where a proposal is approved or rejected by whoever has the link; empty: there are no links.
  std::function<std::string(const Deed& proposal)> approval_link = {};
  /// A picture of the alert's values, PNG; empty: there is none.
  std::function<std::string(const Alert& alert)> chart = {};
  std::shared_ptr<Memory> memory = {};  // null: nothing is kept
};

enum class OptionType { kBool, kInteger, kString, kStrings };
struct OptionDescriptor {
  std::string_view name;
  OptionType type;
  bool required;
  std::string_view default_value;
  std::string_view help;
};
/// One of url, password, token and secret, given as NAME_file, NAME_env or NAME_credential.
struct SecretDescriptor {
  std::string_view name;
  bool required;
  bool may_be_written;  // the address of a receiver that is no secret
  std::string_view help;
};

/// Told of a key, and what was expected.
using Complain = std::function<void(std::string_view key, std::string_view what)>;

struct ReceiverDescriptor {
  std::string_view name;
  std::string_view help;
  std::span<const OptionDescriptor> options;
  std::span<const SecretDescriptor> secrets;
  bool digests;  // people read it: many waiting notifications may become one
  Result<std::unique_ptr<Receiver>> (*make)(const config::ReceiverConfig& config,
                                            const ReceiverContext& context);
  /// Beyond types and presence; null: nothing.
  void (*check)(const config::ReceiverConfig& config, const config::Config& all,
                const Complain& complain) = nullptr;
  bool has_words = false;   // it shows people a text: `title` and `text` may be templates
  bool local = false;       // it costs nobody anything: no limit of its rate
  bool beats_only = false;  // it gives signs of life; no route may lead there
  bool groups = false;      // it groups and repeats by itself: every end is told at once
};

/// `make` of a type that needs nothing else, for its descriptor.
template <class Type>
Result<std::unique_ptr<Receiver>> make_receiver(const config::ReceiverConfig& config,
                                                const ReceiverContext& context) {
  return std::make_unique<Type>(config, context);
}

[[nodiscard]] std::span<const ReceiverDescriptor* const> receivers();
[[nodiscard]] const ReceiverDescriptor* find_receiver(std::string_view type);
/// Types, options and secrets of every [notify.NAME], with places.
[[nodiscard]] std::vector<config::Problem> check_receivers(const config::Config& config);

}  // namespace nexus::publish
