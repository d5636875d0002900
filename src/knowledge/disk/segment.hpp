// Segments: append-only files of records with checksums; see README.md for the format.
//
// A record is one write and is never changed. A file that was torn ends where its last whole record
// does; a flipped bit costs the record that it is in, and the reader goes on at the next header.
// One of definitions, without which nobody knows whose the blocks are, is found by the checksum and
// turned back.
// Dropping a segment unlinks its file: who holds it reads on. Thread safety: a SegmentFile is
// immutable and has any number of readers while its one writer appends.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "knowledge/disk/cipher.hpp"
#include "knowledge/disk/health.hpp"
#include "knowledge/disk/record.hpp"
#include "nexus/base/result.hpp"
#include "nexus/host/fd.hpp"

namespace nexus::knowledge::disk {

struct Scan {
  std::vector<Entry> entries;     // in the order of the file
  std::uint64_t end = 0;          // of the last whole record
  std::uint64_t damaged = 0;      // places where something was skipped
  bool torn = false;              // bytes of an unfinished record follow `end`
  std::optional<Error> unusable;  // the payloads cannot be read: another key or a later format
};

class SegmentFile {
 public:
  SegmentFile(host::Fd fd, std::string path, std::shared_ptr<const Cipher> cipher,
              std::shared_ptr<Health> health);
  [[nodiscard]] static Result<std::shared_ptr<const SegmentFile>> open(
      std::string path, std::shared_ptr<const Cipher> cipher, std::shared_ptr<Health> health);

  /// The headers of all whole records. Damage is counted, and logged once a file.
  [[nodiscard]] Result<Scan> scan() const;
  /// The payload, checked, decrypted and decompressed. kCorrupt when it is damaged (definitions: by
  /// more than a bit).
  [[nodiscard]] Result<std::vector<std::uint8_t>> read(const Entry& entry) const;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Names the file in caches; never used twice in a process.
  [[nodiscard]] std::uint64_t serial() const noexcept { return serial_; }

 private:
  friend class SegmentWriter;
  [[nodiscard]] Result<std::vector<std::uint8_t>> unpack(const Entry& entry,
                                                         std::vector<std::uint8_t> stored) const;
  [[nodiscard]] Status check_header(Scan& scan) const;
  void complain(const Error& error) const;

  const host::Fd fd_;
  const std::string path_;
  const std::shared_ptr<const Cipher> cipher_;
  const std::shared_ptr<Health> health_;
  const std::uint64_t serial_;
  mutable std::atomic<bool> complained_{false};
};

class SegmentWriter {
 public:
  /// Makes the file and its header.
  [[nodiscard]] static Result<std::unique_ptr<SegmentWriter>> create(
      const std::string& directory, std::string_view stream, std::uint32_t number,
      std::int64_t created, std::shared_ptr<const Cipher> cipher, std::shared_ptr<Health> health);

  enum class Packing { kPlain, kZstd };
  /// One record. When it fails the file is as before, or torn, and the writer is of no more use.
  [[nodiscard]] Result<Entry> append(const RecordInfo& info, Bytes payload, Packing packing);
  /// What was appended is on the medium when this returns.
  [[nodiscard]] Status sync();

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  [[nodiscard]] const std::shared_ptr<const SegmentFile>& file() const noexcept { return file_; }

 private:
  SegmentWriter() = default;
  [[nodiscard]] Status write(Bytes header, Bytes payload);

  std::shared_ptr<const SegmentFile> file_;
  std::string directory_;
  std::uint64_t size_ = 0;
  bool directory_synced_ = false;
};

}  // namespace nexus::knowledge::disk
