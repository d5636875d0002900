// Silences: those of the file and those that people made, the latter in the state database.
//
// Thread safety: all members, any thread.
#pragma once

#include <mutex>
#include <string_view>
#include <vector>

#include "nexus/publish/publisher.hpp"
#include "publish/store.hpp"

namespace nexus::publish {

class Silences {
 public:
  Silences(Clock& clock, PublishStore store, knowledge::SelfMetrics& self,
           std::vector<Silence> loaded);

  void set_file(std::vector<Silence> of_the_file);
  [[nodiscard]] Result<Silence> put(SilenceRequest request);
  [[nodiscard]] Status expire(std::string_view id);
  [[nodiscard]] std::vector<Silence> all() const;
  /// Those that are active now, for one turn of the dispatcher.
  [[nodiscard]] std::vector<Matchers> active() const;
  /// Forgets what has been over for long.
  void tidy();

 private:
  Clock& clock_;
  PublishStore store_;
  mutable std::mutex mutex_;
  std::vector<Silence> file_;
  std::vector<Silence> made_;
  knowledge::Gauge active_;
};

}  // namespace nexus::publish
