// Entries of the systemd journal with fields of their own (sd_journal_sendv).
//
// Errors: kUnavailable where no journald listens. Thread safety: any thread.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "nexus/base/result.hpp"

namespace nexus::drivers {

/// Names are upper-case letters, digits and _, and do not begin with _; MESSAGE and PRIORITY are
/// those that everybody reads. Values may hold any bytes.
using JournalFields = std::vector<std::pair<std::string, std::string>>;
[[nodiscard]] Status journal_send(const JournalFields& fields);

}  // namespace nexus::drivers
