// sysctl: chosen kernel settings, as numbers or as text.
//
// As node_exporter: `fs.file-nr:total,current,max` gives each number a name, without names several
// numbers have an index.
#include <algorithm>
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"include", OptionType::kStrings, "[]",
                     "Settings with numbers: NAME, or NAME:KEY,KEY for names of its numbers."},
    OptionDescriptor{"include_info", OptionType::kStrings, "[]",
                     "Settings whose text becomes a label."},
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_sysctl_info", MetricType::kGauge, "sysctl info"},
    MetricDescriptor{"node_sysctl_*", MetricType::kUntyped, "sysctl NAME"},
};

constexpr std::size_t kMaxValues = 256;  // of one setting
constexpr std::size_t kMaxText = 1024;

struct Setting {
  std::string name;
  std::string path;
  bool numeric = true;
  std::vector<std::string> keys;
  std::vector<FamilyId> families;  // one, or one a key
};

std::string metric_part(std::string_view name) {
  std::string out(name);
  for (char& c : out) {
    const bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!fits) c = '_';
  }
  return out;
}

class SysctlCollector final : public Collector {
 public:
  SysctlCollector(const CollectorContext& context, std::vector<Setting> settings)
      : info_(context.registry.family(kMetrics[0].name, kMetrics[0].type, kMetrics[0].help)),
        settings_(std::move(settings)) {}

  Status collect(Sink& sink) override {
    if (settings_.empty())
      return fail(Errc::kNotFound, "[collect.sysctl] include and include_info are empty");
    for (const Setting& setting : settings_) add(sink, setting);
    return complaints_.take();
  }

 private:
  void add(Sink& sink, const Setting& setting) {
    auto text = buffer_.read(setting.path);
    if (!text) return complaints_.add(text.error());
    words_.clear();
    std::string_view rest = base::trim(*text);
    while (!rest.empty() && words_.size() < kMaxValues) {
      const std::string_view word = base::take_word(rest);
      if (!word.empty()) words_.push_back(word);
    }
    if (words_.empty()) return complaints_.add(setting.path, "no value");
    if (!setting.keys.empty() && words_.size() != setting.keys.size()) {
      return complaints_.add(setting.path, fmt::format("{} values, but {} keys are configured",
                                                       words_.size(), setting.keys.size()));
    }
    for (std::size_t i = 0; i < words_.size(); ++i) add_value(sink, setting, i);
  }

  void add_value(Sink& sink, const Setting& setting, std::size_t i) {
    const std::string index = std::to_string(i);
    if (!setting.numeric) {
      const std::string value = base::sanitize_utf8(words_[i].substr(0, kMaxText));
      return sink.add(info_, {{"index", index}, {"name", setting.name}, {"value", value}}, 1);
    }
    const auto value = base::parse_int(words_[i]);
    if (!value) return complaints_.add(setting.path, 1, "a whole number", words_[i]);
    const auto number = static_cast<double>(*value);
    if (!setting.keys.empty()) return sink.add(setting.families[i], number);
    if (words_.size() == 1) return sink.add(setting.families[0], number);
    sink.add(setting.families[0], {{"index", index}}, number);
  }

  const FamilyId info_;
  const std::vector<Setting> settings_;
  host::FileBuffer buffer_;
  std::vector<std::string_view> words_;
  Complaints complaints_;
};

/// "net.ipv4.ip_forward" lies at net/ipv4/ip_forward; a name with a slash is a path already.
std::string path_of(const CollectorContext& context, std::string name) {
  if (name.find('/') == std::string::npos) std::ranges::replace(name, '.', '/');
  return context.roots.proc("sys/" + name);
}

Result<Setting> make_setting(const CollectorContext& context, std::string_view text, bool numeric) {
  Setting setting;
  setting.numeric = numeric;
  std::string_view rest = text;
  setting.name = base::take_until(rest, ':');
  if (setting.name.empty() || setting.name.find("..") != std::string::npos)
    return fail(Errc::kInvalidArgument, "\"{}\": expected the name of a setting", text);
  if (!numeric && !rest.empty())
    return fail(Errc::kInvalidArgument, "\"{}\": keys are for numbers only", text);
  setting.path = path_of(context, setting.name);
  const std::string part = metric_part(setting.name);
  for (const std::string_view key :
       rest.empty() ? std::vector<std::string_view>{} : base::split(rest, ',')) {
    setting.keys.emplace_back(key);
    setting.families.push_back(context.registry.family(
        fmt::format("node_sysctl_{}_{}", part, metric_part(key)), MetricType::kUntyped,
        fmt::format("sysctl {}, field {}", setting.name, setting.keys.size() - 1)));
  }
  if (numeric && setting.keys.empty())
    setting.families.push_back(context.registry.family(fmt::format("node_sysctl_{}", part),
                                                       MetricType::kUntyped,
                                                       fmt::format("sysctl {}", setting.name)));
  return setting;
}

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  std::vector<Setting> settings;
  for (const bool numeric : {true, false}) {
    const auto given =
        option_strings(context, kSysctlCollector, numeric ? "include" : "include_info");
    for (const std::string& text : given) {
      auto setting = make_setting(context, text, numeric);
      if (!setting) return propagate(std::move(setting));
      settings.push_back(std::move(*setting));
    }
  }
  return std::make_unique<SysctlCollector>(context, std::move(settings));
}

}  // namespace

const CollectorDescriptor kSysctlCollector = {
    .name = "sysctl",
    .help = "Chosen settings of the kernel.",
    .enabled_by_default = false,
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
