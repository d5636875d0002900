// Compiled for AVX2 (src/CMakeLists.txt): nothing in here may run before the processor was asked.
#include "knowledge/promql/lane_loops.hpp"

namespace nexus::knowledge::promql {

const LaneKernels* avx2_kernels() noexcept {
#if defined(__AVX2__)
  return &kKernels;
#else
  return nullptr;
#endif
}

}  // namespace nexus::knowledge::promql
