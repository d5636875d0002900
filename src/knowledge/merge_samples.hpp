// Samples of several sources as one series. Thread safety: a pure function.
#pragma once

#include "nexus/knowledge/queryable.hpp"

namespace nexus::knowledge {

/// Appends them ascending, one a time: of equal times the first in `in` counts.
void merge_samples(const Column& in, Column& out);

}  // namespace nexus::knowledge
