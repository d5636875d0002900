#include "monitor/logs/matcher.hpp"

#include <algorithm>
#include <cmath>

#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

constexpr std::int64_t kMemory = 16 << 20;  // bytes of one automaton

re2::RE2::Options options() {
  re2::RE2::Options out;
  out.set_log_errors(false);
  out.set_encoding(re2::RE2::Options::EncodingLatin1);  // lines may be any bytes
  out.set_max_mem(kMemory);
  return out;
}

std::string_view view(const re2::StringPiece& piece) {
  return {piece.data(), piece.size()};
}

/// Text as one word: everything but letters, digits and a few signs as %XX.
std::string quoted(std::string_view text) {
  std::string out = "=";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || c == '%' || byte >= 0x7f) {
      out += fmt::format("%{:02X}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

std::string unquoted(std::string_view text) {
  std::string out;
  text.remove_prefix(text.empty() ? 0 : 1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(base::parse_uint(text.substr(i + 1, 2), 16).value_or('?'));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<LogMatcher>> LogMatcher::compile(const config::LogConfig& config) {
  std::unique_ptr<LogMatcher> out(new LogMatcher(config));
  out->set_ = std::make_unique<re2::RE2::Set>(options(), re2::RE2::UNANCHORED);
  for (const auto& pattern : config.patterns) {
    if (Status added = out->add_pattern(pattern); !added) return std::unexpected(added.error());
  }
  if (!out->set_->Compile())
    return fail(Errc::kExhausted, "log {}: the patterns are too large", config.name);
  return out;
}

Status LogMatcher::add_pattern(const config::LogPattern& config) {
  Pattern pattern{.config = config, .regex = nullptr, .labels = {}};
  pattern.regex = std::make_unique<re2::RE2>(config.regex, options());
  if (!pattern.regex->ok())
    return fail(Errc::kInvalidArgument, "regex \"{}\": {}", config.regex, pattern.regex->error());
  const auto& names = pattern.regex->NamedCapturingGroups();
  const auto number = [&](const std::string& name) {
    const auto found = names.find(name);
    return found == names.end() ? 0 : found->second;
  };
  if (!config.value.empty() && (pattern.value = number(config.value)) == 0)
    return fail(Errc::kInvalidArgument, "regex \"{}\": there is no group (?P<{}>...) for the value",
                config.regex, config.value);
  for (const auto& label : config.labels) {
    const int group = number(label);
    if (group == 0)
      return fail(Errc::kInvalidArgument,
                  "regex \"{}\": there is no group (?P<{}>...) for the label", config.regex, label);
    pattern.labels.push_back(group);
    pattern.groups = std::max(pattern.groups, group);
  }
  pattern.groups = std::max(pattern.groups, pattern.value);
  if (set_->Add(config.regex, nullptr) < 0)
    return fail(Errc::kInvalidArgument, "regex \"{}\": refused", config.regex);
  const auto index = patterns_.size();
  patterns_.push_back(std::move(pattern));
  // What has no labels is there from the begin, with 0.
  if (config.labels.empty() && series_.size() < config_.max_series)
    patterns_.back().plain = make_series(index, {});
  return {};
}

std::size_t LogMatcher::make_series(std::size_t index, std::vector<std::string> labels) {
  std::string key = std::to_string(index);
  for (const auto& label : labels) key += '\0' + label;
  const auto& config = patterns_[index].config;
  Series series{.pattern = index, .labels = std::move(labels)};
  if (config.type == "histogram") series.buckets.resize(config.buckets.size() + 1);
  series_.push_back(std::move(series));
  by_key_.emplace(std::move(key), series_.size() - 1);
  return series_.size() - 1;
}

void LogMatcher::take(std::string_view line) {
  ++counts_.lines;
  const re2::StringPiece piece(line.data(), line.size());
  re2::RE2::Set::ErrorInfo error{};
  hits_.clear();
  if (set_->Match(piece, &hits_, &error)) {
    ++counts_.matched;
    for (const int index : hits_) hit(static_cast<std::size_t>(index), line);
    return;
  }
  if (error.kind != re2::RE2::Set::kOutOfMemory) return;
  // The automaton became too large for this line: one pattern after the other is linear too.
  bool any = false;
  for (std::size_t i = 0; i < patterns_.size(); ++i) {
    if (!re2::RE2::PartialMatch(piece, *patterns_[i].regex)) continue;
    any = true;
    hit(i, line);
  }
  if (any) ++counts_.matched;
}

void LogMatcher::hit(std::size_t index, std::string_view line) {
  Pattern& pattern = patterns_[index];
  if (pattern.groups == 0 && pattern.plain != SIZE_MAX) {
    apply(pattern, series_[pattern.plain], 1);
    return;
  }
  groups_.resize(static_cast<std::size_t>(pattern.groups) + 1);
  if (!pattern.regex->Match(re2::StringPiece(line.data(), line.size()), 0, line.size(),
                            re2::RE2::UNANCHORED, groups_.data(), pattern.groups + 1))
    return;
  double value = 1;
  if (pattern.value != 0) {
    const auto number = base::parse_double(view(groups_[static_cast<std::size_t>(pattern.value)]));
    if (!number || !std::isfinite(*number) || (*number < 0 && pattern.config.type == "counter")) {
      ++counts_.no_number;
      return;
    }
    value = *number;
  }
  Series* series = series_of(index, groups_);
  if (series == nullptr) {
    ++counts_.dropped;
    return;
  }
  apply(pattern, *series, value);
}

LogMatcher::Series* LogMatcher::series_of(std::size_t index,
                                          const std::vector<re2::StringPiece>& groups) {
  Pattern& pattern = patterns_[index];
  if (pattern.plain != SIZE_MAX) return &series_[pattern.plain];
  key_ = std::to_string(index);
  for (const int group : pattern.labels) {
    key_ += '\0';
    key_ += view(groups[static_cast<std::size_t>(group)]).substr(0, kLongestValue);
  }
  if (const auto found = by_key_.find(std::string_view(key_)); found != by_key_.end())
    return &series_[found->second];
  if (series_.size() >= config_.max_series) return nullptr;
  std::vector<std::string> labels;
  for (const int group : pattern.labels)
    labels.emplace_back(view(groups[static_cast<std::size_t>(group)]).substr(0, kLongestValue));
  return &series_[make_series(index, std::move(labels))];
}

void LogMatcher::apply(const Pattern& pattern, Series& series, double value) {
  series.seen = true;
  if (pattern.config.type == "gauge") {
    series.value = value;
    return;
  }
  series.value += value;
  series.count += 1;
  if (series.buckets.empty()) return;
  const auto& bounds = pattern.config.buckets;
  const auto at = std::ranges::lower_bound(bounds, value) - bounds.begin();
  series.buckets[static_cast<std::size_t>(at)] += 1;
}

void LogMatcher::add_to(Sink& sink, knowledge::SeriesRegistry& registry) const {
  std::vector<LabelView> labels;
  const auto put = [&](const std::string& name, MetricType type, std::string_view help,
                       double value) {
    sink.add(registry.family(name, type, help), labels, value);
  };
  // First, for what is over a limit is dropped from there on.
  labels.assign({{"log", config_.name}});
  const auto own = [&](const char* name, const char* help, std::uint64_t value) {
    put(name, MetricType::kCounter, help, static_cast<double>(value));
  };
  own("nexus_log_lines_total", "Lines read.", counts_.lines);
  own("nexus_log_matched_lines_total", "Lines that a pattern matched.", counts_.matched);
  own("nexus_log_long_lines_total", "Lines of more than 8 KiB: only their begin was looked at.",
      counts_.long_lines);
  own("nexus_log_dropped_matches_total", "Matches of series over max_series.", counts_.dropped);
  own("nexus_log_no_number_total", "Matches whose value is no number.", counts_.no_number);
  for (const auto& series : series_) {
    const auto& pattern = patterns_[series.pattern].config;
    labels.assign({{"log", config_.name}});
    for (const auto& [name, value] : config_.labels) labels.push_back({name, value});
    for (std::size_t i = 0; i < series.labels.size(); ++i)
      labels.push_back({pattern.labels[i], series.labels[i]});
    if (pattern.type == "counter") {
      put(pattern.metric, MetricType::kCounter, pattern.help, series.value);
    } else if (pattern.type == "gauge") {
      if (series.seen) put(pattern.metric, MetricType::kGauge, pattern.help, series.value);
    } else {
      const auto family = registry.family(pattern.metric, MetricType::kHistogram, pattern.help);
      sink.add_named(family, pattern.metric + "_sum", labels, series.value);
      sink.add_named(family, pattern.metric + "_count", labels, series.count);
      double below = 0;
      for (std::size_t i = 0; i < series.buckets.size(); ++i) {
        below += series.buckets[i];
        const auto bound =
            i < pattern.buckets.size() ? base::format_double(pattern.buckets[i]) : "+Inf";
        labels.push_back({"le", bound});
        sink.add_named(family, pattern.metric + "_bucket", labels, below);
        labels.pop_back();
      }
    }
  }
}

// One line a series: metric, regex, type, count, value, seen, buckets, a bar, labels.
std::string LogMatcher::save() const {
  std::string out = fmt::format("counts {} {} {} {} {}\n", counts_.lines, counts_.matched,
                                counts_.long_lines, counts_.dropped, counts_.no_number);
  for (const auto& series : series_) {
    if (!series.seen) continue;
    const auto& pattern = patterns_[series.pattern].config;
    out += fmt::format("{} {} {} {} {}", quoted(pattern.metric), quoted(pattern.regex),
                       pattern.type, series.count, series.value);
    for (const double bucket : series.buckets) out += fmt::format(" {}", bucket);
    out += " |";
    for (const auto& label : series.labels) out += ' ' + quoted(label);
    out += '\n';
  }
  return out;
}

void LogMatcher::restore(std::string_view saved) {
  // Whatever the database has become: a count is one, and a value a number.
  const auto number = [](std::string_view& rest) {
    const double value = base::parse_double(base::take_word(rest)).value_or(0);
    return std::isfinite(value) ? value : 0;
  };
  const auto whole = [&](std::string_view& rest) { return std::clamp(number(rest), 0.0, 1e18); };
  auto first = base::take_until(saved, '\n');
  (void)base::take_word(first);
  for (auto member : {&LogCounts::lines, &LogCounts::matched, &LogCounts::long_lines,
                      &LogCounts::dropped, &LogCounts::no_number})
    counts_.*member = static_cast<std::uint64_t>(whole(first));
  while (!saved.empty()) {
    auto line = base::take_until(saved, '\n');
    const auto metric = unquoted(base::take_word(line));
    const auto regex = unquoted(base::take_word(line));
    const auto type = base::take_word(line);
    const auto found = std::ranges::find_if(patterns_, [&](const Pattern& pattern) {
      return pattern.config.metric == metric && pattern.config.regex == regex &&
             pattern.config.type == type;
    });
    if (found == patterns_.end()) continue;
    const double count = whole(line);
    const double value = number(line);
    std::vector<double> buckets;
    auto word = base::take_word(line);
    for (; !word.empty() && word != "|"; word = base::take_word(line))
      buckets.push_back(whole(word));
    std::vector<std::string> labels;
    for (word = base::take_word(line); !word.empty(); word = base::take_word(line))
      labels.push_back(unquoted(word));
    const auto index = static_cast<std::size_t>(found - patterns_.begin());
    const bool fits = found->plain != SIZE_MAX || series_.size() < config_.max_series;
    if (labels.size() != found->labels.size() || !fits) continue;
    Series& series =
        series_[found->plain != SIZE_MAX ? found->plain : make_series(index, std::move(labels))];
    if (series.buckets.size() != buckets.size()) continue;  // other bounds: from the begin
    series.count = count;
    series.value = value;
    series.buckets = std::move(buckets);
    series.seen = true;
  }
}

}  // namespace nexus::monitor
