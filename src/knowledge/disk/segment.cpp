#include "knowledge/disk/segment.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "nexus/base/log.hpp"

namespace nexus::knowledge::disk {
namespace {

std::uint64_t next_serial() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

/// Reads until `to` is full or the file ends; how many bytes.
Result<std::size_t> read_at(int fd, std::uint64_t offset, std::span<std::uint8_t> to) {
  std::size_t done = 0;
  while (done < to.size()) {
    const ssize_t got =
        ::pread(fd, to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
    if (got == 0) break;
    if (got < 0) {
      if (errno == EINTR) continue;
      return std::unexpected(Error::from_errno("read"));
    }
    done += static_cast<std::size_t>(got);
  }
  return done;
}

template <typename Header>
Header header_at(const std::uint8_t* from) noexcept {
  Header header;
  std::memcpy(&header, from, sizeof(header));
  return header;
}

/// Finds record headers one after another, wherever they are.
class Walker {
 public:
  Walker(int fd, std::uint64_t size) : fd_(fd), size_(size) {}

  /// The whole header at exactly `offset`.
  [[nodiscard]] Result<std::optional<RecordHeader>> at(std::uint64_t offset) {
    const Result<Bytes> bytes = window(offset, sizeof(RecordHeader));
    if (!bytes) return std::unexpected(bytes.error());
    if (bytes->size() < sizeof(RecordHeader)) return std::nullopt;
    const auto header = header_at<RecordHeader>(bytes->data());
    return is_whole(header) ? std::optional(header) : std::nullopt;
  }

  /// The place of the first whole header from `offset` on; the file's size when there is none.
  [[nodiscard]] Result<std::uint64_t> find(std::uint64_t offset) {
    constexpr std::uint8_t kFirst = kRecordMagic & 0xff;
    while (offset + sizeof(RecordHeader) <= size_) {
      const Result<Bytes> bytes = window(offset, sizeof(RecordHeader));
      if (!bytes) return std::unexpected(bytes.error());
      if (bytes->size() < sizeof(RecordHeader)) break;
      const std::size_t starts = bytes->size() - sizeof(RecordHeader) + 1;
      for (const std::uint8_t* at = bytes->data();;) {
        at = static_cast<const std::uint8_t*>(
            std::memchr(at, kFirst, static_cast<std::size_t>(bytes->data() + starts - at)));
        if (at == nullptr) break;
        if (is_whole(header_at<RecordHeader>(at))) {
          return offset + static_cast<std::uint64_t>(at - bytes->data());
        }
        if (++at == bytes->data() + starts) break;
      }
      offset += starts;
    }
    return size_;
  }

 private:
  // Headers stand close together in some streams and a megabyte apart in others.
  static constexpr std::size_t kChunk = 4096;

  /// At least `least` bytes from `offset` on, as far as the file has them.
  Result<Bytes> window(std::uint64_t offset, std::size_t least) {
    if (offset < begin_ || offset + least > begin_ + have_) {
      buffer_.resize(kChunk);
      const Result<std::size_t> got = read_at(fd_, offset, buffer_);
      if (!got) return std::unexpected(got.error());
      begin_ = offset;
      have_ = *got;
    }
    return Bytes(buffer_).subspan(static_cast<std::size_t>(offset - begin_),
                                  have_ - static_cast<std::size_t>(offset - begin_));
  }

  const int fd_;
  const std::uint64_t size_;
  std::vector<std::uint8_t> buffer_;
  std::uint64_t begin_ = 0;
  std::size_t have_ = 0;
};

// Definitions of more bytes are not mended: the more bits, the easier is other damage taken for
// one.
constexpr std::size_t kMostMended = 256U << 10;

/// The header of definitions at `offset` of which one bit was flipped.
std::optional<RecordHeader> mended_header(int fd, std::uint64_t offset) {
  std::array<std::uint8_t, sizeof(RecordHeader)> bytes{};
  const auto got = read_at(fd, offset, bytes);
  if (!got || *got < bytes.size()) return std::nullopt;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const auto mask = static_cast<std::uint8_t>(1U << (bit % 8));
    bytes[bit / 8] ^= mask;
    const auto header = header_at<RecordHeader>(bytes.data());
    if (header.kind == Kind::kSeries && is_whole(header)) return header;
    bytes[bit / 8] ^= mask;
  }
  return std::nullopt;
}

/// The same of their payload.
bool mend(const Entry& entry, std::vector<std::uint8_t>& stored) {
  if (entry.kind != Kind::kSeries || stored.size() > kMostMended) return false;
  const auto bit = flipped_bit(stored, entry.payload_checksum);
  if (!bit) return false;
  stored[*bit / 8] ^= static_cast<std::uint8_t>(1U << (*bit % 8));
  return true;
}

std::string hex(const KeyId& id) {
  std::string text;
  for (const std::uint8_t byte : id) text += fmt::format("{:02x}", byte);
  return id == KeyId{} ? "none" : text;
}

}  // namespace

SegmentFile::SegmentFile(host::Fd fd, std::string path, std::shared_ptr<const Cipher> cipher,
                         std::shared_ptr<Health> health)
    : fd_(std::move(fd)),
      path_(std::move(path)),
      cipher_(std::move(cipher)),
      health_(std::move(health)),
      serial_(next_serial()) {}

Result<std::shared_ptr<const SegmentFile>> SegmentFile::open(std::string path,
                                                             std::shared_ptr<const Cipher> cipher,
                                                             std::shared_ptr<Health> health) {
  host::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::unexpected(Error::from_errno("open " + path));
  return std::make_shared<const SegmentFile>(std::move(fd), std::move(path), std::move(cipher),
                                             std::move(health));
}

void SegmentFile::complain(const Error& error) const {
  if (complained_.exchange(true)) return;
  log::warning("history", "{}: {}; further damage of this file is only counted", path_,
               error.message());
}

Status SegmentFile::check_header(Scan& scan) const {
  std::array<std::uint8_t, sizeof(FileHeader)> bytes{};
  const Result<std::size_t> got = read_at(fd_.get(), 0, bytes);
  if (!got) return std::unexpected(got.error().with_context(path_));
  const auto header = header_at<FileHeader>(bytes.data());
  if (*got < bytes.size()) {
    scan.torn = true;  // not even that was written
    return {};
  }
  if (!is_whole(header)) {  // the records say all that is needed
    ++scan.damaged;
    complain({Errc::kCorrupt, "the header is damaged"});
    return {};
  }
  if (header.version > kFileVersion) {
    scan.unusable = Error(Errc::kUnsupported, fmt::format("format {}, this program knows {}",
                                                          header.version, kFileVersion));
    return {};
  }
  const KeyId key = cipher_ == nullptr ? KeyId{} : cipher_->id();
  if (header.key != key && header.key != KeyId{}) {
    scan.unusable = Error(Errc::kPermissionDenied,
                          fmt::format("encrypted with the key {}, history.key_file has {}",
                                      hex(header.key), hex(key)));
  }
  return {};
}

Result<Scan> SegmentFile::scan() const {
  struct stat status{};
  if (::fstat(fd_.get(), &status) != 0) return std::unexpected(Error::from_errno("stat " + path_));
  const auto size = static_cast<std::uint64_t>(status.st_size);
  Scan scan;
  if (Status checked = check_header(scan); !checked) return propagate(std::move(checked));
  if (scan.unusable && scan.unusable->code() == Errc::kUnsupported) {  // who knows what is in it
    scan.end = size;
    return scan;
  }
  scan.end = std::min<std::uint64_t>(sizeof(FileHeader), size);
  Walker walker(fd_.get(), size);
  for (std::uint64_t offset = sizeof(FileHeader); offset < size;) {
    const auto header = walker.at(offset);
    if (!header) return std::unexpected(header.error().with_context(path_));
    if (*header && offset + sizeof(RecordHeader) + (*header)->size <= size) {
      scan.entries.push_back(entry_of(**header, offset));
      offset = scan.end = scan.entries.back().end();
      continue;
    }
    if (*header || size - offset < sizeof(RecordHeader)) {  // the rest was never written
      scan.torn = true;
      break;
    }
    const auto mended = mended_header(fd_.get(), offset);
    if (mended && offset + sizeof(RecordHeader) + mended->size <= size) {
      ++scan.damaged;
      complain({Errc::kCorrupt, fmt::format("record at {}: a flipped bit, turned back", offset)});
      scan.entries.push_back(entry_of(*mended, offset));
      offset = scan.end = scan.entries.back().end();
      continue;
    }
    const Result<std::uint64_t> next = walker.find(offset + 1);
    if (!next) return std::unexpected(next.error().with_context(path_));
    ++scan.damaged;
    complain({Errc::kCorrupt, fmt::format("damaged between {} and {}", offset, *next)});
    offset = *next;
  }
  health_->damaged_records += scan.damaged;
  if (scan.torn) ++health_->torn_files;
  return scan;
}

Result<std::vector<std::uint8_t>> SegmentFile::read(const Entry& entry) const {
  std::vector<std::uint8_t> stored(entry.size);
  const Result<std::size_t> got = read_at(fd_.get(), entry.offset + sizeof(RecordHeader), stored);
  if (!got) return std::unexpected(got.error().with_context(path_));
  Result<std::vector<std::uint8_t>> payload = [&]() -> Result<std::vector<std::uint8_t>> {
    if (*got < stored.size()) return fail(Errc::kCorrupt, "the file is shorter than it was");
    if (crc32c(stored) != entry.payload_checksum) {
      if (!mend(entry, stored)) return fail(Errc::kCorrupt, "wrong checksum");
      ++health_->damaged_records;
      complain(
          {Errc::kCorrupt, fmt::format("record at {}: a flipped bit, turned back", entry.offset)});
    }
    return unpack(entry, std::move(stored));
  }();
  if (payload) return payload;
  ++health_->damaged_records;
  Error error = payload.error().with_context(fmt::format("record at {}", entry.offset));
  complain(error);
  return std::unexpected(std::move(error).with_context(path_));
}

Result<std::vector<std::uint8_t>> SegmentFile::unpack(const Entry& entry,
                                                      std::vector<std::uint8_t> stored) const {
  if ((entry.flags & kEncrypted) != 0) {
    if (cipher_ == nullptr) return fail(Errc::kPermissionDenied, "encrypted, and there is no key");
    auto plain = cipher_->open(bytes_of(header_of(entry, entry.flags)), stored);
    if (!plain) return plain;
    stored = std::move(*plain);
  }
  return (entry.flags & kCompressed) != 0 ? decompress(stored) : std::move(stored);
}

}  // namespace nexus::knowledge::disk
