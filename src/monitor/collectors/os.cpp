// os: name, version and end of support of the distribution, from os-release(5).
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_os_info", MetricType::kGauge,
                     "A metric with a constant '1' value labeled by what os-release says."},
    MetricDescriptor{"node_os_version", MetricType::kGauge,
                     "Metric containing the major.minor part of the OS version."},
    MetricDescriptor{"node_os_support_end_timestamp_seconds", MetricType::kGauge,
                     "Metric containing the end-of-life date timestamp of the OS."},
};

struct Field {
  std::string_view label;
  std::string_view key;
};
constexpr std::array kFields = {
    Field{"build_id", "BUILD_ID"},
    Field{"id", "ID"},
    Field{"id_like", "ID_LIKE"},
    Field{"image_id", "IMAGE_ID"},
    Field{"image_version", "IMAGE_VERSION"},
    Field{"name", "NAME"},
    Field{"pretty_name", "PRETTY_NAME"},
    Field{"variant", "VARIANT"},
    Field{"variant_id", "VARIANT_ID"},
    Field{"version", "VERSION"},
    Field{"version_codename", "VERSION_CODENAME"},
    Field{"version_id", "VERSION_ID"},
};
enum Known { kId = 1, kIdLike = 2, kName = 5, kVersion = 9, kVersionId = 11 };

/// What a shell makes of a value: quotes taken away, a backslash before a character too.
std::string unquoted(std::string_view text) {
  text = base::trim(text);
  const bool quoted = text.size() >= 2 && (text.front() == '"' || text.front() == '\'') &&
                      text.back() == text.front();
  const bool literal = quoted && text.front() == '\'';
  if (quoted) text = text.substr(1, text.size() - 2);
  std::string value;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && !literal && i + 1 < text.size()) ++i;
    value += text[i];
  }
  return value;
}

/// "22.04.1 LTS" is 22.04; nothing when it does not begin with a number.
std::optional<double> major_minor(std::string_view version) {
  std::size_t end = 0;
  bool dot = false;
  for (; end < version.size(); ++end) {
    if (version[end] == '.' && !dot && end > 0) {
      dot = true;
    } else if (version[end] < '0' || version[end] > '9') {
      break;
    }
  }
  version = version.substr(0, end);
  if (version.ends_with('.')) version.remove_suffix(1);
  return version.empty() ? std::nullopt : base::parse_double(version);
}

class OsCollector final : public Collector {
 public:
  explicit OsCollector(const CollectorContext& context)
      : paths_{context.roots.root("/etc/os-release"), context.roots.root("/usr/lib/os-release")},
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    std::size_t used = 0;
    auto text = buffer_.read(paths_[0]);
    if (!text) text = buffer_.read(paths_[used = 1]);
    if (!text) return propagate(std::move(text));
    if (*text != text_) {
      text_ = *text;
      parse(paths_[used]);
    }
    std::array<LabelView, kFields.size()> labels;
    for (std::size_t i = 0; i < kFields.size(); ++i) labels[i] = {kFields[i].label, values_[i]};
    sink.add(families_[0], labels, 1);
    if (version_) {
      sink.add(families_[1],
               {{"id", values_[kId]}, {"id_like", values_[kIdLike]}, {"name", values_[kName]}},
               *version_);
    }
    if (support_end_) sink.add(families_[2], *support_end_);
    return complaint_;
  }

 private:
  void parse(const std::string& path) {
    values_.fill({});
    support_end_.reset();
    Complaints complaints;
    Lines lines(text_);
    for (std::string_view line; lines.next(line);) {
      line = base::trim(line);
      if (line.empty() || line.starts_with('#')) continue;
      const std::size_t equals = line.find('=');
      if (equals == std::string_view::npos) {
        complaints.add(path, lines.number(), "KEY=VALUE", line);
        continue;
      }
      const std::string_view key = line.substr(0, equals);
      for (std::size_t i = 0; i < kFields.size(); ++i) {
        if (key == kFields[i].key) values_[i] = unquoted(line.substr(equals + 1));
      }
      if (key == "SUPPORT_END") {
        const auto day = base::parse_time(unquoted(line.substr(equals + 1)) + "T00:00:00Z");
        if (day) {
          support_end_ = static_cast<double>(base::to_unix_millis(*day)) / 1000;
        } else {
          complaints.add(path, lines.number(), "a day as 2030-12-31", line);
        }
      }
    }
    version_ = major_minor(values_[kVersionId]);
    if (!version_) version_ = major_minor(values_[kVersion]);
    complaint_ = complaints.take();
  }

  const std::array<std::string, 2> paths_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::FileBuffer buffer_;
  std::string text_;  // that all below was made from
  std::array<std::string, kFields.size()> values_;
  std::optional<double> version_;
  std::optional<double> support_end_;
  Status complaint_;
};

}  // namespace

const CollectorDescriptor kOsCollector = {
    .name = "os",
    .help = "Name, version and end of support of the distribution.",
    .default_interval = Millis(60'000),
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<OsCollector>(context);
    },
};

}  // namespace nexus::monitor
