// One fuzz target: NEXUS_FUZZ_ENTRY names the entry.
#include <cstddef>
#include <cstdint>

#include "entries.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  nexus::fuzz::NEXUS_FUZZ_ENTRY({reinterpret_cast<const char*>(data), size});
  return 0;
}
