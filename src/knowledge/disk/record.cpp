#include "knowledge/disk/record.hpp"

#include <zstd.h>

#include <cstring>

namespace nexus::knowledge::disk {

Entry entry_of(const RecordHeader& header, std::uint64_t offset) noexcept {
  Entry entry;
  entry.kind = header.kind;
  entry.group = header.group;
  entry.first = header.first;
  entry.last = header.last;
  entry.low = header.low;
  entry.high = header.high;
  entry.flags = header.flags;
  entry.size = header.size;
  entry.payload_checksum = header.payload_checksum;
  entry.offset = offset;
  return entry;
}

RecordHeader header_of(const RecordInfo& info, std::uint8_t flags) noexcept {
  RecordHeader header;
  header.kind = info.kind;
  header.flags = flags;
  header.group = info.group;
  header.first = info.first;
  header.last = info.last;
  header.low = info.low;
  header.high = info.high;
  return header;
}

Result<std::vector<std::uint8_t>> compress(Bytes plain) {
  constexpr int kLevel = 9;  // definitions of series: few, and written once a file
  const auto size = static_cast<std::uint32_t>(plain.size());
  std::vector<std::uint8_t> out(sizeof(size) + ZSTD_compressBound(plain.size()));
  std::memcpy(out.data(), &size, sizeof(size));
  const std::size_t used = ZSTD_compress(out.data() + sizeof(size), out.size() - sizeof(size),
                                         plain.data(), plain.size(), kLevel);
  if (ZSTD_isError(used) != 0) return fail(Errc::kInternal, "zstd: {}", ZSTD_getErrorName(used));
  out.resize(sizeof(size) + used);
  return out;
}

Result<std::vector<std::uint8_t>> decompress(Bytes packed) {
  std::uint32_t size = 0;
  if (packed.size() < sizeof(size)) return fail(Errc::kCorrupt, "zstd: {} bytes", packed.size());
  std::memcpy(&size, packed.data(), sizeof(size));
  if (size > kMaxPayload) return fail(Errc::kCorrupt, "zstd: a text of {} bytes", size);
  std::vector<std::uint8_t> out(size);
  const std::size_t used = ZSTD_decompress(out.data(), out.size(), packed.data() + sizeof(size),
                                           packed.size() - sizeof(size));
  if (ZSTD_isError(used) != 0 || used != size) return fail(Errc::kCorrupt, "zstd: damaged");
  return out;
}

}  // namespace nexus::knowledge::disk
