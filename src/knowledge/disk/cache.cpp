#include "knowledge/disk/cache.hpp"

namespace nexus::knowledge::disk {

Cache::Payload Cache::get(const SegmentFile& file, const Entry& entry) {
  auto loaded = load(file, entry);
  if (loaded == nullptr) return nullptr;
  const std::vector<std::uint8_t>* bytes = &loaded->bytes;
  return {std::move(loaded), bytes};
}

Cache::Block Cache::get_block(const SegmentFile& file, const Entry& entry) {
  auto loaded = load(file, entry);
  if (loaded == nullptr) return {};
  if (!loaded->view) return {true, nullptr};
  const BlockView* view = &*loaded->view;
  return {true, {std::move(loaded), view}};
}

std::shared_ptr<const Cache::Loaded> Cache::load(const SegmentFile& file, const Entry& entry) {
  const Key key{file.serial(), entry.offset};
  {
    const std::lock_guard guard(mutex_);
    if (const auto found = places_.find(key); found != places_.end()) {
      items_.splice(items_.begin(), items_, found->second);
      return items_.front().loaded;
    }
  }
  std::shared_ptr<Loaded> payload;
  if (auto read = file.read(entry)) {
    payload = std::make_shared<Loaded>(std::move(*read));
    if (auto view = BlockView::parse(payload->bytes)) payload->view = *view;
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
