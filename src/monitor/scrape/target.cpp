#include "monitor/scrape/target.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/base/version.hpp"
#include "nexus/drivers/http_client.hpp"
#include "nexus/host/file.hpp"
#include "nexus/knowledge/queryable.hpp"

namespace nexus::monitor {
namespace {

constexpr std::string_view kAccept =
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

/// The metrics that Prometheus makes of every scrape, in this order.
struct Report {
  std::string_view name;
  std::string_view help;
};
constexpr std::array<Report, 5> kReports = {{
    {"up", "Whether the target could be scraped."},
    {"scrape_duration_seconds", "How long the scrape took."},
    {"scrape_samples_scraped", "Samples that the target exposed."},
    {"scrape_samples_post_metric_relabeling", "Samples left after metric relabelling."},
    {"scrape_series_added", "Series that were not there in the scrape before."},
}};

struct Address {
  std::string scheme;
  std::string host;  // with port
  std::string path;
};

Address split(const config::ScrapeConfig& config, const std::string& target) {
  const auto mark = target.find("://");
  if (mark == std::string::npos) return {config.scheme, target, config.metrics_path};
  Address out{target.substr(0, mark), target.substr(mark + 3), config.metrics_path};
  if (const auto slash = out.host.find('/'); slash != std::string::npos) {
    out.path = out.host.substr(slash);
    out.host.resize(slash);
  }
  return out;
}

/// A file with one secret, read anew each time.
Result<std::string> secret(const std::string& file, const config::Secret& value) {
  if (file.empty()) return value.reveal();
  auto text = host::read_file(file);
  if (!text) return propagate(std::move(text), "credentials");
  while (text->ends_with('\n') || text->ends_with('\r')) text->pop_back();
  return text;
}

knowledge::Labels to_labels(const LabelList& list) {
  return knowledge::Labels(list);
}

std::string instance_of(const LabelList& labels) {
  return std::string(label_of(labels, "instance"));
}

}  // namespace

std::optional<ScrapeTarget::Place> ScrapeTarget::place(const config::ScrapeConfig& config,
                                                       const std::string& target) {
  const auto address = split(config, target);
  LabelList labels = {{"__address__", address.host},
                      {"__scheme__", address.scheme},
                      {"__metrics_path__", address.path},
                      {"__scrape_interval__", base::format_duration(config.interval)},
                      {"__scrape_timeout__", base::format_duration(config.timeout)},
                      {"job", config.name}};
  for (const auto& [name, value] : config.params) set_label(labels, "__param_" + name, value);
  for (const auto& [name, value] : config.labels) set_label(labels, name, value);
  const auto relabel = Relabeling::compile(config.relabel);
  if (relabel && !relabel->apply(labels)) return std::nullopt;
  const auto get = [&](std::string_view name) { return std::string(label_of(labels, name)); };
  if (get("__address__").empty()) return std::nullopt;
  if (get("instance").empty()) set_label(labels, "instance", get("__address__"));
  Place out{.url = fmt::format("{}://{}{}", get("__scheme__"), get("__address__"),
                               get("__metrics_path__")),
            .labels = {},
            .interval = base::parse_duration(get("__scrape_interval__")).value_or(config.interval),
            .timeout = base::parse_duration(get("__scrape_timeout__")).value_or(config.timeout)};
  char separator = out.url.contains('?') ? '&' : '?';
  std::ranges::sort(labels, {}, &knowledge::Label::name);
  for (const auto& label : labels) {
    if (label.name.starts_with("__param_")) {
      out.url += fmt::format("{}{}={}", separator, drivers::url_encode(label.name.substr(8)),
                             drivers::url_encode(label.value));
      separator = '&';
    }
    if (!label.name.starts_with("__")) out.labels.push_back(label);
  }
  return out;
}

ScrapeTarget::ScrapeTarget(const SourcesContext& context, Outbox& outbox,
                           const ScrapeCounters& counters, const config::ScrapeConfig& config,
                           Place place, Millis retention)
    : context_(context),
      outbox_(outbox),
      counters_(counters),
      config_(config),
      place_(std::move(place)),
      intake_(context.registry, context.history, outbox,
              IntakeRules{.target = place_.labels,
                          .honor_labels = config.honor_labels,
                          .honor_timestamps = config.honor_timestamps,
                          .relabel = config.metric_relabel.empty()
                                         ? nullptr
                                         : std::make_shared<const Relabeling>(
                                               *Relabeling::compile(config.metric_relabel)),
                          .sample_limit = config.sample_limit,
                          .label_limit = config.label_limit,
                          .name_length_limit = config.label_name_length_limit,
                          .value_length_limit = config.label_value_length_limit,
                          .budget = config.max_series,
                          .retention = retention}),
      group_(outbox.groups().take()) {
  // Targets of one interval are not all asked at once; the same target always at the same moment.
  const auto spread = base::fnv1a(place_.url, base::fnv1a(config_.name));
  offset_ = Millis(static_cast<std::int64_t>(
      spread % static_cast<std::uint64_t>(std::max<std::int64_t>(1, place_.interval.count()))));
  status_.kind = "scrape";
  status_.name = config_.name;
  status_.instance = instance_of(place_.labels);
  status_.url = place_.url;
  status_.labels = to_labels(place_.labels);
  status_.interval = place_.interval;
  status_.timeout = place_.timeout;
  due = context_.clock.steady();  // the first at once
  planned_ = context_.clock.wall();
}

ScrapeTarget::~ScrapeTarget() {
  outbox_.groups().give(group_);
}

/// The next moment: a multiple of the interval, and the offset.
void ScrapeTarget::plan() {
  const auto wall = context_.clock.wall();
  const auto step = place_.interval.count();
  const auto since = base::to_unix_millis(wall) - offset_.count();
  planned_ = base::from_unix_millis((since / step + 1) * step + offset_.count());
  due = context_.clock.steady() + (planned_ - wall);
}

Result<drivers::FetchRequest> ScrapeTarget::request() const {
  const auto& credentials = config_.credentials;
  auto password = secret(credentials.password_file, credentials.password);
  if (!password) return std::unexpected(password.error());
  auto token = secret(credentials.token_file, credentials.token);
  if (!token) return std::unexpected(token.error());
  drivers::FetchRequest out;
  out.url = place_.url;
  out.headers = {{"Accept", std::string(kAccept)},
                 {"User-Agent", fmt::format("nexus-agent/{}", base::version())},
                 {"X-Prometheus-Scrape-Timeout-Seconds",
                  base::format_double(std::chrono::duration<double>(place_.timeout).count())}};
  out.username = credentials.username;
  out.password = *std::move(password);
  out.token = *std::move(token);
  out.timeout = place_.timeout;
  out.tls = {config_.tls.ca_file, config_.tls.cert_file, config_.tls.key_file,
             config_.tls.server_name, config_.tls.insecure_skip_verify};
  return out;
}

void ScrapeTarget::start(drivers::Fetcher& fetcher) {
  began_ = context_.clock.steady();
  // As long as it is about on time a scrape stands for its moment.
  const auto wall = context_.clock.wall();
  const bool on_time = wall >= planned_ && wall - planned_ < Millis(100);
  stamp_ = std::max(stamp_ + 1, base::to_unix_millis(on_time ? planned_ : wall));
  if (stamp_ > base::to_unix_millis(wall) + 1000) stamp_ = base::to_unix_millis(wall);
  received_ = 0;
  accepted_ = false;
  plan();
  auto prepared = request();
  if (!prepared) {
    settle(std::unexpected(prepared.error()), false);
    return;
  }
  running_ = true;
  fetcher.start(std::move(*prepared),
                {.on_head = [this](const drivers::FetchResult& result) { on_head(result); },
                 .on_data = [this](std::string_view part) { return on_data(part); },
                 .on_done = [this](drivers::FetchResult&& result) { on_done(std::move(result)); }});
}

void ScrapeTarget::on_head(const drivers::FetchResult& result) {
  accepted_ = result.http_status == 200;
  if (accepted_) intake_.begin(knowledge::exposition_format(result.content_type), stamp_);
}

bool ScrapeTarget::on_data(std::string_view part) {
  received_ += part.size();
  if (!accepted_) return received_ < 4096;  // an error page is of no interest
  if (received_ > config_.body_size_limit) return false;
  return intake_.feed(part);
}

void ScrapeTarget::on_done(drivers::FetchResult&& result) {
  running_ = false;
  if (!accepted_ && result.http_status != 0) {
    settle(fail(Errc::kUnavailable, "the server answered with status {}", result.http_status),
           false);
  } else if (accepted_ && received_ > config_.body_size_limit) {
    settle(fail(Errc::kExhausted, "more than body_size_limit = {} bytes", config_.body_size_limit),
           false);
  } else if (result.status || (accepted_ && result.status.error().code() == Errc::kExhausted)) {
    settle(intake_.finish(), true);
  } else {
    settle(result.status, false);
  }
}

/// `read`: the whole answer was read, though it may count as none.
void ScrapeTarget::settle(const Status& outcome, bool read) {
  const double seconds = std::chrono::duration<double>(context_.clock.steady() - began_).count();
  counters_.scrapes.add();
  const IntakeCounts none;
  const IntakeCounts& counts = read ? intake_.counts() : none;
  if (outcome) {
    intake_.commit();
    counters_.samples.add(static_cast<double>(counts.taken));
    counters_.invalid.add(static_cast<double>(counts.invalid));
    counters_.doubled.add(static_cast<double>(counts.doubled));
    counters_.untimely.add(static_cast<double>(counts.untimely));
    counters_.dropped.add(static_cast<double>(counts.dropped));
  } else {
    intake_.end(stamp_);
    counters_.failures.add();
  }
  report(outcome.has_value(), seconds, counts);
  std::string error = outcome ? "" : outcome.error().message();
  if (outcome && counts.invalid > 0)
    error = fmt::format("{} lines were not taken; {}", counts.invalid, counts.first_mistake);
  const std::lock_guard guard(mutex_);
  const std::string_view health = outcome ? "up" : "down";
  if (status_.health != health && !outcome)
    log::warning("monitor", "scrape {} of {}: {}", config_.name, place_.url, error);
  if (status_.health == "down" && outcome)
    log::info("monitor", "scrape {} of {}: works again", config_.name, place_.url);
  status_.health = health;
  status_.error = std::move(error);
  status_.last = base::from_unix_millis(stamp_);
  status_.duration_seconds = seconds;
  status_.samples = counts.scraped;
  status_.series = intake_.live();
  status_.dropped += counts.dropped;
}

/// up and scrape_*: of every scrape, however it went.
void ScrapeTarget::report(bool up, double seconds, const IntakeCounts& counts) {
  const auto forgotten = context_.registry.forgotten();
  if (reports_.size() != kReports.size() || forgotten != forgotten_) {
    forgotten_ = forgotten;
    reports_.clear();
    std::vector<knowledge::LabelView> labels;
    for (const auto& label : place_.labels) labels.push_back({label.name, label.value});
    for (const auto& one : kReports) {
      const auto family =
          context_.registry.family(one.name, knowledge::MetricType::kGauge, one.help);
      const auto id = context_.registry.intern(family, labels);
      if (!id) return;  // counted by the registry
      reports_.push_back(*id);
    }
  }
  const std::array<double, kReports.size()> values = {
      up ? 1.0 : 0.0, seconds, static_cast<double>(counts.scraped),
      static_cast<double>(counts.kept), static_cast<double>(counts.added)};
  outbox_.push({group_, stamp_, reports_, values});
}

void ScrapeTarget::end() {
  const auto now = std::max(stamp_ + 1, base::to_unix_millis(context_.clock.wall()));
  intake_.end(now);
  const std::vector<double> stale(reports_.size(), knowledge::stale_marker());
  outbox_.push({group_, now, reports_, stale});
}

SourceStatus ScrapeTarget::status() const {
  const std::lock_guard guard(mutex_);
  return status_;
}

}  // namespace nexus::monitor
