#include "drivers/unit_job.hpp"

#include <systemd/sd-bus.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

namespace nexus::drivers {

using host::JobOutcome;
using host::JobWait;
using host::UnitJob;

namespace {

constexpr Millis kAskEvery{100};  // how often `cancelled` and the injected clock are looked at

const char* method(UnitJob job) noexcept {
  switch (job) {
    case UnitJob::kStart:
      return "StartUnit";
    case UnitJob::kStop:
      return "StopUnit";
    case UnitJob::kRestart:
      return "RestartUnit";
    case UnitJob::kReload:
      return "ReloadUnit";
    case UnitJob::kTryRestart:
      return "TryRestartUnit";
  }
  return "";
}

// What systemd is asked to do is sent without waiting for the answer: its replies and signals are
// dispatched in one loop that also looks at the clock and at the caller's wishes. A systemd that is
// busy for longer than a call may take (a daemon-reload with slow generators) is waited for.
class Job {
 public:
  Job(sd_bus* bus, Clock& clock, UnitJob job, const std::string& unit)
      : bus_(bus),
        clock_(clock),
        job_(job),
        unit_(unit),
        what_(fmt::format("{} {}", to_string(job), unit)) {}

  Result<JobOutcome> run(const JobWait& wait) {
    const SteadyTime begun = clock_.steady();
    if (begun >= wait.deadline) return fail(Errc::kTimeout, "{}: the time limit is over", what_);
    if (auto ready = listen(); !ready) return std::unexpected(std::move(ready).error());
    if (auto sent = send(); !sent) return std::unexpected(std::move(sent).error());
    if (auto ended = follow(wait); !ended) return std::unexpected(std::move(ended).error());
    // Of a job that systemd has not acknowledged nobody can say that it goes on.
    if (left_) return JobOutcome{path_.empty() ? "asked" : "left", took_since(begun)};
    if (*result_ != "done") return std::unexpected(refusal());
    return JobOutcome{*result_, took_since(begun)};
  }

 private:
  [[nodiscard]] Millis took_since(SteadyTime begun) const {
    return std::chrono::duration_cast<Millis>(clock_.steady() - begun);
  }

  // The signal is matched before the job exists: a job that ends at once is not missed. systemd
  // reads our messages in order, so it has subscribed us when it makes the job.
  Status listen() {
    sd_bus_slot* slot = nullptr;
    const int r = sd_bus_match_signal(bus_, &slot, signal_sender(bus_), kManagerPath, kManager,
                                      "JobRemoved", &Job::on_removed, this);
    if (r < 0) return std::unexpected(bus_error(r, what_ + ": follow its job"));
    match_.reset(slot);
    auto message = request(bus_, kManagerPath, kManager, "Subscribe");
    if (!message) return propagate(std::move(message));
    return call_async(message->get(), &Job::on_subscribed, subscription_);
  }

  Status send() {
    auto message = request(bus_, kManagerPath, kManager, method(job_));
    if (!message) return propagate(std::move(message));
    sd_bus_message_append(message->get(), "ss", unit_.c_str(), "replace");
    return call_async(message->get(), &Job::on_accepted, call_);
  }

  Status call_async(sd_bus_message* message, sd_bus_message_handler_t on_reply, Slot& kept) {
    sd_bus_slot* slot = nullptr;
    const int r = sd_bus_call_async(bus_, &slot, message, on_reply, this,
                                    std::numeric_limits<std::uint64_t>::max());
    if (r < 0) return std::unexpected(bus_error(r, what_));
    kept.reset(slot);
    return {};
  }

  static int on_subscribed(sd_bus_message* m, void* self, sd_bus_error* /*error*/) {
    static_cast<Job*>(self)->note_failure(m);
    return 0;
  }

  static int on_accepted(sd_bus_message* m, void* self, sd_bus_error* /*error*/) {
    auto* job = static_cast<Job*>(self);
    if (job->note_failure(m)) return 0;
    const char* path = nullptr;
    if (const int r = sd_bus_message_read(m, "o", &path); r < 0) {
      job->failure_ = bus_error(r, job->what_);
      return 0;
    }
    job->path_ = path;
    return 0;
  }

  bool note_failure(sd_bus_message* reply) {
    auto status = reply_status(reply, what_);
    if (status) return false;
    // sd-bus answers in the place of a bus that went away.
    const bool open = sd_bus_is_open(bus_) > 0;
    if (!failure_) failure_ = open ? std::move(status).error() : went_away();
    return true;
  }

  static int on_removed(sd_bus_message* m, void* self, sd_bus_error* /*error*/) {
    auto* job = static_cast<Job*>(self);
    const char* path = nullptr;
    const char* result = nullptr;
    const int r = sd_bus_message_read(m, "uoss", nullptr, &path, nullptr, &result);
    if (r >= 0 && job->path_ == path) job->result_ = result;
    return r < 0 ? r : 0;
  }

  Status follow(const JobWait& wait) {
    bool told = false;
    while (true) {
      if (auto turned = turn(wait.deadline); !turned) return turned;
      if (failure_) return std::unexpected(*failure_);
      if (!path_.empty() && !std::exchange(told, true) && wait.queued) wait.queued();
      if (result_) return {};
      if (wait.leaving && wait.leaving()) {
        left_ = true;
        return {};
      }
      if (clock_.steady() >= wait.deadline)
        return cancel(Errc::kTimeout, "the time limit was reached, its job cancelled");
      if (wait.cancelled && wait.cancelled())
        return cancel(Errc::kCancelled, "cancelled, and so was its job");
    }
  }

  [[nodiscard]] Error went_away() const {
    return {Errc::kUnavailable,
            fmt::format("{}: the bus went away while the job ran, its end is unknown", what_)};
  }

  // Dispatches what has arrived, or waits a moment for more.
  Status turn(SteadyTime deadline) {
    int r = sd_bus_process(bus_, nullptr);
    if (r == 0) {
      const Nanos left = std::max<Nanos>(deadline - clock_.steady(), Nanos(0));
      const auto micros =
          std::chrono::ceil<std::chrono::microseconds>(std::min<Nanos>(left, kAskEvery));
      r = sd_bus_wait(bus_, static_cast<std::uint64_t>(micros.count()));
    }
    if (r >= 0 || r == -EINTR) return {};
    return std::unexpected(failure_.value_or(went_away()));
  }

  // A job that systemd has not told us of cannot be cancelled: it is given a moment to do so.
  Status await_acceptance(Errc why) {
    const base::SystemClock real;  // of sockets, not of the agent
    const SteadyTime end = real.steady() + kCallLimit;
    while (path_.empty()) {
      if (auto turned = turn(base::kForever); !turned) return turned;
      if (failure_) return std::unexpected(*failure_);
      if (real.steady() >= end) {
        return fail(why, "{}: gave up waiting; systemd has not answered, it may do it later",
                    what_);
      }
    }
    return {};
  }

  Status cancel(Errc why, std::string_view because) {
    if (auto accepted = await_acceptance(why); !accepted) return accepted;
    auto message = request(bus_, path_, "org.freedesktop.systemd1.Job", "Cancel");
    if (!message) return propagate(std::move(message));
    auto reply = call(bus_, message->get(), what_ + ": cancel its job");
    if (!reply && reply.error().code() != Errc::kNotFound) {
      return fail(why, "{}: gave up waiting, and its job could not be cancelled: {}", what_,
                  reply.error().message());
    }
    // The job may have ended by itself in this very moment: then its own result counts.
    while (!result_ && sd_bus_process(bus_, nullptr) > 0) {
    }
    if (result_ && *result_ != "canceled") return {};
    return fail(why, "{}: {}", what_, because);
  }

  Error refusal() {
    const Errc code = *result_ == "timeout" ? Errc::kTimeout : Errc::kConflict;
    std::string text = fmt::format("{}: the job ended with \"{}\"", what_, *result_);
    if (const auto status = read_status(bus_, unit_)) {
      text += fmt::format("; the unit is {} ({})", status->active_state, status->sub_state);
      if (!status->result.empty() && status->result != "success")
        text += fmt::format(", result {}", status->result);
    }
    return {code, std::move(text)};
  }

  sd_bus* const bus_;
  Clock& clock_;
  const UnitJob job_;
  const std::string& unit_;
  const std::string what_;
  Slot match_;
  Slot subscription_;
  Slot call_;
  std::string path_;  // empty until systemd has accepted the job
  std::optional<std::string> result_;
  std::optional<Error> failure_;
  bool left_ = false;
};

}  // namespace

Result<JobOutcome> run_job(sd_bus* bus, Clock& clock, UnitJob job, const std::string& unit,
                           const JobWait& wait) {
  return Job(bus, clock, job, unit).run(wait);
}

Result<UnitStatus> read_status(sd_bus* bus, const std::string& unit) {
  const std::string what = "status of " + unit;
  auto message = request(bus, unit_path(unit), kProperties, "GetAll");
  if (!message) return propagate(std::move(message));
  sd_bus_message_append(message->get(), "s", "");  // of all interfaces
  auto reply = call(bus, message->get(), what);
  if (!reply) return propagate(std::move(reply));
  UnitStatus status;
  if (const int r = read_properties(reply->get(), status); r < 0)
    return std::unexpected(bus_error(r, what));
  return status;
}

}  // namespace nexus::drivers
