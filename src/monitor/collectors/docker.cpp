// docker: the containers and images of a Docker or Podman engine, and what happened to them.
//
// What a container uses is measured by its control group (cAdvisor's container_*); this is what
// only the engine knows: names, health, restarts. Restart counts and health need a request for each
// container: those that are new or that an event named are asked for in the run, the others in
// turn. Events are counted from the first run on, as the engine tells them on a stream.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/connections.hpp"
#include "nexus/drivers/docker.hpp"
#include "nexus/drivers/docker_events.hpp"
#include "nexus/monitor/observed.hpp"

namespace nexus::monitor {
namespace {

using namespace std::chrono_literals;
using drivers::Docker;
using drivers::DockerContainer;
using drivers::DockerDetails;

constexpr std::size_t kInTurn = 50;  // containers asked for in a run although nothing happened
constexpr std::size_t kMostActions = 300;      // pairs of type and action
constexpr std::size_t kMostHappened = 10'000;  // containers between two runs
constexpr Millis kImagesInterval = 1min;
// Of the run's time, what is left for the counts after the details.
constexpr Millis kReserve = 300ms;

constexpr auto kGauge = MetricType::kGauge;
constexpr auto kCounter = MetricType::kCounter;
constexpr std::array kMetrics = {
    MetricDescriptor{"docker_up", kGauge, "Whether the container engine answers in time"},
    MetricDescriptor{"engine_daemon_engine_info", kGauge,
                     "The information related to the engine and the OS it is running on"},
    MetricDescriptor{"engine_daemon_engine_cpus_cpus", kGauge,
                     "The number of cpus that the host system of the engine has"},
    MetricDescriptor{"engine_daemon_engine_memory_bytes", kGauge,
                     "The number of bytes of memory that the host system of the engine has"},
    MetricDescriptor{"engine_daemon_container_states_containers", kGauge,
                     "The count of containers in various states"},
    MetricDescriptor{"docker_container_info", kGauge,
                     "A container: its id, image and the project and service of Compose"},
    MetricDescriptor{"docker_container_state", kGauge, "The state that a container is in"},
    MetricDescriptor{"docker_container_restarting", kGauge,
                     "Whether the engine is about to start the container again"},
    MetricDescriptor{"docker_container_restarts_total", kCounter,
                     "How often the engine started the container again"},
    MetricDescriptor{"docker_container_unhealthy", kGauge,
                     "Whether the container's health check fails; absent without one"},
    MetricDescriptor{"docker_container_health_failing_streak", kGauge,
                     "Failed health checks in a row"},
    MetricDescriptor{"docker_container_exit_code", kGauge,
                     "Exit code of a container that does not run"},
    MetricDescriptor{"docker_container_oom_killed", kGauge,
                     "Whether the container last ended because it was out of memory"},
    MetricDescriptor{"docker_container_start_time_seconds", kGauge,
                     "When the container was last started, since unix epoch in seconds"},
    MetricDescriptor{"docker_images", kGauge, "Images of the engine"},
    MetricDescriptor{"docker_images_dangling", kGauge, "Images without a name"},
    MetricDescriptor{"docker_images_size_bytes", kGauge,
                     "Sum of the sizes of all images; layers that they share count for each"},
    MetricDescriptor{"docker_containers_left_out", kGauge, "Containers beyond max_containers"},
    MetricDescriptor{"docker_events_total", kCounter,
                     "Events of the engine since the agent was started"},
    MetricDescriptor{"docker_event_gaps_total", kCounter,
                     "How often the stream of events was broken and events may be missing"},
};
enum Metric : std::size_t {
  kUp,
  kInfo,
  kCpus,
  kMemory,
  kStates,
  kContainer,
  kState,
  kRestarting,
  kRestarts,
  kUnhealthy,
  kStreak,
  kExitCode,
  kOom,
  kStart,
  kImages,
  kDangling,
  kImageBytes,
  kLeftOut,
  kEvents,
  kGaps,
  kMetricCount
};
static_assert(kMetricCount == kMetrics.size());

constexpr std::array<std::string_view, 7> kAllStates = {
    "created", "running", "paused", "restarting", "removing", "exited", "dead"};

std::string label(const DockerContainer& container, std::string_view name) {
  const auto found = container.labels.find(name);
  return found == container.labels.end() ? std::string() : base::sanitize_utf8(found->second);
}

class DockerCollector final : public Collector {
 public:
  DockerCollector(const CollectorContext& context, const config::DockerSection& section)
      : clock_(context.clock),
        observed_(context.observed),
        section_(section),
        own_socket_(context.roots.root("/run/docker.sock")),
        own_pid_(context.roots.root("/run/docker.pid")),
        engine_(context.clock, section.socket.empty() ? own_socket_ : section.socket),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    // A socket without a daemon belongs to systemd, and asking there would start the engine.
    if (section_.socket.empty() &&
        (::access(own_socket_.c_str(), F_OK) != 0 || ::access(own_pid_.c_str(), F_OK) != 0))
      return fail(Errc::kNotFound, "no Docker engine runs here, and [docker] names no socket");
    const SteadyTime deadline = clock_.steady() + section_.timeout;
    Status status = collect_from(sink, deadline);
    sink.add(families_[kUp], status ? 1 : 0);
    if (!status && status.error().code() == Errc::kNotFound)
      return fail(Errc::kUnavailable, "{}", status.error().message());
    return status;
  }

 private:
  Status collect_from(Sink& sink, SteadyTime deadline) {
    auto engine = engine_.engine(deadline);
    if (!engine) return propagate(std::move(engine));
    auto containers = engine_.containers(deadline, section_.max_containers);
    if (!containers) return propagate(std::move(containers));
    std::ranges::sort(*containers, {}, &DockerContainer::name);
    // Now that the engine is known to be there. A stream that has ended goes on where it was.
    if (!stream_)
      stream_.emplace(engine_.socket(), clock_.wall(),
                      [this](const drivers::DockerEvent& event) { count(event); });
    stream_->reopen();
    Status status = look_closer(*containers, deadline);
    if (Status counted = count_images(deadline); !counted && status) status = std::move(counted);

    add_engine(sink, *engine);
    add_states(sink, *containers);
    const auto all = std::size_t{engine->running} + engine->paused + engine->stopped;
    sink.add(families_[kLeftOut],
             all > containers->size() && containers->size() >= section_.max_containers
                 ? static_cast<double>(all - containers->size())
                 : 0);
    for (const auto& container : *containers) add_container(sink, container);
    publish_names(*containers);
    for (const auto& [what, count] : counted())
      sink.add(families_[kEvents], {{"type", what.first}, {"action", what.second}}, count);
    sink.add(families_[kGaps], static_cast<double>(stream_->gaps()));
    return status;
  }

  using Counts = std::map<std::pair<std::string, std::string>, double>;

  /// By the stream's thread.
  void count(const drivers::DockerEvent& event) {
    std::pair what(base::sanitize_utf8(event.type), base::sanitize_utf8(event.action));
    const std::lock_guard guard(mutex_);
    // A health check changes nothing; what it finds is an event of its own.
    const bool changes = event.type == "container" && !event.action.starts_with("exec_");
    if (changes && happened_.size() < kMostHappened) happened_.insert(event.id);
    const auto known = events_.find(what);
    if (known != events_.end()) {
      ++known->second;
    } else if (events_.size() < kMostActions) {
      events_.emplace(std::move(what), 1);
    }
  }

  [[nodiscard]] Counts counted() const {
    const std::lock_guard guard(mutex_);
    return events_;
  }

  /// Asks for details: of containers that are new or to which something happened, then of others in
  /// turn, as long as there is time.
  Status look_closer(const std::vector<DockerContainer>& containers, SteadyTime deadline) {
    std::set<std::string, std::less<>> happened;
    {
      const std::lock_guard guard(mutex_);
      happened.swap(happened_);
    }
    std::map<std::string, DockerDetails, std::less<>> kept;
    std::vector<const DockerContainer*> urgent;
    std::vector<const DockerContainer*> others;
    for (const auto& container : containers) {
      const auto known = details_.find(container.id);
      const bool changed = known == details_.end() || happened.contains(container.id) ||
                           known->second.state != container.state;
      (changed ? urgent : others).push_back(&container);
      if (known != details_.end()) kept.insert(details_.extract(known));
    }
    details_ = std::move(kept);
    if (!others.empty()) {
      turn_ %= others.size();
      std::ranges::rotate(others, others.begin() + static_cast<std::ptrdiff_t>(turn_));
      others.resize(std::min(others.size(), kInTurn));
      turn_ += others.size();
    }
    urgent.insert(urgent.end(), others.begin(), others.end());
    for (const auto* container : urgent) {
      if (clock_.steady() + kReserve > deadline) break;
      auto details = engine_.inspect(container->id, deadline);
      if (details) {
        details_[container->id] = *std::move(details);
      } else if (details.error().code() != Errc::kNotFound) {  // removed since it was listed
        return propagate(std::move(details));
      }
    }
    return {};
  }

  Status count_images(SteadyTime deadline) {
    const SteadyTime now = clock_.steady();
    if (now < next_images_) return {};
    auto images = engine_.images(deadline);
    if (!images) return propagate(std::move(images));
    next_images_ = now + kImagesInterval;
    images_ = *images;
    return {};
  }

  void add_engine(Sink& sink, const drivers::DockerEngine& engine) const {
    sink.add(families_[kInfo],
             {{"version", engine.version},
              {"api_version", engine.api_version},
              {"os", engine.operating_system},
              {"kernel", engine.kernel},
              {"graphdriver", engine.storage_driver},
              {"cgroup", engine.cgroup_version}},
             1);
    sink.add(families_[kCpus], engine.cpus);
    sink.add(families_[kMemory], static_cast<double>(engine.memory));
    sink.add(families_[kImages], static_cast<double>(images_.count));
    sink.add(families_[kDangling], static_cast<double>(images_.unused_tags));
    sink.add(families_[kImageBytes], images_.bytes);
  }

  void add_states(Sink& sink, const std::vector<DockerContainer>& containers) const {
    for (const auto state : kAllStates) {
      const auto count = std::ranges::count(containers, state, &DockerContainer::state);
      sink.add(families_[kStates], {{"state", state}}, static_cast<double>(count));
    }
  }

  /// For the collector of control groups, which finds ids only.
  void publish_names(const std::vector<DockerContainer>& containers) const {
    if (observed_ == nullptr) return;
    const auto names = std::make_shared<ContainerNames>();
    for (const auto& container : containers) {
      names->try_emplace(
          container.id,
          ContainerName{.name = base::sanitize_utf8(container.name),
                        .image = base::sanitize_utf8(container.image),
                        .name_space = label(container, "io.kubernetes.pod.namespace"),
                        .pod = label(container, "io.kubernetes.pod.name"),
                        .container = label(container, "io.kubernetes.container.name")});
    }
    observed_->publish(NameSource::kEngine, names);
  }

  void add_container(Sink& sink, const DockerContainer& container) const {
    const auto name = base::sanitize_utf8(container.name);
    const auto state = base::sanitize_utf8(container.state);
    sink.add(families_[kContainer],
             {{"name", name},
              {"id", container.id},
              {"image", base::sanitize_utf8(container.image)},
              {"compose_project", label(container, "com.docker.compose.project")},
              {"compose_service", label(container, "com.docker.compose.service")}},
             1);
    const auto add = [&](Metric metric, double value) {
      sink.add(families_[metric], {{"name", name}}, value);
    };
    sink.add(families_[kState], {{"name", name}, {"state", state}}, 1);
    add(kRestarting, container.state == "restarting" ? 1 : 0);
    const auto known = details_.find(container.id);
    if (known == details_.end()) return;
    const DockerDetails& details = known->second;
    add(kRestarts, static_cast<double>(details.restarts));
    if (!details.health.empty()) {
      add(kUnhealthy, details.health == "unhealthy" ? 1 : 0);
      add(kStreak, details.failing_streak);
    }
    if (details.state != "running") add(kExitCode, static_cast<double>(details.exit_code));
    add(kOom, details.oom_killed ? 1 : 0);
    if (details.started) add(kStart, *details.started);
  }

  Clock& clock_;
  Observed* const observed_;
  const config::DockerSection section_;
  const std::string own_socket_;
  const std::string own_pid_;
  const Docker engine_;
  const std::array<FamilyId, kMetrics.size()> families_;
  std::map<std::string, DockerDetails, std::less<>> details_;  // by id, of containers there are
  std::size_t turn_ = 0;
  SteadyTime next_images_{};
  drivers::DockerImages images_;
  mutable std::mutex mutex_;
  std::set<std::string, std::less<>> happened_;  // ids that events named; guarded by mutex_
  Counts events_;                                // guarded by mutex_
  std::optional<drivers::DockerEvents> stream_;  // last: its thread uses the rest
};

class NoDocker final : public Collector {
 public:
  Status collect(Sink& /*sink*/) override {
    return fail(Errc::kNotFound, "[docker] is switched off");
  }
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  if (context.connections == nullptr || !context.connections->docker.enabled)
    return std::make_unique<NoDocker>();
  return std::make_unique<DockerCollector>(context, context.connections->docker);
}

}  // namespace

const CollectorDescriptor kDockerCollector = {
    .name = "docker",
    .help = "Containers and images of a Docker or Podman engine: see [docker].",
    .default_interval = Millis(10'000),
    .remote = true,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
