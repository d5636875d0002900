// Bodies of answers that may be large: what is short is one text, what is long is made piece by
// piece while it is written, from what the query made.
//
// Thread safety: as BodySource.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "nexus/base/memory_budget.hpp"
#include "nexus/knowledge/promql_rows.hpp"
#include "nexus/serve/http.hpp"

namespace nexus::serve {

/// Bytes of a piece, a little more; and of what is one text.
inline constexpr std::size_t kPieceBytes = 64U << 10;
inline constexpr std::size_t kWholeBytes = 256U << 10;

/// JSON that `source` makes. `hold` (may be null) is kept until the answer has been written, and
/// shrinks to the text's size where that is all there is.
[[nodiscard]] Response json_of(std::shared_ptr<BodySource> source,
                               std::shared_ptr<base::MemoryHold> hold);

/// How rows are written: `begin` a row up to its first sample, each sample, `end` the row.
struct RowFormat {
  void (*begin)(std::string& out, const knowledge::promql::Rows::RowLabels& labels);
  void (*sample)(std::string& out, std::int64_t time, double value);
  std::string_view end;
};

/// `head`, the rows with commas between them, `tail`.
[[nodiscard]] std::shared_ptr<BodySource> body_of(std::string head, knowledge::promql::Rows rows,
                                                  const RowFormat& format, std::string tail);

}  // namespace nexus::serve
