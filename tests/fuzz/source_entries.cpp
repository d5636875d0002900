// What strangers send to sources and drivers.
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "entries.hpp"
#include "monitor/logs/matcher.hpp"
#include "monitor/probe/dns_message.hpp"
#include "monitor/redis_info.hpp"
#include "monitor/statsd/table.hpp"
#include "nexus/base/text.hpp"
#include "nexus/drivers/kubernetes.hpp"
#include "nexus/knowledge/exposition_reader.hpp"
#include "promise.hpp"

namespace nexus::fuzz {
namespace {

class Collected final : public knowledge::ExpositionHandler {
 public:
  Status on_sample(const knowledge::ExpositionSample& sample) override {
    auto labels = knowledge::parse_exposition_head(sample.head);
    if (!labels) return std::unexpected(labels.error());
    for (const auto& label : *labels) {
      promise(base::is_valid_utf8(label.name) && base::is_valid_utf8(label.value),
              "labels that are taken are valid UTF-8");
    }
    out += fmt::format("{} {} {}\n", knowledge::to_string(knowledge::Labels(*labels)), sample.value,
                       sample.time.value_or(0));
    return {};
  }
  void on_type(std::string_view family, knowledge::MetricType type) override {
    out += fmt::format("{} {}\n", family, knowledge::to_string(type));
  }
  void on_help(std::string_view family, std::string_view help) override {
    out += fmt::format("{} {}\n", family, help);
  }
  void on_mistake(std::uint64_t line, const std::string& message) override {
    promise(base::is_valid_utf8(message), "a message is valid UTF-8");
    out += fmt::format("{}: {}\n", line, message);
  }
  std::string out;
};

class CountingSink final : public monitor::Sink {
 public:
  using Sink::add;
  void add(knowledge::FamilyId, std::span<const knowledge::LabelView>, double) override {
    ++samples;
  }
  std::size_t samples = 0;
};

config::LogConfig log_config() {
  config::LogConfig config;
  config.name = "fuzz";
  config.max_series = 20;
  config.patterns = {
      {.metric = "plain_total", .regex = "(?i)error"},
      {.metric = "by_total", .regex = "a=(?P<a>\\S*) b=(?P<b>.*)", .labels = {"a", "b"}},
      {.metric = "seconds", .regex = "took (?P<s>\\S+)", .type = "histogram", .value = "s"},
      {.metric = "depth", .regex = "(?P<d>\\d+) deep", .type = "gauge", .value = "d"}};
  return config;
}

}  // namespace

void exposition(std::string_view text) {
  if (text.empty()) return;
  const auto format = text.front() == 'o' ? knowledge::ExpositionFormat::kOpenMetrics
                                          : knowledge::ExpositionFormat::kText;
  text.remove_prefix(1);
  const auto read = [&](std::size_t cut) {
    Collected collected;
    knowledge::ExpositionReader reader(format, collected);
    for (auto rest = text; !rest.empty(); rest.remove_prefix(std::min(cut, rest.size())))
      reader.feed(rest.substr(0, cut));
    reader.finish();
    return collected.out;
  };
  promise(read(5) == read(text.size() + 1), "lines are read the same wherever the text is cut");
}

void statsd(std::string_view text) {
  config::StatsdSection section;
  section.max_series = 20;
  section.mappings = {{.match = "a.*.b", .name = "a_${1}", .labels = {{"x", "$1"}}},
                      {.match = "(.)c(.*)", .match_type = "regex", .name = "c_$2"}};
  knowledge::SeriesRegistry registry(10'000);
  monitor::StatsdTable table(section, monitor::StatsdMapper::compile(section).value(), registry);
  const auto cost = table.take(text, SteadyTime{});
  promise(cost <= 1 + text.size() * 10, "what a datagram costs is bounded by its size");
  promise(table.series() <= section.max_series, "series are bounded");
  promise(base::is_valid_utf8(table.take_mistake()), "a message is valid UTF-8");
  CountingSink sink;
  table.add_to(sink, SteadyTime{});
  promise(sink.samples <= section.max_series * 16UL, "samples are bounded");
}

void dns(std::string_view text) {
  const auto answer = monitor::read_dns_answer(text);
  if (!answer) return;
  promise(answer->records.size() <= 1000, "records are bounded");
  for (const auto& record : answer->records) {
    promise(std::ranges::all_of(record, [](char c) { return c == '\t' || (c >= ' ' && c < 0x7f); }),
            "a record is printable text");
  }
}

void redis_info(std::string_view text) {
  monitor::each_redis_field(
      text, [&](std::string_view, std::string_view name, std::string_view value) {
        promise(!name.empty() && !value.empty(), "a field has a name and a value");
        (void)monitor::find_redis_field(name);
        (void)monitor::is_ignored_redis_field(name);
        (void)monitor::parse_redis_value(value);
        (void)monitor::redis_part(value, "calls");
      });
}

void kubeconfig(std::string_view text) {
  static const std::string file =
      std::filesystem::temp_directory_path() / fmt::format("nexus-fuzz-kubeconfig-{}", ::getpid());
  std::ofstream(file, std::ios::binary) << text;
  for (const auto* context : {"", "b"}) {
    const auto access = drivers::kubernetes_from_config(file, context);
    promise(!access || access->server.starts_with("https://"), "the server is asked over TLS");
  }
  std::filesystem::remove(file);
}

void log_line(std::string_view text) {
  static const auto config = log_config();
  const auto matcher = monitor::LogMatcher::compile(config).value();
  std::uint64_t lines = 0;
  for (auto rest = text; !rest.empty(); ++lines)
    matcher->take(base::take_until(rest, '\n').substr(0, monitor::LogMatcher::kLongestLine));
  promise(matcher->counts().lines == lines, "every line is counted");
  promise(matcher->series() <= config.max_series, "series are bounded");
  const auto saved = matcher->save();
  const auto again = monitor::LogMatcher::compile(config).value();
  again->restore(saved);
  promise(again->save() == saved, "what is saved comes back");
  again->restore(text);  // a damaged database
  knowledge::SeriesRegistry registry(10'000);
  CountingSink sink;
  again->add_to(sink, registry);
}

}  // namespace nexus::fuzz
