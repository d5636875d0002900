#include "nexus/monitor/sources.hpp"

#include <algorithm>
#include <iterator>

#include "monitor/logs/logs.hpp"
#include "monitor/outbox.hpp"
#include "monitor/probe/dns_message.hpp"
#include "monitor/probe/prober.hpp"
#include "monitor/scrape/push.hpp"
#include "monitor/scrape/scraper.hpp"
#include "monitor/statsd/statsd.hpp"

namespace nexus::monitor {
namespace {

void check_relabel(const std::vector<config::RelabelConfig>& steps, std::string_view key,
                   std::vector<config::Problem>& out) {
  for (const auto& step : steps) {
    if (const auto compiled = Relabeling::compile({step}); !compiled)
      out.push_back({step.where, fmt::format("{}.{}", key, compiled.error().message())});
  }
}

}  // namespace

std::vector<config::Problem> check_sources(const config::SourcesSection& sources) {
  std::vector<config::Problem> out;
  for (const auto& scrape : sources.scrapes) {
    check_relabel(scrape.relabel, "scrape.relabel", out);
    check_relabel(scrape.metric_relabel, "scrape.metric_relabel", out);
  }
  for (const auto& probe : sources.probes) {
    if (const auto planned = plan_probe(probe); !planned)
      out.push_back({probe.where, fmt::format("probe: {}", planned.error().message())});
    if (probe.kind == "dns" && !dns_type(probe.query_type))
      out.push_back({probe.where, fmt::format("probe.query_type: \"{}\" is not a type of record "
                                              "that is known",
                                              probe.query_type)});
  }
  for (const auto& mapping : sources.statsd.mappings) {
    config::StatsdSection one;
    one.mappings = {mapping};
    if (const auto compiled = StatsdMapper::compile(one); !compiled)
      out.push_back(
          {mapping.where, fmt::format("statsd.mapping.match: {}", compiled.error().message())});
  }
  for (const auto& log : sources.logs) {
    for (const auto& pattern : log.patterns) {
      config::LogConfig one;
      one.name = log.name;
      one.patterns = {pattern};
      if (const auto compiled = LogMatcher::compile(one); !compiled)
        out.push_back({pattern.where, fmt::format("log.pattern.{}", compiled.error().message())});
    }
  }
  return out;
}

struct Sources::Impl {
  explicit Impl(const SourcesContext& given)
      : context(given),
        outbox(context.clock, context.rings.add(), context.self),
        pushes(context, outbox),
        scraper(context, outbox),
        prober(context, outbox),
        statsd(context, outbox),
        logs(context, outbox) {
    outbox.series().limit(context.registry);
  }

  const SourcesContext context;
  Outbox outbox;  // before what uses it
  Pushes pushes;
  Scraper scraper;
  Prober prober;
  Statsd statsd;
  Logs logs;
};

Sources::Sources(const SourcesContext& context) : impl_(std::make_unique<Impl>(context)) {}
Sources::~Sources() {
  stop();
}

Status Sources::configure(const config::SourcesSection& section, Millis retention) {
  impl_->pushes.configure(section.push, retention);
  impl_->scraper.configure(section.scrapes, retention);
  impl_->prober.configure(section.probes);
  impl_->logs.configure(section.logs);
  return impl_->statsd.configure(section.statsd);
}

void Sources::stop() {
  // A probe may still wait for its target, as long as its time limit allows: it comes last.
  impl_->logs.stop();
  impl_->statsd.stop();
  impl_->pushes.stop();
  impl_->scraper.stop();
  impl_->prober.stop();
}

std::vector<SourceStatus> Sources::status() const {
  auto out = impl_->scraper.status();
  for (auto more : {impl_->prober.status(), impl_->statsd.status(), impl_->logs.status(),
                    impl_->pushes.status()})
    std::ranges::move(more, std::back_inserter(out));
  return out;
}

Result<PushResult> Sources::push(const PushRequest& request) {
  return impl_->pushes.push(request);
}

}  // namespace nexus::monitor
