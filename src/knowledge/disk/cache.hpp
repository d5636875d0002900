// Cache: payloads that were read of late, so that the columns of one block cost one read, one
// checksum and one look at its form.
//
// Policy when full: what was used least recently goes; who holds it keeps it. A payload that is
// larger than the whole cache is handed out and not kept. Thread safety: all members, any thread.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "knowledge/block_view.hpp"
#include "knowledge/disk/segment.hpp"

namespace nexus::knowledge::disk {

class Cache {
 public:
  using Payload = std::shared_ptr<const std::vector<std::uint8_t>>;

  explicit Cache(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  /// nullptr when it cannot be read, which the file has counted and logged. A record that is
  /// damaged is not read again.
  [[nodiscard]] Payload get(const SegmentFile& file, const Entry& entry);

  struct Block {
    bool is_readable = false;               // else counted and logged
    std::shared_ptr<const BlockView> view;  // nullptr: the payload is no block
  };
  /// The same payload, parsed once.
  [[nodiscard]] Block get_block(const SegmentFile& file, const Entry& entry);

  [[nodiscard]] std::size_t bytes() const;

 private:
  struct Key {
    std::uint64_t file = 0;
    std::uint64_t offset = 0;
    bool operator==(const Key&) const = default;
  };
  struct HashKey {
    std::size_t operator()(const Key& key) const noexcept {
      return key.file * 0x9e3779b97f4a7c15ULL ^ key.offset;
    }
  };
  struct Loaded {
    std::vector<std::uint8_t> bytes;
    std::optional<BlockView> view;  // of `bytes`, when they are a block
  };
  struct Item {
    Key key;
    std::shared_ptr<const Loaded> loaded;  // nullptr: damaged
  };
  // What an item costs beside its payload; also what bounds the damaged ones.
  static constexpr std::size_t kItemBytes = 128 + sizeof(Loaded);
  static std::size_t cost(const Item& item) noexcept {
    if (item.loaded == nullptr) return kItemBytes;
    const auto& view = item.loaded->view;
    return kItemBytes + item.loaded->bytes.capacity() + (view ? view->own_bytes() : 0);
  }
  [[nodiscard]] std::shared_ptr<const Loaded> load(const SegmentFile& file, const Entry& entry);

  const std::size_t max_bytes_;
  mutable std::mutex mutex_;  // never held while a file is read
  std::list<Item> items_;     // guarded by mutex_, and so is what follows; newest first
  std::unordered_map<Key, std::list<Item>::iterator, HashKey> places_;
  std::size_t bytes_ = 0;
};

}  // namespace nexus::knowledge::disk
