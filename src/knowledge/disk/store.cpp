#include "knowledge/disk/store.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

namespace nexus::knowledge::disk {
namespace {

constexpr std::size_t kCacheBytes = 8U << 20;
// Of series in all files that are not written to: 11 MiB, five files with as many series as one may
// define. A host with some thousand has a few hundred thousand; of a hundred thousand an hour that
// come and go, which would take a GiB in weeks, these are the files that a query of four hours
// needs.
constexpr std::size_t kMostNames = 704U << 10;
// Of the registry's limit, for series that are only on disk.
constexpr std::size_t kRegistryPercent = 80;
constexpr std::int64_t kMostTierSeconds = 10'000'000'000;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::min();

StreamOptions stream_options(const HistoryDisk& disk, std::string name, Millis kept,
                             const std::shared_ptr<const Cipher>& cipher,
                             const std::shared_ptr<Health>& health,
                             const std::shared_ptr<NameCache>& names) {
  StreamOptions options;
  options.directory = disk.directory;
  options.name = std::move(name);
  options.cipher = cipher;
  options.health = health;
  options.names = names;
  // A segment is dropped whole: what is kept too long is an eighth at most.
  options.segment_millis = std::max<std::int64_t>(kept.count() / 8, 60'000);
  options.segment_bytes = std::clamp<std::uint64_t>(disk.bytes / 16, 64U << 10, 16U << 20);
  return options;
}

}  // namespace

Store::Store(SeriesRegistry& registry, HistoryDisk options, std::shared_ptr<const Cipher> cipher)
    : registry_(registry),
      options_(std::move(options)),
      cipher_(std::move(cipher)),
      retention_(options_.retention.count()),
      max_bytes_(options_.bytes),
      names_(std::make_shared<NameCache>(kMostNames)),
      cache_(kCacheBytes) {
  const auto stream = [&](std::string name, Millis kept) {
    return stream_options(options_, std::move(name), kept, cipher_, health_, names_);
  };
  data_ = std::make_unique<Stream>(stream("data", options_.retention));
  StreamOptions log = stream("wal", options_.retention);
  log.indexed = false;
  wal_ = std::make_unique<Stream>(std::move(log));
  past_ = std::make_unique<Stream>(stream("past", options_.retention));
  for (const HistoryTier& tier : options_.tiers) add_tier(tier.step.count(), tier.keep);
}

void Store::add_tier(std::int64_t step, Millis keep) {
  Tier& made = tiers_.emplace_back();
  made.step = step;
  made.keep = keep.count();
  made.stream = std::make_unique<Stream>(stream_options(
      options_, "tier" + std::to_string(step / 1000), keep, cipher_, health_, names_));
}

void Store::find_tiers() {
  const auto names = host::list_directory(options_.directory);
  if (!names) return;  // said by who loads the streams
  std::set<std::string> streams;
  for (const std::string& name : *names) {
    const std::string stream = name.substr(0, name.find('-'));
    if (stream.starts_with("tier") && segment_number(stream, name)) streams.insert(stream);
  }
  for (const Tier& tier : tiers_) streams.erase("tier" + std::to_string(tier.step / 1000));
  for (const std::string& stream : streams) {
    const auto seconds = base::parse_int(std::string_view(stream).substr(4));
    if (options_.by == HistoryDisk::Opened::kAgent) {
      remove_tier(stream);
    } else if (seconds && *seconds > 0 && *seconds <= kMostTierSeconds) {
      add_tier(*seconds * 1000, Millis(std::numeric_limits<std::int64_t>::max() / 2));
    }
  }
  std::ranges::sort(tiers_, {}, &Tier::step);
}

void Store::remove_tier(const std::string& name) const {
  const auto names = host::list_directory(options_.directory);
  std::size_t files = 0;
  for (const std::string& file : names.value_or(std::vector<std::string>())) {
    if (!segment_number(name, file)) continue;
    const std::string path = options_.directory + '/' + file;
    if (::unlink(path.c_str()) == 0) {
      ++files;
    } else {
      log::warning("history", "{}", Error::from_errno("remove " + path).message());
    }
  }
  log::warning("history", "{}: no such tier is configured any more; {} files removed", name, files);
}

void Store::load(const std::function<void(SeriesId, std::int64_t)>& found) {
  if (::mkdir(options_.directory.c_str(), 0750) != 0 && errno != EEXIST) {
    log::error("history", "{}", Error::from_errno("make " + options_.directory).message());
    ++health_->errors;
    health_->writable = false;
    return;
  }
  find_tiers();
  const auto visit = [&](const Segment& segment, const Definitions& definitions) {
    intern(segment, definitions, found);
  };
  // What was there last first: the registry may not have room for all.
  std::vector<Stream*> streams = {wal_.get(), data_.get(), past_.get()};
  for (const Tier& tier : tiers_) streams.push_back(tier.stream.get());
  for (Stream* stream : streams) {
    if (Status loaded = stream->load(visit); !loaded) {
      ++health_->errors;
      log::error("history", "{}", loaded.error().message());
    }
  }
  check_newest();
  note_tiers();
}

void Store::check_newest() {
  const auto segments = data_->segments();
  if (segments->empty() || !segments->back()->usable) return;
  for (const Entry& entry : segments->back()->entries) {
    if (entry.kind == Kind::kBlock && !segments->back()->file->read(entry)) {
      doubtful_.insert({entry.group, entry.last});
    }
  }
}

std::optional<SeriesId> Store::id_of(const Definitions& definitions,
                                     const SeriesDefinition& series) {
  const Family& family = definitions.families[series.family];
  std::vector<LabelView> labels;
  for (const Label& label : series.labels) {
    if (label.name != kMetricName) labels.push_back({label.name, label.value});
  }
  const std::string_view metric = series.labels.metric();
  // What is known by now is newer than what the disk remembers.
  const FamilyId own = registry_.family(family.name, MetricType::kUntyped, family.help);
  if (registry_.family(own).type == MetricType::kUntyped)
    static_cast<void>(registry_.family(family.name, family.type, family.help));
  const auto id = registry_.intern(own, labels, metric == family.name ? "" : metric);
  return id ? std::optional(*id) : std::nullopt;
}

void Store::intern(const Segment& segment, const Definitions& definitions,
                   const std::function<void(SeriesId, std::int64_t)>& found) {
  if (segment.first > segment.last) return;
  for (const SeriesDefinition& series : definitions.series) {
    if (registry_.size() * 100 >= registry_.limit() * kRegistryPercent) return;
    if (const auto id = id_of(definitions, series)) found(*id, segment.last);
  }
}

std::map<std::uint32_t, std::int64_t> Store::newest_of_groups() const {
  std::map<std::uint32_t, std::int64_t> newest;
  const auto segments = data_->segments();
  for (const auto& segment : *segments) {
    for (const Entry& entry : segment->entries) {
      if (entry.kind != Kind::kBlock || (entry.flags & kMore) != 0) continue;
      if (doubtful_.contains({entry.group, entry.last})) continue;
      auto& last = newest.try_emplace(entry.group, entry.last).first->second;
      last = std::max(last, entry.last);
    }
  }
  return newest;
}

std::int64_t Store::newest_in_data(std::uint32_t group) const {
  const auto newest = newest_of_groups();
  const auto found = newest.find(group);
  return found == newest.end() ? kNever : found->second;
}

void Store::replay(const std::function<void(const BatchView&)>& row) {
  const auto segments = wal_->segments();
  for (const auto& segment : *segments) {
    if (!segment->usable) continue;
    std::unordered_map<std::uint32_t, SeriesId> ids;
    for (const Entry& entry : segment->entries) {
      const auto payload = segment->file->read(entry);
      if (!payload) continue;  // counted and logged
      if (entry.kind == Kind::kSeries) {
        const auto definitions = decode_definitions(*payload);
        if (!definitions) continue;
        for (const SeriesDefinition& one : definitions->series) {
          if (const auto id = id_of(*definitions, one)) ids[one.number] = *id;
        }
      } else if (entry.kind == Kind::kBlock) {
        if (const auto view = BlockView::parse(*payload)) {
          replay_block(entry.group, *view, ids, row);
        } else {
          ++health_->damaged_records;
        }
      }
    }
  }
}

void Store::replay_block(std::uint32_t group, const BlockView& view,
                         const std::unordered_map<std::uint32_t, SeriesId>& ids,
                         const std::function<void(const BatchView&)>& row) const {
  struct OfRow {
    std::vector<SeriesId> ids;
    std::vector<double> values;
  };
  std::vector<OfRow> all(view.rows());
  std::vector<std::uint16_t> rows(view.rows());
  std::vector<double> values(view.rows());
  const std::vector<SeriesId> numbers = view.ids();
  for (std::uint32_t column = 0; column < numbers.size(); ++column) {
    const auto id = ids.find(numbers[column]);
    if (id == ids.end()) continue;
    const auto count = view.decode(column, rows, values);
    for (std::uint32_t i = 0; count && i < *count; ++i) {
      all[rows[i]].ids.push_back(id->second);
      all[rows[i]].values.push_back(values[i]);
    }
  }
  std::vector<std::int64_t> times(view.rows());
  view.times(times);
  for (std::size_t r = 0; r < all.size(); ++r) {
    if (!all[r].ids.empty()) row({group, times[r], all[r].ids, all[r].values});
  }
}

void Store::add_group(std::uint32_t number, Group& group) {
  const std::lock_guard guard(posted_mutex_);
  posted_groups_.emplace_back(number, &group);
}

void Store::rewind(std::uint32_t group, std::int64_t time) {
  const std::lock_guard guard(posted_mutex_);
  rewinds_.push_back({group, time});
}

void Store::set_limits(Millis retention, std::uint64_t bytes) {
  retention_ = retention.count();
  if (bytes > 0) max_bytes_ = bytes;
}

void Store::retry_now() {
  const std::lock_guard guard(work_);
  retry_at_ = {};
  tidy_log_ = true;
}

std::uint64_t Store::bytes() const {
  std::uint64_t sum = data_->bytes() + wal_->bytes() + past_->bytes();
  for (const Tier& tier : tiers_) sum += tier.stream->bytes();
  return sum;
}

void Store::fill(HistoryStats& stats) const {
  stats.on_disk = true;
  stats.disk_writable = health_->writable;
  stats.disk_bytes = bytes();
  stats.disk_dropped = dropped_segments_;
  stats.disk_errors = health_->errors;
  stats.disk_damaged = health_->damaged_records;
  stats.disk_unusable = health_->unusable_files;
  stats.disk_checkpoints = checkpoints_;
}

}  // namespace nexus::knowledge::disk
