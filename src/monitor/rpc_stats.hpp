// What nfs and nfsd share: /proc/net/rpc files, a word and numbers in every line
// (include/linux/sunrpc/stats.h).
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "monitor/parse.hpp"
#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

inline constexpr std::array<std::string_view, 18> kNfs2Methods = {
    "Null",   "GetAttr", "SetAttr", "Root", "Lookup",  "ReadLink", "Read",  "WrCache", "Write",
    "Create", "Remove",  "Rename",  "Link", "SymLink", "MkDir",    "RmDir", "ReadDir", "FsStat"};
inline constexpr std::array<std::string_view, 22> kNfs3Methods = {
    "Null",    "GetAttr",     "SetAttr", "Lookup", "Access",   "ReadLink", "Read",   "Write",
    "Create",  "MkDir",       "SymLink", "MkNod",  "Remove",   "RmDir",    "Rename", "Link",
    "ReadDir", "ReadDirPlus", "FsStat",  "FsInfo", "PathConf", "Commit"};

/// Adds `family`{proto, method} for each of `methods` that has a number; a method without a name is
/// passed over. `rest`: the numbers.
inline void add_rpc_methods(Sink& sink, FamilyId family, std::string_view proto,
                            std::span<const std::string_view> methods, std::string_view rest,
                            const std::string& path, std::size_t number, Complaints& complaints) {
  for (const std::string_view method : methods) {
    const std::string_view word = next_word(rest);
    if (word.empty()) return;  // kernels differ in how many there are
    const auto value = base::parse_uint(word);
    if (!value) return complaints.add(path, number, "numbers", word);
    if (!method.empty())
      sink.add(family, {{"proto", proto}, {"method", method}}, static_cast<double>(*value));
  }
}

}  // namespace nexus::monitor
