// [[scrape]] and [push].
#include <fmt/core.h>

#include "config/sections/sources.hpp"
#include "config/shapes.hpp"

namespace nexus::config {
namespace {

constexpr std::int64_t kMost = 10'000'000;

void read_relabel(Section& section, std::string_view key, std::vector<RelabelConfig>& out) {
  section.tables(key, [&](Section& step) {
    RelabelConfig one;
    one.where = step.where();
    step.texts("source_labels", one.source_labels);
    step.text("separator", one.separator, kAnyText);
    step.text("target_label", one.target_label);
    if (step.text("regex", one.regex, kAnyText) != nullptr) one.where = step.place_of({"regex"});
    step.integer("modulus", one.modulus, 1, INT64_MAX);
    step.text("replacement", one.replacement, kAnyText);
    step.choice("action", one.action,
                {"replace", "keep", "drop", "keepequal", "dropequal", "hashmod", "labelmap",
                 "labeldrop", "labelkeep", "lowercase", "uppercase"});
    const bool writes = one.action == "replace" || one.action == "hashmod" ||
                        one.action == "lowercase" || one.action == "uppercase" ||
                        one.action == "keepequal" || one.action == "dropequal";
    if (writes && one.target_label.empty())
      step.require("target_label", fmt::format("the label that {} is about", one.action));
    if (one.action == "hashmod" && one.modulus == 0) step.require("modulus", "a number above 0");
    out.push_back(std::move(one));
  });
}

bool is_target(std::string_view text) {
  if (text.starts_with("http://") || text.starts_with("https://")) return text.size() > 8;
  return !text.empty() && !text.contains('/') && !text.contains(' ');
}
const Shape kTarget{is_target, "host:port, or an address that begins with http:// or https://"};

void read_scrape(Section& section, Reading& reading) {
  ScrapeConfig scrape;
  scrape.where = section.where();
  read_name(section, reading, "scrape", scrape.name);
  section.require("targets", "an array such as [\"127.0.0.1:9100\"]");
  section.texts("targets", scrape.targets, kTarget);
  section.choice("scheme", scrape.scheme, {"http", "https"});
  section.text("metrics_path", scrape.metrics_path, kAbsolutePath);
  read_map(section, "params", scrape.params, Keys::kAny);
  section.duration("interval", scrape.interval, kSourceInterval);
  const bool timed = section.duration("timeout", scrape.timeout, kSourceTimeout) != nullptr;
  if (scrape.timeout > scrape.interval) {
    if (timed) section.complain("timeout", "expected at most the interval");
    scrape.timeout = scrape.interval;
  }
  read_map(section, "labels", scrape.labels, Keys::kLabels);
  section.boolean("honor_labels", scrape.honor_labels);
  section.boolean("honor_timestamps", scrape.honor_timestamps);
  section.integer("sample_limit", scrape.sample_limit, 0, kMost);
  section.integer("label_limit", scrape.label_limit, 0, kMost);
  section.integer("label_name_length_limit", scrape.label_name_length_limit, 0, kMost);
  section.integer("label_value_length_limit", scrape.label_value_length_limit, 0, kMost);
  section.bytes("body_size_limit", scrape.body_size_limit, 1024);
  section.integer("max_series", scrape.max_series, 1, kMostSeries);
  read_relabel(section, "relabel", scrape.relabel);
  read_relabel(section, "metric_relabel", scrape.metric_relabel);
  read_tls(section, scrape.tls);
  read_credentials(section, reading, scrape.credentials);
  reading.config.sources.scrapes.push_back(std::move(scrape));
}

}  // namespace

void read_scrapes(Section& root, Reading& reading) {
  root.tables(
      "scrape", [&](Section& section) { read_scrape(section, reading); }, Disclosure::kTypesOnly);
}

void read_push(Section& root, Reading& reading) {
  PushSection& out = reading.config.sources.push;
  root.table("push", [&](Section& push) {
    push.duration("stale_after", out.stale_after, {1s, kLongest});
    push.integer("max_series", out.max_series, 1, kMostSeries);
    push.integer("max_groups", out.max_groups, 1, kMost);
  });
}

}  // namespace nexus::config
