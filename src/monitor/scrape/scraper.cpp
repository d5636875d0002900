#include "monitor/scrape/scraper.hpp"

#include <algorithm>
#include <system_error>

#include "nexus/base/log.hpp"
#include "nexus/base/loop_thread.hpp"

namespace nexus::monitor {
namespace {

constexpr Millis kLongestWait{1000};

ScrapeCounters make_counters(knowledge::SelfMetrics& self) {
  return {self.counter("nexus_scrape_scrapes_total", "Scrapes that ended, in whatever way."),
          self.counter("nexus_scrape_failures_total", "Scrapes that failed: up is 0."),
          self.counter("nexus_scrape_samples_total", "Samples taken from scrapes."),
          self.counter("nexus_scrape_invalid_lines_total",
                       "Lines of scraped text that could not be read."),
          self.counter("nexus_scrape_doubled_samples_total",
                       "Samples of a series that the same scrape had already."),
          self.counter("nexus_scrape_untimely_samples_total",
                       "Scraped samples in the future, too old, or older than the last."),
          self.counter("nexus_scrape_dropped_samples_total",
                       "Scraped samples of series over max_series of the target or of the agent."),
          self.counter("nexus_scrape_skipped_total",
                       "Scrapes not begun because the one before was still running.")};
}

}  // namespace

Scraper::Scraper(const SourcesContext& context, Outbox& outbox)
    : context_(context),
      outbox_(outbox),
      counters_(make_counters(context.self)),
      count_(context.self.gauge("nexus_scrape_targets", "Targets that are scraped.")) {}

Scraper::~Scraper() {
  stop();
}

void Scraper::configure(const std::vector<config::ScrapeConfig>& configs, Millis retention) {
  Targets fresh;
  const std::lock_guard guard(mutex_);
  for (const auto& config : configs) {
    for (const auto& target : config.targets) {
      auto place = ScrapeTarget::place(config, target);
      if (!place) continue;
      const auto same = std::ranges::find_if(targets_, [&](const auto& old) {
        return old->config() == config && old->place().url == place->url &&
               old->place().labels == place->labels;
      });
      fresh.push_back(same != targets_.end()
                          ? *same
                          : std::make_shared<ScrapeTarget>(context_, outbox_, counters_, config,
                                                           std::move(*place), retention));
    }
  }
  targets_ = std::move(fresh);
  changed_ = true;
  count_.set(static_cast<double>(targets_.size()));
  if (!thread_.joinable() && !targets_.empty() && !stopping_) {
    try {
      thread_ = std::thread([this] {
        base::name_this_thread("scrape");
        run();
      });
    } catch (const std::system_error& refused) {
      log::error("monitor", "cannot start the thread for scrapes; the next reload tries again: {}",
                 refused.what());
    }
  }
  fetcher_.wake();
}

void Scraper::stop() {
  stopping_ = true;
  fetcher_.wake();
  if (thread_.joinable()) thread_.join();
}

std::vector<SourceStatus> Scraper::status() const {
  Targets targets;
  {
    const std::lock_guard guard(mutex_);
    targets = targets_;
  }
  std::vector<SourceStatus> out;
  for (const auto& target : targets) out.push_back(target->status());
  return out;
}

/// Takes what was configured; what is gone ends, once its running scrape has.
void Scraper::adopt(Targets& active) {
  Targets wanted;
  {
    const std::lock_guard guard(mutex_);
    if (!changed_) return;
    wanted = targets_;
  }
  bool left = false;
  std::erase_if(active, [&](const auto& target) {
    if (std::ranges::find(wanted, target) != wanted.end()) return false;
    if (target->running()) {
      left = true;
      return false;
    }
    target->end();
    return true;
  });
  for (const auto& target : wanted) {
    if (std::ranges::find(active, target) == active.end()) active.push_back(target);
  }
  const std::lock_guard guard(mutex_);
  if (wanted == targets_ && !left) changed_ = false;
}

void Scraper::run() {
  Targets active;
  while (!stopping_) {
    adopt(active);
    const auto now = context_.clock.steady();
    auto next = now + kLongestWait;
    for (const auto& target : active) {
      if (target->due <= now && target->running()) {
        counters_.skipped.add();
        target->plan();
      }
      if (target->due <= now) target->start(fetcher_);
      next = std::min(next, target->due);
    }
    const auto wait = std::chrono::ceil<Millis>(next - now);
    fetcher_.run(std::clamp(wait, Millis(0), kLongestWait));
  }
}

}  // namespace nexus::monitor
