// textfile: metrics that others leave as files NAME.prom in a directory, in Prometheus's text
// format, as node_exporter reads them; and a maximum age.
//
// A file is taken whole or not at all: one with a mistake or with timestamps is refused, named with
// its line, and costs no other file. One that was not written for max_age is not taken any more:
// its writer has died. Files are taken in the order of their paths; when two of them explain a
// metric differently, the first explanation stays and the second file is complained about, though
// taken.
#include <fmt/format.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>

#include "monitor/collectors.hpp"
#include "monitor/directory.hpp"
#include "monitor/families.hpp"
#include "monitor/foreign_file.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/file.hpp"
#include "nexus/knowledge/exposition_reader.hpp"

namespace nexus::monitor {
namespace {

using knowledge::ExpositionSample;
using knowledge::Label;

constexpr std::array kOptions = {
    OptionDescriptor{"directory", OptionType::kString, "'/var/lib/prometheus/node-exporter'",
                     "Where files NAME.prom are; may hold * and ?."},
    OptionDescriptor{"more_directories", OptionType::kStrings, "[]",
                     "Others, likewise: what node_exporter's flag is repeated for."},
    OptionDescriptor{"max_age", OptionType::kDuration, "'8d'",
                     "A file that was not written for so long is not taken any more; 0: never."},
    OptionDescriptor{"max_files", OptionType::kInteger, "256", "The first ones by path."},
};

enum Metric : std::size_t { kMtime, kScrapeError, kFileError, kStale, kLeftOut };
constexpr std::array kMetrics = {
    MetricDescriptor{"node_textfile_mtime_seconds", MetricType::kGauge,
                     "Unixtime mtime of textfiles successfully read."},
    MetricDescriptor{"node_textfile_scrape_error", MetricType::kGauge,
                     "1 if there was an error opening or reading a file, 0 otherwise"},
    MetricDescriptor{"nexus_textfile_error", MetricType::kGauge,
                     "Whether something is wrong with a file."},
    MetricDescriptor{"nexus_textfile_stale", MetricType::kGauge,
                     "Whether a file is too old to be taken."},
    MetricDescriptor{"nexus_textfile_left_out_files", MetricType::kGauge,
                     "Files beyond max_files."},
};

constexpr std::size_t kMaxFamilies = 10'000;  // that texts of help are remembered of

struct Sample {
  std::string name;
  std::vector<Label> labels;  // without the name
  double value = 0;
};

/// What a file says, before any of it counts.
class Parsed final : public knowledge::ExpositionHandler {
 public:
  Status on_sample(const ExpositionSample& sample) override {
    if (sample.time)
      return fail(Errc::kInvalidArgument, "timestamps are not supported in a textfile");
    auto labels = knowledge::parse_exposition_head(sample.head);
    if (!labels) return propagate(std::move(labels));
    Sample& out = samples.emplace_back();
    out.value = sample.value;
    out.name = labels->front().value;
    labels->erase(labels->begin());
    out.labels = std::move(*labels);
    return {};
  }
  void on_type(std::string_view family, MetricType type) override {
    types.emplace(std::string(family), type);
  }
  void on_help(std::string_view family, std::string_view help) override {
    helps.emplace(std::string(family), std::string(help));
  }
  void on_mistake(std::uint64_t line, const std::string& message) override {
    if (!mistake.empty()) return;
    // Errors are shown to viewers, who may not be allowed to read the file.
    mistake = fmt::format("line {}: {}", line,
                          quoted ? message : "no sample (not quoted: not everybody may read it)");
  }

  bool quoted = true;  // whether mistakes may say what the file says

  std::vector<Sample> samples;
  std::map<std::string, MetricType, std::less<>> types;
  std::map<std::string, std::string, std::less<>> helps;
  std::string mistake;
};

struct File {
  std::string path;
  double mtime = 0;
};

class TextfileCollector final : public Collector {
 public:
  explicit TextfileCollector(const CollectorContext& context)
      : patterns_{context.roots.root(option_string(context, kTextfileCollector, "directory"))},
        max_age_(option_duration(context, kTextfileCollector, "max_age")),
        max_files_(static_cast<std::size_t>(std::clamp<std::int64_t>(
            option_integer(context, kTextfileCollector, "max_files"), 0, 10'000))),
        clock_(context.clock),
        registry_(context.registry),
        families_(families_of(context.registry, kMetrics)) {
    for (const auto& one : option_strings(context, kTextfileCollector, "more_directories"))
      patterns_.push_back(context.roots.root(one));
  }

  Status collect(Sink& sink) override {
    if (Status listed = list(); !listed) return listed;
    helps_.clear();
    bool wrong = !complaints_.empty();
    for (const File& file : files_) {
      const bool stale = is_stale(file);
      // Before it is read: the time of a file that cannot be understood is worth knowing, too.
      sink.add(families_[kMtime], {{"file", file.path}}, file.mtime);
      sink.add(families_[kStale], {{"file", file.path}}, stale ? 1 : 0);
      const bool good = stale || take(sink, file);
      sink.add(families_[kFileError], {{"file", file.path}}, good ? 0 : 1);
      wrong = wrong || !good;
    }
    sink.add(families_[kScrapeError], wrong ? 1 : 0);
    sink.add(families_[kLeftOut], static_cast<double>(left_out_));
    return complaints_.take();
  }

 private:
  Status list() {
    files_.clear();
    left_out_ = 0;
    bool any = false;
    for (const std::string& pattern : patterns_) any = list_all(pattern) || any;
    if (!any) return fail(Errc::kNotFound, "{}: no such directory", fmt::join(patterns_, ", "));
    std::ranges::sort(files_, {}, &File::path);
    const auto twice = std::ranges::unique(files_, {}, &File::path);  // by two patterns
    files_.erase(twice.begin(), twice.end());
    if (files_.size() > max_files_) {
      left_out_ = files_.size() - max_files_;
      files_.resize(max_files_);
    }
    return {};
  }

  /// False when nothing of it is there.
  bool list_all(const std::string& pattern) {
    if (pattern.find_first_of("*?[\\") == std::string::npos) return list(pattern);
    glob_t found{};
    const bool any = ::glob(pattern.c_str(), 0, nullptr, &found) == 0;
    for (std::size_t i = 0; any && i < found.gl_pathc; ++i) list(found.gl_pathv[i]);
    ::globfree(&found);
    return any;
  }

  /// False when it is not there.
  bool list(std::string directory) {
    // By two names of it a file would be taken twice.
    while (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
    const auto opened = Directory::open_at(AT_FDCWD, directory.c_str());
    if (!opened && opened.error().code() == Errc::kNotFound) return false;
    const auto take = [&](std::string_view name) {
      if (name.ends_with(".prom")) list_file(fmt::format("{}/{}", directory, name));
    };
    const Status read = opened ? opened->for_each(take) : Status(std::unexpected(opened.error()));
    if (!read) complaints_.add(read.error().with_context(base::sanitize_utf8(directory)));
    return true;
  }

  void list_file(const std::string& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0)
      return complaints_.add(Error::from_errno("stat " + base::sanitize_utf8(path)));
    if (!S_ISREG(status.st_mode)) return;  // a pipe would never end
    files_.push_back(
        {base::sanitize_utf8(path), static_cast<double>(status.st_mtim.tv_sec) +
                                        static_cast<double>(status.st_mtim.tv_nsec) / 1e9});
  }

  [[nodiscard]] bool is_stale(const File& file) const {
    if (max_age_ <= Millis(0)) return false;
    const double now = static_cast<double>(base::to_unix_millis(clock_.wall())) / 1000;
    return now - file.mtime > std::chrono::duration<double>(max_age_).count();
  }

  /// Whether nothing was wrong with it.
  bool take(Sink& sink, const File& file) {
    struct stat info{};
    const auto opened = open_foreign(file.path, info);
    if (!opened) {
      complaints_.add(opened.error());
      return false;
    }
    const auto text = read(opened->get(), file.path);
    if (!text) {
      complaints_.add(text.error());
      return false;
    }
    Parsed parsed;
    parsed.quoted = may_be_quoted(info);
    knowledge::ExpositionReader reader(knowledge::ExpositionFormat::kText, parsed);
    reader.feed(*text);
    reader.finish();
    if (!parsed.mistake.empty()) {
      complaints_.add(file.path, parsed.mistake);
      return false;
    }
    const bool consistent = remember_helps(parsed, file);
    for (const Sample& sample : parsed.samples) add(sink, parsed, sample, file);
    return consistent;
  }

  Result<std::string_view> read(int fd, const std::string& path) {
    std::size_t used = 0;
    while (true) {
      if (used > host::kMaxFile)
        return fail(Errc::kExhausted, "read {}: larger than {} bytes", path, host::kMaxFile);
      text_.resize(std::max<std::size_t>(used * 2, 16U << 10));
      const ssize_t got = ::read(fd, text_.data() + used, text_.size() - used);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return std::unexpected(Error::from_errno("read " + path));
      if (got == 0) return std::string_view(text_).substr(0, used);
      used += static_cast<std::size_t>(got);
    }
  }

  bool remember_helps(const Parsed& parsed, const File& file) {
    bool consistent = true;
    for (const auto& [family, help] : parsed.helps) {
      if (helps_.size() >= kMaxFamilies) break;
      const auto known = helps_.emplace(family, help);
      if (known.second || known.first->second == help) continue;
      complaints_.add(file.path,
                      fmt::format("{}: another help text than in a file before", family));
      consistent = false;
    }
    return consistent;
  }

  void add(Sink& sink, const Parsed& parsed, const Sample& sample, const File& file) {
    views_.clear();
    for (const Label& label : sample.labels) views_.push_back({label.name, label.value});
    const std::string_view name = family_of(parsed, sample.name);
    const auto type = parsed.types.find(name);
    const auto help = helps_.find(name);
    const FamilyId family = registry_.family(
        name, type == parsed.types.end() ? MetricType::kUntyped : type->second,
        help == helps_.end() ? fmt::format("Metric read from {}", file.path) : help->second);
    if (name.size() == sample.name.size()) return sink.add(family, views_, sample.value);
    sink.add_named(family, sample.name, views_, sample.value);
  }

  /// Of x_bucket, x_sum and x_count of a histogram or summary: x.
  static std::string_view family_of(const Parsed& parsed, std::string_view name) {
    for (const std::string_view suffix : {"_bucket", "_sum", "_count"}) {
      if (!name.ends_with(suffix)) continue;
      const std::string_view stem = name.substr(0, name.size() - suffix.size());
      const auto type = parsed.types.find(stem);
      if (type == parsed.types.end()) continue;
      const bool has = type->second == MetricType::kHistogram ||
                       (type->second == MetricType::kSummary && suffix != "_bucket");
      if (has) return stem;
    }
    return name;
  }

  std::vector<std::string> patterns_;  // of directories
  const Millis max_age_;
  const std::size_t max_files_;
  Clock& clock_;
  knowledge::SeriesRegistry& registry_;
  const std::array<FamilyId, kMetrics.size()> families_;
  std::vector<File> files_;
  std::map<std::string, std::string, std::less<>> helps_;
  std::vector<LabelView> views_;
  std::string text_;
  std::size_t left_out_ = 0;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kTextfileCollector = {
    .name = "textfile",
    .help = "Metrics that others leave as files in a directory.",
    .default_interval = Millis(15'000),  // written by jobs that run now and then
    .options = kOptions,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<TextfileCollector>(context);
    },
};

}  // namespace nexus::monitor
