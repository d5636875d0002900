#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "knowledge/disk/segment.hpp"
#include "nexus/base/log.hpp"

namespace nexus::knowledge::disk {

Result<std::unique_ptr<SegmentWriter>> SegmentWriter::create(
    const std::string& directory, std::string_view stream, std::uint32_t number,
    std::int64_t created, std::shared_ptr<const Cipher> cipher, std::shared_ptr<Health> health) {
  std::string path = directory + '/' + segment_name(stream, number);
  host::Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
  if (!fd) return std::unexpected(Error::from_errno("create " + path));
  FileHeader header;
  header.number = number;
  header.created = created;
  std::copy_n(stream.begin(), std::min(stream.size(), header.stream.size()), header.stream.begin());
  if (cipher != nullptr) header.key = cipher->id();
  header.checksum = checksum_of(header);
  std::unique_ptr<SegmentWriter> writer(new SegmentWriter());
  writer->directory_ = directory;
  writer->file_ = std::make_shared<const SegmentFile>(std::move(fd), std::move(path),
                                                      std::move(cipher), std::move(health));
  if (Status written = writer->write(bytes_of(header), {}); !written) {
    ::unlink(writer->file_->path().c_str());
    return propagate(std::move(written));
  }
  return writer;
}

Result<Entry> SegmentWriter::append(const RecordInfo& info, Bytes payload, Packing packing) {
  std::vector<std::uint8_t> packed;
  std::uint8_t flags = info.flags;
  if (packing == Packing::kZstd) {
    auto compressed = compress(payload);
    if (!compressed) return propagate(std::move(compressed));
    packed = std::move(*compressed);
    payload = packed;
    flags |= kCompressed;
  }
  const Cipher* cipher = file_->cipher_.get();
  if (cipher != nullptr) flags |= kEncrypted;
  RecordHeader header = header_of(info, flags);
  if (cipher != nullptr) {
    auto sealed = cipher->seal(bytes_of(header), payload);
    if (!sealed) return propagate(std::move(sealed));
    packed = std::move(*sealed);
    payload = packed;
  }
  if (payload.size() > kMaxPayload) {
    return fail(Errc::kInvalidArgument, "a record of {} bytes, at most {}", payload.size(),
                kMaxPayload);
  }
  header.size = static_cast<std::uint32_t>(payload.size());
  header.payload_checksum = crc32c(payload);
  header.checksum = checksum_of(header);
  const Entry entry = entry_of(header, size_);
  if (Status written = write(bytes_of(header), payload); !written) {
    return propagate(std::move(written));
  }
  return entry;
}

Status SegmentWriter::write(Bytes header, Bytes payload) {
  std::vector<std::uint8_t> record(header.begin(), header.end());
  record.insert(record.end(), payload.begin(), payload.end());
  std::size_t done = 0;
  while (done < record.size()) {
    const ssize_t wrote = ::pwrite(file_->fd_.get(), record.data() + done, record.size() - done,
                                   static_cast<off_t>(size_ + done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      Error error = Error::from_errno("write " + file_->path());
      if (::ftruncate(file_->fd_.get(), static_cast<off_t>(size_)) != 0) {
        log::debug("history", "{}: stays torn", file_->path());
      }
      return std::unexpected(std::move(error));
    }
    done += static_cast<std::size_t>(wrote);
  }
  size_ += record.size();
  return {};
}

Status SegmentWriter::sync() {
  if (::fdatasync(file_->fd_.get()) != 0) {
    return std::unexpected(Error::from_errno("fdatasync " + file_->path()));
  }
  if (directory_synced_) return {};
  const host::Fd directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || ::fsync(directory.get()) != 0) {
    return std::unexpected(Error::from_errno("fsync " + directory_));
  }
  directory_synced_ = true;
  return {};
}

}  // namespace nexus::knowledge::disk
