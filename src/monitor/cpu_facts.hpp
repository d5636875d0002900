// What sysfs says of every CPU: throttling, whether it is online, whether it is isolated.
//
// Reading that takes some files a CPU, so it is read again only every ten seconds and repeated in
// between. Thread safety: one thread at a time.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "monitor/small_files.hpp"

namespace nexus::monitor {

struct CpuFactFamilies {
  FamilyId core_throttles;
  FamilyId package_throttles;
  FamilyId isolated;
  FamilyId online;
};

class CpuFacts {
 public:
  CpuFacts(const host::Roots& roots, Clock& clock, const CpuFactFamilies& families);
  void add(Sink& sink, Complaints& complaints);

 private:
  /// One series, kept as it is added.
  struct Fact {
    FamilyId family;
    std::array<std::string, 2> labels;  // of the CPU, or of the package and the core
    double value;
  };

  void refresh(Complaints& complaints);
  void read_cpu(SmallFiles& files, const SmallDir& cpu, std::string_view number);
  void read_isolated(Complaints& complaints, std::string_view list);
  [[nodiscard]] bool knows(FamilyId family, std::string_view package, std::string_view core) const;

  const std::string path_;
  Clock& clock_;
  const CpuFactFamilies families_;
  NameList names_;
  SteadyTime read_at_{};
  bool was_read_ = false;
  std::vector<Fact> facts_;
};

}  // namespace nexus::monitor
