#include "knowledge/disk/stream.hpp"

#include <unistd.h>

#include <algorithm>
#include <limits>

#include "nexus/base/log.hpp"
#include "nexus/host/file.hpp"

namespace nexus::knowledge::disk {

namespace {

/// Of an index, which is copied for readers. Only a file of tiny records has so many.
constexpr std::size_t kMostEntries = 8192;
/// Defined in a segment. Only where series come and go there are so many.
constexpr std::size_t kMostDefined = 1U << 17;

}  // namespace

void Segment::add(const Entry& entry) {
  bytes = std::max(bytes, entry.end());
  if (entry.kind == Kind::kRewind) rewind(entry.group, entry.first);
  entries.push_back(entry);
  widen(entry);
}

void Segment::widen(const Entry& entry) {
  if (entry.kind == Kind::kSeries) return;
  first = first > last ? entry.first : std::min(first, entry.first);
  last = std::max(last, entry.last);
}

void Segment::rewind(std::uint32_t group, std::int64_t time) {
  std::erase_if(entries, [&](const Entry& entry) {
    return (entry.kind == Kind::kBlock || entry.kind == Kind::kTier) && entry.group == group &&
           entry.last >= time;
  });
  // Rows of a future that did not come would keep the file for ever. What voids them counts as a
  // row, so that it goes no sooner than the file that has them.
  first = 0;
  last = -1;
  for (const Entry& entry : entries) widen(entry);
}

Stream::Stream(StreamOptions options)
    : options_(std::move(options)), segments_(std::make_shared<const Segments>()) {}

Status Stream::load(const VisitDefinitions& visit) {
  const Result<std::vector<std::string>> names = host::list_directory(options_.directory);
  if (!names) return std::unexpected(names.error());
  std::vector<std::uint32_t> numbers;
  for (const std::string& name : *names) {
    if (const auto number = segment_number(options_.name, name)) numbers.push_back(*number);
  }
  std::ranges::sort(numbers);
  if (!numbers.empty()) next_number_ = numbers.back() + 1;
  std::vector<Segment> loaded;
  for (const std::uint32_t number : numbers) {
    std::optional<Segment> segment = load_segment(number, visit);
    if (!segment) continue;
    for (const Entry& entry : segment->entries) {
      if (entry.kind != Kind::kRewind) continue;
      for (Segment& before : loaded) before.rewind(entry.group, entry.first);
    }
    loaded.push_back(std::move(*segment));
  }
  Segments segments;
  for (Segment& segment : loaded) {
    segments.push_back(std::make_shared<const Segment>(std::move(segment)));
  }
  publish(std::move(segments));
  return {};
}

std::optional<Segment> Stream::load_segment(std::uint32_t number, const VisitDefinitions& visit) {
  const std::string path = options_.directory + '/' + segment_name(options_.name, number);
  const auto file = SegmentFile::open(path, options_.cipher, options_.health);
  Result<Scan> scan = file ? (*file)->scan() : std::unexpected(file.error());
  if (!scan) {
    ++options_.health->unusable_files;
    log::warning("history", "{}; the file is left out", scan.error().message());
    return std::nullopt;
  }
  if (scan->torn && !scan->unusable &&
      ::truncate(path.c_str(), static_cast<off_t>(scan->end)) == 0) {
    log::info("history", "{}: cut at {}, its last record was not written to the end", path,
              scan->end);
  }
  Segment segment;
  segment.number = number;
  segment.file = *file;
  segment.bytes = scan->end;
  segment.usable = !scan->unusable;
  if (scan->unusable) {
    ++options_.health->unusable_files;
    log::error("history", "{}: {}; what is in it cannot be read", path, scan->unusable->message());
  }
  for (const Entry& entry : scan->entries) segment.add(entry);
  Names in_file;
  for (const Entry& entry : scan->entries) {
    if (entry.kind != Kind::kSeries || !segment.usable) continue;
    const auto payload = segment.file->read(entry);
    if (!payload) continue;  // counted and logged
    const Result<Definitions> definitions = decode_definitions(*payload);
    if (!definitions) {
      log::warning("history", "{}: {}", path, definitions.error().message());
      ++options_.health->damaged_records;
      continue;
    }
    if (options_.indexed) in_file.add(definitions->series, group_of_definitions(entry));
    visit(segment, *definitions);
  }
  in_file.finish();
  if (segment.usable && options_.indexed)
    options_.names->put(*segment.file, std::make_shared<const Names>(std::move(in_file)));
  return segment;
}

std::shared_ptr<const Segments> Stream::segments() const {
  const std::lock_guard guard(mutex_);
  if (is_stale_) {
    Segments next = *segments_;
    next.back() = std::make_shared<const Segment>(*active_);
    segments_ = std::make_shared<const Segments>(std::move(next));
    is_stale_ = false;
    are_names_shared_ = true;
  }
  return segments_;
}

std::shared_ptr<const Names> Stream::names_of(const Segment& segment) const {
  if (segment.names != nullptr) return segment.names;
  return options_.names->get(*segment.file, segment.entries);
}

Segments Stream::copy() const {
  return *segments();
}

void Stream::publish(Segments segments) {
  auto next = std::make_shared<const Segments>(std::move(segments));
  const std::lock_guard guard(mutex_);
  segments_.swap(next);
}

std::uint64_t Stream::bytes() const {
  std::uint64_t sum = 0;
  const std::shared_ptr<const Segments> all = segments();
  for (const auto& segment : *all) sum += segment->bytes;
  return sum;
}

std::uint64_t Stream::active() const noexcept {
  return writer_ == nullptr ? 0 : writer_->file()->serial();
}

std::uint64_t Stream::active_bytes() const noexcept {
  return writer_ == nullptr ? 0 : writer_->size();
}

Status Stream::prepare(std::int64_t now) {
  const bool room = writer_ != nullptr && writer_->size() < options_.segment_bytes &&
                    active_->entries.size() < kMostEntries && defined_.size() < kMostDefined &&
                    now - created_ < options_.segment_millis && now >= created_;
  return room ? Status{} : rotate(now);
}

Status Stream::rotate(std::int64_t now) {
  if (Status synced = sync(); !synced) return synced;
  close();
  auto writer = SegmentWriter::create(options_.directory, options_.name, next_number_, now,
                                      options_.cipher, options_.health);
  if (!writer) {
    if (writer.error().code() == Errc::kAlreadyExists) ++next_number_;
    return propagate(std::move(writer));
  }
  writer_ = std::move(*writer);
  created_ = now;
  Segments segments = copy();
  Segment segment;
  segment.number = next_number_++;
  segment.file = writer_->file();
  segment.bytes = writer_->size();
  const std::lock_guard guard(mutex_);
  names_ = std::make_shared<Names>();
  segment.names = names_;
  are_names_shared_ = true;
  segments.push_back(std::make_shared<const Segment>(segment));
  active_ = std::move(segment);
  segments_ = std::make_shared<const Segments>(std::move(segments));
  unsynced_ = true;
  return {};
}

void Stream::close() {
  writer_.reset();
  defined_.clear();
  unsynced_ = false;
  if (!active_) return;
  Segments segments = copy();
  if (options_.indexed) {
    auto written = std::make_shared<Names>(*names_);  // without what it had room for
    options_.names->put(*active_->file, std::move(written));
  }
  const std::lock_guard guard(mutex_);
  active_->names.reset();
  segments.back() = std::make_shared<const Segment>(std::move(*active_));
  segments_ = std::make_shared<const Segments>(std::move(segments));
  names_.reset();
  active_.reset();
}

Status Stream::define(const Definitions& definitions, std::uint32_t group) {
  if (definitions.series.empty()) return {};
  NEXUS_CHECK(writer_ != nullptr);
  const auto numbers = std::ranges::minmax(definitions.series, {}, &SeriesDefinition::number);
  RecordInfo info{.kind = Kind::kSeries, .low = numbers.min.number, .high = numbers.max.number};
  if (group != kAnyGroup) {
    info.group = group;
    info.flags = kOfGroup;
  }
  Status noted =
      note(writer_->append(info, encode(definitions), SegmentWriter::Packing::kZstd), &definitions);
  if (!noted) return noted;
  for (const SeriesDefinition& one : definitions.series) {
    defined_.insert(std::uint64_t{group} << 32U | one.number);
  }
  return {};
}

Status Stream::append(const RecordInfo& info, Bytes payload) {
  NEXUS_CHECK(writer_ != nullptr);
  return note(writer_->append(info, payload, SegmentWriter::Packing::kPlain), nullptr);
}

Status Stream::note(Result<Entry> appended, const Definitions* definitions) {
  if (!appended) {
    close();
    return propagate(std::move(appended));
  }
  unsynced_ = true;
  const std::lock_guard guard(mutex_);
  active_->bytes = writer_->size();
  is_stale_ = true;
  if (!options_.indexed) return {};
  active_->add(*appended);
  if (definitions != nullptr) note_names(*appended, *definitions);
  if (appended->kind == Kind::kRewind) rewind_idle(*appended);
  return {};
}

/// mutex_ is held. What a snapshot has is not changed.
void Stream::note_names(const Entry& entry, const Definitions& definitions) {
  if (are_names_shared_) names_ = std::make_shared<Names>(*names_);
  are_names_shared_ = false;
  names_->add(definitions.series, group_of_definitions(entry));
  active_->names = names_;
}

/// mutex_ is held.
void Stream::rewind_idle(const Entry& entry) {
  Segments segments = *segments_;
  for (std::size_t i = 0; i + 1 < segments.size(); ++i) {
    Segment changed = *segments[i];
    changed.rewind(entry.group, entry.first);
    segments[i] = std::make_shared<const Segment>(std::move(changed));
  }
  segments_ = std::make_shared<const Segments>(std::move(segments));
}

Status Stream::sync() {
  if (writer_ == nullptr || !unsynced_) return {};
  if (Status synced = writer_->sync(); !synced) {
    // After a failed fdatasync nobody knows what of the file is on the medium.
    close();
    return synced;
  }
  unsynced_ = false;
  return {};
}

void Stream::drop(const std::function<bool(const Segment&)>& leaves) {
  Segments segments = copy();
  const SegmentFile* active = writer_ == nullptr ? nullptr : writer_->file().get();
  std::erase_if(segments, [&](const std::shared_ptr<const Segment>& segment) {
    if (segment->file.get() == active || !leaves(*segment)) return false;
    if (::unlink(segment->file->path().c_str()) != 0 && errno != ENOENT) {
      log::warning("history", "{}", Error::from_errno("remove " + segment->file->path()).message());
    }
    return true;
  });
  publish(std::move(segments));
}

std::int64_t Stream::newest_before(std::int64_t time) const {
  std::int64_t newest = std::numeric_limits<std::int64_t>::min();
  for_each_idle([&](const Segment& segment) {
    if (segment.last < time && segment.first <= segment.last) {
      newest = std::max(newest, segment.last);
    }
  });
  return newest;
}

std::optional<std::int64_t> Stream::newest_of_oldest() const {
  std::optional<std::int64_t> newest;
  for_each_idle([&](const Segment& segment) {
    if (!newest) newest = segment.last;
  });
  return newest;
}

void Stream::for_each_idle(const std::function<void(const Segment&)>& visit) const {
  const SegmentFile* active = writer_ == nullptr ? nullptr : writer_->file().get();
  const std::shared_ptr<const Segments> all = segments();
  for (const auto& segment : *all) {
    if (segment->file.get() != active) visit(*segment);
  }
}

std::size_t Stream::drop_before(std::int64_t time) {
  std::size_t dropped = 0;
  drop([&](const Segment& segment) {
    const bool leaves = segment.last < time;
    if (leaves) ++dropped;
    return leaves;
  });
  return dropped;
}

bool Stream::drop_oldest() {
  bool dropped = false;
  drop([&](const Segment&) { return !std::exchange(dropped, true); });
  return dropped;
}

void Stream::drop_old() {
  drop([](const Segment&) { return true; });
}

}  // namespace nexus::knowledge::disk
