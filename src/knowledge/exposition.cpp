#include "nexus/knowledge/exposition.hpp"

#include <algorithm>
#include <compare>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <tuple>

#include "nexus/base/text.hpp"
#include "nexus/knowledge/names.hpp"

namespace nexus::knowledge {
namespace {

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
constexpr std::string_view kBucketBound = "le";
constexpr std::string_view kQuantile = "quantile";

enum class Escape { kHelp, kLabelValue };

void append_escaped(std::string& out, std::string_view text, Escape escape) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && escape == Escape::kLabelValue) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  append_escaped(out, text, Escape::kLabelValue);
  out += '"';
}

/// A metric's name beyond letters, digits, _ and : stands in the braces, in quotes.
std::string make_head(const Labels& labels) {
  std::string head;
  char separator = '{';
  if (is_legacy_metric_name(labels.metric())) {
    head = labels.metric();
  } else {
    head += separator;
    append_quoted(head, labels.metric());
    separator = ',';
  }
  for (const Label& label : labels) {
    if (label.name == kMetricName) continue;
    head += separator;
    if (is_legacy_label_name(label.name)) {
      head += label.name;
    } else {
      append_quoted(head, label.name);
    }
    head += '=';
    append_quoted(head, label.value);
    separator = ',';
  }
  if (separator == ',') head += '}';
  head += ' ';
  return head;
}

std::string make_preamble(const Family& family) {
  std::string name = family.name;
  if (!is_legacy_metric_name(name)) {
    name.clear();
    append_quoted(name, family.name);
  }
  std::string preamble = "# HELP " + name + " ";
  append_escaped(preamble, family.help, Escape::kHelp);
  preamble.append("\n# TYPE ").append(name).append(" ").append(to_string(family.type)).append("\n");
  return preamble;
}

bool is_compound(MetricType type) {
  return type == MetricType::kHistogram || type == MetricType::kSummary;
}

/// Labels without the name and without the bound that tells the lines of one histogram apart.
std::vector<Label> plain_labels(const Labels& labels) {
  std::vector<Label> plain;
  for (const Label& label : labels) {
    if (label.name != kMetricName && label.name != kBucketBound && label.name != kQuantile)
      plain.push_back(label);
  }
  return plain;
}

/// Lines of one histogram or summary stand together: buckets or quantiles with ascending bounds,
/// then sum, then count.
bool compound_less(const Labels& left, const Labels& right) {
  if (const auto order = plain_labels(left) <=> plain_labels(right); order != 0) return order < 0;
  const auto place = [](const Labels& labels) {
    if (labels.metric().ends_with("_count")) return 2;
    return labels.metric().ends_with("_sum") ? 1 : 0;
  };
  if (place(left) != place(right)) return place(left) < place(right);
  const auto bound = [](const Labels& labels) {
    const std::string_view le = labels.get(kBucketBound);
    return base::parse_double(le.empty() ? labels.get(kQuantile) : le).value_or(0);
  };
  return bound(left) < bound(right);
}

}  // namespace

struct Exposition::Impl {
  struct Line {
    SeriesId id;
    FamilyId family_id;
    const Family* family;
    const std::string* preamble;
    std::shared_ptr<const Labels> labels;
    std::string head;
    double value = 0;
    std::uint64_t round = 0;  // in which `value` was set
  };

  explicit Impl(const SeriesRegistry& r) : registry(r) {}

  [[nodiscard]] Line* find(SeriesId id);
  void learn(std::span<const ExposedSample> samples);
  void follow_types();
  void sort();
  void print();

  const SeriesRegistry& registry;
  std::vector<Line> lines;              // sorted as printed
  std::vector<std::uint32_t> position;  // in `lines`, by place of the series; kNone for the unknown
  struct Printed {
    const Family* family;
    std::string preamble;
  };
  std::map<FamilyId, Printed> families;
  std::uint64_t round = 0;
  std::string out;
};

Exposition::Impl::Line* Exposition::Impl::find(SeriesId id) {
  const std::size_t place = registry.place(id);
  if (place >= position.size() || position[place] == kNone) return nullptr;
  Line& line = lines[position[place]];
  return line.id == id ? &line : nullptr;
}

/// Makes lines for series that are seen for the first time, and drops those of forgotten series.
void Exposition::Impl::learn(std::span<const ExposedSample> samples) {
  const std::size_t known = lines.size();
  for (const ExposedSample& sample : samples) {
    if (find(sample.id) != nullptr) continue;
    std::shared_ptr<const Labels> labels = registry.share(sample.id);
    if (labels == nullptr) continue;
    const std::size_t place = registry.place(sample.id);
    if (place >= position.size())
      position.resize(std::max<std::size_t>(place + 1, position.size() * 2), kNone);
    const FamilyId family_id = registry.family_of(sample.id);
    auto printed = families.find(family_id);
    if (printed == families.end()) {
      const Family& family = registry.family(family_id);
      printed = families.emplace(family_id, Printed{&family, make_preamble(family)}).first;
    }
    position[place] = static_cast<std::uint32_t>(lines.size());
    std::string head = make_head(*labels);
    lines.push_back({.id = sample.id,
                     .family_id = family_id,
                     .family = printed->second.family,
                     .preamble = &printed->second.preamble,
                     .labels = std::move(labels),
                     .head = std::move(head)});
  }
  if (lines.size() == known) return;
  std::erase_if(lines, [this](const Line& line) { return !registry.known(line.id); });
  sort();
}

/// A family whose type has changed is another one, and all its lines are of that.
void Exposition::Impl::follow_types() {
  bool changed = false;
  for (auto& [id, printed] : families) {
    const Family& now = registry.family(id);
    if (&now == printed.family) continue;
    printed = {&now, make_preamble(now)};
    changed = true;
  }
  if (!changed) return;
  for (Line& line : lines) line.family = families.find(line.family_id)->second.family;
  sort();
}

void Exposition::Impl::sort() {
  std::ranges::sort(lines, [](const Line& left, const Line& right) {
    if (left.family != right.family) {
      return std::tie(left.family->name, left.family) < std::tie(right.family->name, right.family);
    }
    if (is_compound(left.family->type)) return compound_less(*left.labels, *right.labels);
    return *left.labels < *right.labels;
  });
  std::ranges::fill(position, kNone);
  for (std::size_t i = 0; i < lines.size(); ++i)
    position[registry.place(lines[i].id)] = static_cast<std::uint32_t>(i);
}

void Exposition::Impl::print() {
  out.clear();
  const Family* current = nullptr;
  for (const Line& line : lines) {
    if (line.round != round) continue;
    if (line.family != current) {
      current = line.family;
      out += *line.preamble;
    }
    out += line.head;
    base::append_double(out, line.value);
    out += '\n';
  }
}

Exposition::Exposition(const SeriesRegistry& registry) : impl_(std::make_unique<Impl>(registry)) {}
Exposition::~Exposition() = default;

const std::string& Exposition::render(std::vector<ExposedSample>& samples) {
  impl_->follow_types();
  impl_->learn(samples);
  ++impl_->round;
  for (const ExposedSample& sample : samples) {
    Impl::Line* line = impl_->find(sample.id);
    if (line == nullptr) continue;  // forgotten a moment ago
    line->value = sample.value;
    line->round = impl_->round;
  }
  impl_->print();
  return impl_->out;
}

}  // namespace nexus::knowledge
