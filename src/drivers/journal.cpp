#include "nexus/drivers/journal.hpp"

#include <systemd/sd-journal.h>

#include <cstdlib>
#include <cstring>

namespace nexus::drivers {
namespace {

constexpr std::string_view kField = "MESSAGE=";

std::unexpected<Error> failed(std::string_view what, int code) {
  return fail(Errc::kUnavailable, "journal: {}: {}", what, std::strerror(-code));
}

}  // namespace

struct JournalReader::Impl {
  sd_journal* journal = nullptr;
  std::string cursor;
  ~Impl() { sd_journal_close(journal); }

  /// Of the entry that it stands on.
  void note_cursor() {
    char* text = nullptr;
    if (sd_journal_get_cursor(journal, &text) >= 0) cursor = text;
    std::free(text);
  }
  Status select(const std::vector<std::string>& units) {
    for (const auto& unit : units) {
      const auto match = "_SYSTEMD_UNIT=" + unit;
      if (const int code = sd_journal_add_match(journal, match.data(), match.size()); code < 0)
        return failed("select " + unit, code);
    }
    return {};
  }
  /// Stands so that the next entry is the first to be given.
  Status seek(JournalFrom from) {
    if (!cursor.empty() && sd_journal_seek_cursor(journal, cursor.c_str()) >= 0 &&
        sd_journal_next(journal) > 0) {
      // On the entry itself: it was given. On a neighbour, as that one is gone: it was not, and is
      // the first after the seek.
      if (sd_journal_test_cursor(journal, cursor.c_str()) <= 0)
        sd_journal_seek_cursor(journal, cursor.c_str());
      return {};
    }
    int code = 0;
    if (!cursor.empty() || from == JournalFrom::kEnd) {
      code = sd_journal_seek_tail(journal);
      // Only a step makes the place real; entries that come later are behind it. Where there is no
      // entry yet, the tail is the head: at the tail itself next() would stay for ever.
      if (code >= 0) code = sd_journal_previous(journal);
      if (code < 0) return failed("seek", code);
      if (code > 0) {
        note_cursor();
        return {};
      }
    }
    code = sd_journal_seek_head(journal);
    if (code < 0) return failed("seek", code);
    return {};
  }
};

JournalReader::JournalReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
JournalReader::~JournalReader() = default;

Result<std::unique_ptr<JournalReader>> JournalReader::open(const std::vector<std::string>& units,
                                                           const std::string& cursor,
                                                           JournalFrom from,
                                                           const std::string& directory) {
  auto impl = std::make_unique<Impl>();
  impl->cursor = cursor;
  const int code = directory.empty()
                       ? sd_journal_open(&impl->journal, SD_JOURNAL_LOCAL_ONLY)
                       : sd_journal_open_directory(&impl->journal, directory.c_str(), 0);
  if (code < 0) return failed("open", code);
  // Without it sd_journal_process() does nothing, and files that a rotation makes are never seen.
  if (const int fd = sd_journal_get_fd(impl->journal); fd < 0) return failed("watch", fd);
  if (Status selected = impl->select(units); !selected) return std::unexpected(selected.error());
  if (Status there = impl->seek(from); !there) return std::unexpected(there.error());
  return std::unique_ptr<JournalReader>(new JournalReader(std::move(impl)));
}

Result<std::unique_ptr<JournalReader>> JournalReader::last(const std::string& unit,
                                                           std::size_t count,
                                                           const std::string& directory) {
  auto reader = open({unit}, {}, JournalFrom::kEnd, directory);
  if (!reader) return reader;
  sd_journal* journal = (*reader)->impl_->journal;
  if (const int code = sd_journal_seek_tail(journal); code < 0) return failed("seek", code);
  // One more, for the next step goes to the entry behind the one that it stands on.
  const int back = sd_journal_previous_skip(journal, count + 1);
  if (back < 0) return failed("seek", back);
  if (static_cast<std::size_t>(back) < count + 1) {
    if (const int code = sd_journal_seek_head(journal); code < 0) return failed("seek", code);
  }
  return reader;
}

Result<std::size_t> JournalReader::read(std::size_t limit, std::size_t longest,
                                        const std::function<void(std::string_view)>& take) {
  sd_journal* journal = impl_->journal;
  sd_journal_set_data_threshold(journal, longest + kField.size());
  // Files that a rotation made are taken in, and those that are gone let go.
  if (const int code = sd_journal_process(journal); code < 0) return failed("process", code);
  std::size_t given = 0;
  while (given < limit) {
    const int code = sd_journal_next(journal);
    if (code < 0) {
      if (given > 0) impl_->note_cursor();  // what was given is not given again
      return failed("next", code);
    }
    if (code == 0) break;
    const void* data = nullptr;
    std::size_t size = 0;
    ++given;
    if (sd_journal_get_data(journal, "MESSAGE", &data, &size) >= 0 && size >= kField.size()) {
      const std::string_view text(static_cast<const char*>(data), size);
      take(text.substr(kField.size(), longest));
    }
  }
  if (given > 0) impl_->note_cursor();
  return given;
}

const std::string& JournalReader::cursor() const noexcept {
  return impl_->cursor;
}

}  // namespace nexus::drivers
