#include <algorithm>
#include <array>
#include <vector>

#include "knowledge/block.hpp"

namespace nexus::knowledge {
namespace {

/// One series out of several blocks.
struct Merged {
  std::array<std::uint16_t, kMaxBlockRows> rows;
  std::array<double, kMaxBlockRows> values;
  std::size_t used = 0;
};

bool append(const BlockView& block, std::uint32_t column, std::size_t rows_before, Merged& out) {
  const auto rows = std::span(out.rows).subspan(out.used, block.rows());
  const auto count = block.decode(column, rows, std::span(out.values).subspan(out.used));
  if (!count) return false;
  for (std::uint32_t i = 0; i < *count; ++i) {
    rows[i] = static_cast<std::uint16_t>(rows[i] + rows_before);
  }
  out.used += *count;
  return true;
}

std::vector<SeriesId> ids_of_all(std::span<const std::vector<SeriesId>> of_blocks) {
  std::vector<SeriesId> ids;
  for (const auto& some : of_blocks) ids.insert(ids.end(), some.begin(), some.end());
  std::ranges::sort(ids);
  const auto doubled = std::ranges::unique(ids);
  ids.erase(doubled.begin(), doubled.end());
  return ids;
}

}  // namespace

Result<std::vector<std::uint8_t>> merge_blocks(std::span<const BlockView> blocks,
                                               BlockBuilder& builder, SeriesId first,
                                               SeriesId last) {
  std::vector<std::int64_t> times;
  std::vector<std::vector<SeriesId>> ids_of;
  for (const BlockView& block : blocks) {
    const std::size_t before = times.size();
    if (before > 0 && block.first_time() <= times.back()) {
      return fail(Errc::kInvalidArgument, "merge: blocks do not follow one another in time");
    }
    times.resize(before + block.rows());
    block.times(std::span(times).subspan(before));
    ids_of.push_back(block.ids());
  }
  if (times.empty() || times.size() > kMaxBlockRows) {
    return fail(Errc::kInvalidArgument, "merge: {} rows; 1 to {} make a block", times.size(),
                kMaxBlockRows);
  }
  builder.begin(times, TimeCode::kDense);
  Merged merged;
  std::vector<std::uint32_t> cursors;
  for (const std::vector<SeriesId>& ids : ids_of) {
    cursors.push_back(
        static_cast<std::uint32_t>(std::ranges::lower_bound(ids, first) - ids.begin()));
  }
  for (const SeriesId id : ids_of_all(ids_of)) {
    if (id < first || id > last) continue;
    merged.used = 0;
    std::size_t rows_before = 0;
    for (std::size_t b = 0; b < blocks.size(); rows_before += blocks[b++].rows()) {
      const std::uint32_t column = cursors[b];
      if (column == ids_of[b].size() || ids_of[b][column] != id) continue;
      if (!append(blocks[b], column, rows_before, merged)) {
        return fail(Errc::kCorrupt, "merge: column {} of the block of {} is damaged", column,
                    blocks[b].first_time());
      }
      ++cursors[b];
    }
    builder.add(id, {merged.rows.data(), merged.used}, {merged.values.data(), merged.used});
  }
  return builder.finish();
}

}  // namespace nexus::knowledge
