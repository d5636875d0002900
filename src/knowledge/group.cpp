#include "knowledge/group.hpp"

#include <algorithm>

namespace nexus::knowledge {
namespace {

std::int64_t oldest_of(const Group::Blocks& blocks, const OpenBlock& open) noexcept {
  if (!blocks.empty()) return blocks.front()->first_time();
  return open.rows() > 0 ? open.first_time() : std::numeric_limits<std::int64_t>::max();
}

}  // namespace

Group::View Group::view() const {
  const std::lock_guard guard(mutex_);
  return {blocks_, open_};
}

void Group::View::for_each(std::int64_t start, std::int64_t end, const auto& visit) const {
  const auto last_time_of = [](const auto& block) { return block->last_time(); };
  auto block = std::ranges::upper_bound(*blocks, start, {}, last_time_of);
  for (; block != blocks->end() && (*block)->first_time() <= end; ++block) visit(**block);
  visit(*open);
}

void Group::View::read(SeriesId id, std::int64_t start, std::int64_t end, Column& out) const {
  for_each(start, end, [&](const auto& block) { block.read(id, start, end, out); });
}

void Group::View::aggregate(SeriesId id, std::int64_t start, std::int64_t end,
                            Aggregate& to) const {
  for_each(start, end, [&](const auto& block) { block.aggregate(id, start, end, to); });
}

std::int64_t Group::View::oldest() const noexcept {
  return oldest_of(*blocks, *open);
}

std::int64_t Group::oldest() const noexcept {
  return oldest_of(*blocks_, *open_);
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
  std::shared_ptr<const Block> block = open_->seal(builder);
  const std::size_t bytes = block->bytes();
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
  const std::size_t bytes = dropped->bytes();
  publish(std::move(blocks), open_);
  return {std::move(dropped), bytes};
}

std::pair<std::shared_ptr<const Block>, std::size_t> Group::drop_newest() {
  std::shared_ptr<const Block> dropped = blocks_->back();
  auto blocks = std::make_shared<const Blocks>(blocks_->begin(), blocks_->end() - 1);
  const std::size_t bytes = dropped->bytes();
  publish(std::move(blocks), open_);
  return {std::move(dropped), bytes};
}

}  // namespace nexus::knowledge
