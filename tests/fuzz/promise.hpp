// What the fuzzed functions promise. Thread safety: any thread.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace nexus::fuzz {

/// Ends the process when a promise is broken, which is what a fuzzer looks for.
inline void promise(bool kept, const char* what) {
  if (kept) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

}  // namespace nexus::fuzz
