#include "knowledge/group.hpp"

#include <algorithm>

namespace nexus::knowledge {
namespace {

std::size_t bytes_of(const Ids& ids) {
  return sizeof(*ids) + ids->capacity() * sizeof(SeriesId);
}

}  // namespace

void Group::read(SeriesId id, std::int64_t start, std::int64_t end, Column& out) const {
  std::shared_ptr<const Blocks> blocks;
  std::shared_ptr<const OpenBlock> open_block;
  {
    const std::lock_guard guard(mutex_);
    blocks = blocks_;
    open_block = open_;
  }
  const auto last_time_of = [](const auto& block) { return block->last_time(); };
  auto block = std::ranges::upper_bound(*blocks, start, {}, last_time_of);
  for (; block != blocks->end() && (*block)->first_time() <= end; ++block) {
    (*block)->read(id, start, end, out);
  }
  open_block->read(id, start, end, out);
}

std::int64_t Group::oldest() const noexcept {
  if (!blocks_->empty()) return blocks_->front()->first_time();
  return open_->rows() > 0 ? open_->first_time() : std::numeric_limits<std::int64_t>::max();
}

std::span<const double> Group::append(std::int64_t time, const std::shared_ptr<const IdSet>& set_,
                                      std::span<const double> values) {
  last_time = time;
  return open_->append(time, set_, values);
}

void Group::publish(std::shared_ptr<const Blocks> blocks, std::shared_ptr<OpenBlock> open_block) {
  const std::lock_guard guard(mutex_);
  blocks_.swap(blocks);  // what was there is freed after the lock
  open_.swap(open_block);
}

std::size_t Group::seal(BlockBuilder& builder) {
  const Ids previous = blocks_->empty() ? nullptr : blocks_->back()->ids();
  std::shared_ptr<const Block> block = open_->seal(builder, previous);
  const std::size_t bytes =
      block->bytes() + (block->ids() == previous ? 0 : bytes_of(block->ids()));
  auto blocks = std::make_shared<Blocks>();
  blocks->reserve(blocks_->size() + 1);
  *blocks = *blocks_;
  blocks->push_back(std::move(block));
  publish(std::move(blocks), std::make_shared<OpenBlock>());
  return bytes;
}

std::pair<std::shared_ptr<const Block>, std::size_t> Group::drop_oldest() {
  std::shared_ptr<const Block> dropped = blocks_->front();
  auto blocks = std::make_shared<const Blocks>(blocks_->begin() + 1, blocks_->end());
  const bool shared = !blocks->empty() && blocks->front()->ids() == dropped->ids();
  const std::size_t bytes = dropped->bytes() + (shared ? 0 : bytes_of(dropped->ids()));
  publish(std::move(blocks), open_);
  return {std::move(dropped), bytes};
}

std::pair<std::shared_ptr<const Block>, std::size_t> Group::drop_newest() {
  std::shared_ptr<const Block> dropped = blocks_->back();
  auto blocks = std::make_shared<const Blocks>(blocks_->begin(), blocks_->end() - 1);
  const bool shared = !blocks->empty() && blocks->back()->ids() == dropped->ids();
  const std::size_t bytes = dropped->bytes() + (shared ? 0 : bytes_of(dropped->ids()));
  publish(std::move(blocks), open_);
  return {std::move(dropped), bytes};
}

}  // namespace nexus::knowledge
