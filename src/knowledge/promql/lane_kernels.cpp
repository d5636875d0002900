#include "knowledge/promql/lane_kernels.hpp"

#include "knowledge/promql/lane_loops.hpp"

namespace nexus::knowledge::promql {

const LaneKernels& plain_kernels() noexcept {
  return kKernels;
}

const LaneKernels& lane_kernels() noexcept {
#if defined(__x86_64__)
  static const LaneKernels* const kOfThis =
      avx2_kernels() != nullptr && __builtin_cpu_supports("avx2") ? avx2_kernels() : &kKernels;
  return *kOfThis;
#else
  return kKernels;
#endif
}

}  // namespace nexus::knowledge::promql
