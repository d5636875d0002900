// xfs: what every XFS filesystem did, from /sys/fs/xfs/<device>/stats/stats
// (fs/xfs/xfs_stats.c: a line for every group of counters).
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

/// The counter in column `column` behind the name `group` of a line.
struct Counter {
  std::string_view group;
  std::size_t column;
  MetricDescriptor metric;
};
#define NEXUS_XFS(group, column, name, help)       \
  Counter {                                        \
    group, column, MetricDescriptor {              \
      "node_xfs_" name, MetricType::kCounter, help \
    }                                              \
  }
constexpr std::array kCounters = {
    NEXUS_XFS("extent_alloc", 0, "extent_allocation_extents_allocated_total",
              "Number of extents allocated for a filesystem."),
    NEXUS_XFS("extent_alloc", 1, "extent_allocation_blocks_allocated_total",
              "Number of blocks allocated for a filesystem."),
    NEXUS_XFS("extent_alloc", 2, "extent_allocation_extents_freed_total",
              "Number of extents freed for a filesystem."),
    NEXUS_XFS("extent_alloc", 3, "extent_allocation_blocks_freed_total",
              "Number of blocks freed for a filesystem."),
    NEXUS_XFS("abt", 0, "allocation_btree_lookups_total",
              "Number of allocation B-tree lookups for a filesystem."),
    NEXUS_XFS("abt", 1, "allocation_btree_compares_total",
              "Number of allocation B-tree compares for a filesystem."),
    NEXUS_XFS("abt", 2, "allocation_btree_records_inserted_total",
              "Number of allocation B-tree records inserted for a filesystem."),
    NEXUS_XFS("abt", 3, "allocation_btree_records_deleted_total",
              "Number of allocation B-tree records deleted for a filesystem."),
    NEXUS_XFS("blk_map", 0, "block_mapping_reads_total",
              "Number of block map for read operations for a filesystem."),
    NEXUS_XFS("blk_map", 1, "block_mapping_writes_total",
              "Number of block map for write operations for a filesystem."),
    NEXUS_XFS("blk_map", 2, "block_mapping_unmaps_total",
              "Number of block unmaps (deletes) for a filesystem."),
    NEXUS_XFS("blk_map", 3, "block_mapping_extent_list_insertions_total",
              "Number of extent list insertions for a filesystem."),
    NEXUS_XFS("blk_map", 4, "block_mapping_extent_list_deletions_total",
              "Number of extent list deletions for a filesystem."),
    NEXUS_XFS("blk_map", 5, "block_mapping_extent_list_lookups_total",
              "Number of extent list lookups for a filesystem."),
    NEXUS_XFS("blk_map", 6, "block_mapping_extent_list_compares_total",
              "Number of extent list compares for a filesystem."),
    NEXUS_XFS("bmbt", 0, "block_map_btree_lookups_total",
              "Number of block map B-tree lookups for a filesystem."),
    NEXUS_XFS("bmbt", 1, "block_map_btree_compares_total",
              "Number of block map B-tree compares for a filesystem."),
    NEXUS_XFS("bmbt", 2, "block_map_btree_records_inserted_total",
              "Number of block map B-tree records inserted for a filesystem."),
    NEXUS_XFS("bmbt", 3, "block_map_btree_records_deleted_total",
              "Number of block map B-tree records deleted for a filesystem."),
    NEXUS_XFS("dir", 0, "directory_operation_lookup_total",
              "Number of directory lookups that the cache of names did not answer."),
    NEXUS_XFS("dir", 1, "directory_operation_create_total",
              "Number of times a new directory entry was created for a filesystem."),
    NEXUS_XFS("dir", 2, "directory_operation_remove_total",
              "Number of times an existing directory entry was removed for a filesystem."),
    NEXUS_XFS("dir", 3, "directory_operation_getdents_total",
              "Number of times a directory was listed for a filesystem."),
    NEXUS_XFS("ig", 0, "inode_operation_attempts_total",
              "Number of times the OS looked for an XFS inode in the inode cache."),
    NEXUS_XFS("ig", 1, "inode_operation_found_total",
              "Number of times the OS looked for and found an XFS inode in the inode cache."),
    NEXUS_XFS("ig", 2, "inode_operation_recycled_total",
              "Number of times the OS found an XFS inode in the cache, but could not use it as it "
              "was being recycled."),
    NEXUS_XFS("ig", 3, "inode_operation_missed_total",
              "Number of times the OS looked for an XFS inode in the cache, but did not find it."),
    NEXUS_XFS("ig", 4, "inode_operation_duplicates_total",
              "Number of times the OS tried to add a missing XFS inode to the inode cache, but "
              "found it had already been added by another process."),
    NEXUS_XFS("ig", 5, "inode_operation_reclaims_total",
              "Number of times the OS reclaimed an XFS inode from the inode cache to free memory "
              "for another purpose."),
    NEXUS_XFS("ig", 6, "inode_operation_attribute_changes_total",
              "Number of times the OS explicitly changed the attributes of an XFS inode."),
    NEXUS_XFS("rw", 1, "read_calls_total",
              "Number of read(2) system calls made to files in a filesystem."),
    NEXUS_XFS("rw", 0, "write_calls_total",
              "Number of write(2) system calls made to files in a filesystem."),
    NEXUS_XFS("vnodes", 0, "vnode_active_total",
              "Number of vnodes not on free lists for a filesystem."),
    NEXUS_XFS("vnodes", 1, "vnode_allocate_total",
              "Number of times vn_alloc called for a filesystem."),
    NEXUS_XFS("vnodes", 2, "vnode_get_total", "Number of times vn_get called for a filesystem."),
    NEXUS_XFS("vnodes", 3, "vnode_hold_total", "Number of times vn_hold called for a filesystem."),
    NEXUS_XFS("vnodes", 4, "vnode_release_total",
              "Number of times vn_rele called for a filesystem."),
    NEXUS_XFS("vnodes", 5, "vnode_reclaim_total",
              "Number of times vn_reclaim called for a filesystem."),
    NEXUS_XFS("vnodes", 6, "vnode_remove_total",
              "Number of times vn_remove called for a filesystem."),
};
#undef NEXUS_XFS

constexpr auto kMetrics = [] {
  std::array<MetricDescriptor, kCounters.size()> all{};
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = kCounters[i].metric;
  return all;
}();

class XfsCollector final : public Collector {
 public:
  explicit XfsCollector(const CollectorContext& context)
      : path_(context.roots.sys("fs/xfs")), families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    bool any = false;
    for (const char* name : names_.names()) {
      // The sum of all is in a directory of its own, besides one for debugging.
      const auto device = root->child(name);
      if (!device || std::string_view(name) == "stats" || !device->has("stats")) continue;
      any = true;
      if (const auto text = files_.text(*device, "stats/stats")) add(sink, *device, name, *text);
    }
    if (!any) return fail(Errc::kNotFound, "{}: no filesystem", path_);
    return complaints_.take();
  }

 private:
  void add(Sink& sink, const SmallDir& device, std::string_view name, std::string_view text) {
    if (text.empty()) return complaints_.add(device.path() + "/stats/stats", "empty");
    Lines lines(text);
    for (std::string_view line; lines.next(line);) {
      std::string_view rest = line;
      const std::string_view group = next_word(rest);
      std::size_t column = 0;
      for (auto word = next_word(rest); !word.empty(); word = next_word(rest), ++column) {
        for (std::size_t i = 0; i < kCounters.size(); ++i) {
          if (kCounters[i].group != group || kCounters[i].column != column) continue;
          if (const auto value = base::parse_uint(word)) {
            sink.add(families_[i], {{"device", name}}, static_cast<double>(*value));
          } else {
            complaints_.add(device.path() + "/stats/stats", lines.number(), "numbers", word);
          }
        }
      }
    }
  }

  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  NameList names_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

}  // namespace

const CollectorDescriptor kXfsCollector = {
    .name = "xfs",
    .help = "What every XFS filesystem did.",
    .metrics = kMetrics,
    .make = make_plain<XfsCollector>,
};

}  // namespace nexus::monitor
