// LineCutter: lines of bytes that come in pieces.
//
// A line may be cut anywhere between two feed(). One that is longer than `limit` bytes is given to
// `on_long` with its first `limit` bytes, once its end is there, and the rest is passed over: never
// more than `limit` bytes are kept. Lines come without their \n. Thread safety: one thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace nexus::base {

class LineCutter {
 public:
  explicit LineCutter(std::size_t limit) : limit_(limit) {}

  template <typename OnLine, typename OnLong>
  void feed(std::string_view bytes, OnLine&& on_line, OnLong&& on_long) {
    while (!bytes.empty()) {
      const auto end = bytes.find('\n');
      const auto part = bytes.substr(0, end);
      const bool whole = end != std::string_view::npos;
      bytes.remove_prefix(whole ? end + 1 : bytes.size());
      if (whole && pending_.empty() && !long_ && part.size() <= limit_) {
        on_line(part);  // the usual case, without a copy
        continue;
      }
      keep(part);
      if (whole) flush(on_line, on_long);
    }
  }

  /// The last line may lack its end; nothing happens when there is none.
  template <typename OnLine, typename OnLong>
  void finish(OnLine&& on_line, OnLong&& on_long) {
    if (long_ || !pending_.empty()) flush(on_line, on_long);
  }

  /// Bytes of the line that has no end yet, up to the limit.
  [[nodiscard]] std::size_t pending() const noexcept { return pending_.size(); }
  void clear() noexcept {
    pending_.clear();
    long_ = false;
  }

 private:
  void keep(std::string_view part) {
    const auto room = limit_ - pending_.size();
    if (part.size() > room) long_ = true;
    pending_.append(part.substr(0, room));
  }
  template <typename OnLine, typename OnLong>
  void flush(OnLine&& on_line, OnLong&& on_long) {
    if (long_) {
      on_long(std::string_view(pending_));
    } else {
      on_line(std::string_view(pending_));
    }
    clear();
  }

  const std::size_t limit_;
  std::string pending_;
  bool long_ = false;
};

}  // namespace nexus::base
