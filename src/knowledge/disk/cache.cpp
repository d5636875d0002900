#include "knowledge/disk/cache.hpp"

namespace nexus::knowledge::disk {

Cache::Payload Cache::get(const SegmentFile& file, const Entry& entry) {
  const Key key{file.serial(), entry.offset};
  {
    const std::lock_guard guard(mutex_);
    if (const auto found = places_.find(key); found != places_.end()) {
      items_.splice(items_.begin(), items_, found->second);
      return items_.front().payload;
    }
  }
  Payload payload;
  if (auto read = file.read(entry)) {
    payload = std::make_shared<const std::vector<std::uint8_t>>(std::move(*read));
  } else if (read.error().code() == Errc::kIo) {
    return nullptr;  // may be read another time
  }
  const std::lock_guard guard(mutex_);
  if (places_.contains(key)) return payload;  // another reader was as quick
  Item item{key, payload};
  const std::size_t more = cost(item);
  if (more > max_bytes_) return payload;
  items_.push_front(std::move(item));
  places_.emplace(key, items_.begin());
  bytes_ += more;
  while (bytes_ > max_bytes_) {
    bytes_ -= cost(items_.back());
    places_.erase(items_.back().key);
    items_.pop_back();
  }
  return payload;
}

std::size_t Cache::bytes() const {
  const std::lock_guard guard(mutex_);
  return bytes_;
}

}  // namespace nexus::knowledge::disk
