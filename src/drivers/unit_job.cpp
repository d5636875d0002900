#include "drivers/unit_job.hpp"

#include <systemd/sd-bus.h>

#include <algorithm>
#include <optional>

namespace nexus::drivers {
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
  }
  return "";
}

class Job {
 public:
  Job(sd_bus* bus, Clock& clock, UnitJob job, const std::string& unit)
      : bus_(bus),
        clock_(clock),
        job_(job),
        unit_(unit),
        what_(fmt::format("{} {}", to_string(job), unit)) {}

  Result<JobOutcome> run(SteadyTime deadline, const std::function<bool()>& cancelled,
                         const std::function<void()>& queued) {
    const SteadyTime begun = clock_.steady();
    if (clock_.steady() >= deadline)
      return fail(Errc::kTimeout, "{}: the time limit is over", what_);
    if (auto ready = listen(); !ready) return std::unexpected(std::move(ready).error());
    if (auto accepted = queue(deadline); !accepted)
      return std::unexpected(std::move(accepted).error());
    if (queued) queued();
    if (auto ended = wait(deadline, cancelled); !ended)
      return std::unexpected(std::move(ended).error());
    if (*result_ != "done") return std::unexpected(refusal());
    return JobOutcome{*result_, std::chrono::duration_cast<Millis>(clock_.steady() - begun)};
  }

 private:
  // The signal is matched before the job exists: a job that ends at once is not missed.
  Status listen() {
    sd_bus_slot* slot = nullptr;
    const int r = sd_bus_match_signal(bus_, &slot, signal_sender(bus_), kManagerPath, kManager,
                                      "JobRemoved", &Job::on_removed, this);
    if (r < 0) return std::unexpected(bus_error(r, what_ + ": follow its job"));
    match_.reset(slot);
    auto message = request(bus_, kManagerPath, kManager, "Subscribe");
    if (!message) return propagate(std::move(message));
    auto reply = call(bus_, message->get(), what_);
    if (!reply) return propagate(std::move(reply));
    return {};
  }

  Status queue(SteadyTime deadline) {
    auto message = request(bus_, kManagerPath, kManager, method(job_));
    if (!message) return propagate(std::move(message));
    sd_bus_message_append(message->get(), "ss", unit_.c_str(), "replace");
    const auto left = std::min<Nanos>(deadline - clock_.steady(), kCallLimit);
    auto reply =
        call(bus_, message->get(), what_, std::max(Millis(1), std::chrono::ceil<Millis>(left)));
    if (!reply) return propagate(std::move(reply));
    const char* path = nullptr;
    if (const int r = sd_bus_message_read(reply->get(), "o", &path); r < 0) {
      return std::unexpected(bus_error(r, what_));
    }
    path_ = path;
    return {};
  }

  // Signals that arrived during the calls before are dispatched here, by sd_bus_process, when path_
  // is known.
  static int on_removed(sd_bus_message* m, void* self, sd_bus_error* /*error*/) {
    auto* job = static_cast<Job*>(self);
    const char* path = nullptr;
    const char* result = nullptr;
    const int r = sd_bus_message_read(m, "uoss", nullptr, &path, nullptr, &result);
    if (r >= 0 && job->path_ == path) job->result_ = result;
    return r < 0 ? r : 0;
  }

  Status wait(SteadyTime deadline, const std::function<bool()>& cancelled) {
    while (true) {
      if (auto turned = turn(deadline); !turned) return turned;
      if (result_) return {};
      if (clock_.steady() >= deadline)
        return cancel(Errc::kTimeout, "the time limit was reached, its job cancelled");
      if (cancelled && cancelled())
        return cancel(Errc::kCancelled, "cancelled, and so was its job");
    }
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
    return fail(Errc::kUnavailable, "{}: the bus went away while the job ran, its end is unknown",
                what_);
  }

  Status cancel(Errc why, std::string_view because) {
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
  std::string path_;
  std::optional<std::string> result_;
};

}  // namespace

std::string_view to_string(UnitJob job) noexcept {
  switch (job) {
    case UnitJob::kStart:
      return "start";
    case UnitJob::kStop:
      return "stop";
    case UnitJob::kRestart:
      return "restart";
    case UnitJob::kReload:
      return "reload";
  }
  return "";
}

Result<JobOutcome> run_job(sd_bus* bus, Clock& clock, UnitJob job, const std::string& unit,
                           SteadyTime deadline, const std::function<bool()>& cancelled,
                           const std::function<void()>& queued) {
  return Job(bus, clock, job, unit).run(deadline, cancelled, queued);
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
