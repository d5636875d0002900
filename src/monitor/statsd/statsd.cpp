#include "monitor/statsd/statsd.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "nexus/base/loop_thread.hpp"
#include "nexus/drivers/resolver.hpp"

namespace nexus::monitor {
namespace {

constexpr std::size_t kLargest = 65536;  // bytes of a datagram
constexpr std::size_t kAtOnce = 32;      // datagrams of one system call
constexpr int kReceiveBuffer = 4 << 20;  // what the kernel holds; it takes what it allows
constexpr Millis kWindow{100};

}  // namespace

Statsd::Statsd(const SourcesContext& context, Outbox& outbox)
    : context_(context),
      outbox_(outbox),
      datagrams_(context.self.counter("nexus_statsd_datagrams_total", "Datagrams read.")),
      messages_(context.self.counter("nexus_statsd_messages_total", "Lines of statsd read.")),
      invalid_(context.self.counter("nexus_statsd_invalid_total",
                                    "Lines and values of statsd that could not be read.")),
      unsupported_(context.self.counter("nexus_statsd_unsupported_total",
                                        "Events and service checks, which are not taken.")),
      conflicts_(context.self.counter("nexus_statsd_conflicts_total",
                                      "Messages whose name has another type already.")),
      dropped_(context.self.counter("nexus_statsd_dropped_total",
                                    "Messages of series over [statsd] max_series.")),
      lost_(context.self.counter("nexus_statsd_lost_datagrams_total",
                                 "Datagrams that the kernel dropped: its buffer was full.")),
      throttled_(context.self.counter("nexus_statsd_throttled_total",
                                      "Times that reading paused, as too much was sent.")) {}

Statsd::~Statsd() {
  stop();
}

Result<Statsd::Socket> Statsd::listen(const std::string& address) {
  Socket out;
  const int on = 1;
  if (address.starts_with("unix:")) {
    out.path = address.substr(5);
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    if (out.path.size() >= sizeof name.sun_path)
      return fail(Errc::kInvalidArgument, "statsd: {}: the path is too long", address);
    std::memcpy(name.sun_path, out.path.data(), out.path.size());
    out.fd = host::Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    struct stat there{};
    if (::lstat(out.path.c_str(), &there) == 0 && S_ISSOCK(there.st_mode))
      ::unlink(out.path.c_str());  // of an agent that was killed
    if (::bind(out.fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) {
      auto error = Error::from_errno("statsd: listen on " + address);
      out.path.clear();
      return std::unexpected(std::move(error));
    }
    ::chmod(out.path.c_str(), 0666);  // every application may count
  } else {
    auto parts = drivers::split_host_port(address.substr(4), 0);
    if (!parts) return propagate(std::move(parts), "statsd");
    auto where = drivers::resolve(parts->host, drivers::Prefer::kIp4,
                                  drivers::OtherFamily::kAllowed, Millis(2000));
    if (!where) return propagate(std::move(where), "statsd");
    where->set_port(parts->port);
    out.fd = host::Fd(::socket(where->family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (::bind(out.fd.get(), reinterpret_cast<const sockaddr*>(&where->storage), where->size) != 0)
      return std::unexpected(Error::from_errno("statsd: listen on " + address));
  }
  ::setsockopt(out.fd.get(), SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
  ::setsockopt(out.fd.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
  return out;
}

Status Statsd::configure(const config::StatsdSection& section) {
  if (thread_.joinable() && section == section_) return {};
  const bool again = thread_.joinable();
  stop();
  if (again) end();
  section_ = section;
  if (section.listen.empty()) return {};
  auto mapper = StatsdMapper::compile(section);
  if (!mapper) return propagate(std::move(mapper), "statsd");
  Status bound;
  for (const auto& address : section.listen) {
    auto socket = listen(address);
    if (socket) {
      sockets_.push_back(std::move(*socket));
    } else {
      bound = std::unexpected(socket.error());
    }
  }
  table_ = std::make_unique<StatsdTable>(section_, std::move(*mapper), context_.registry);
  // A summary or a histogram is more than one sample.
  sink_ = std::make_unique<RunSink>(context_.registry,
                                    std::min<std::size_t>(section.max_series * 16UL, 32'000),
                                    &outbox_.series());
  group_ = outbox_.groups().take();
  reported_ = {};
  wake_ = host::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  buffer_.resize(kAtOnce * kLargest);
  {
    const std::lock_guard guard(mutex_);
    status_ = SourceStatus{.kind = "statsd",
                           .name = "statsd",
                           .instance = fmt::format("{}", fmt::join(section.listen, ", ")),
                           .url = {},
                           .health = bound ? "up" : "down",
                           .error = bound ? "" : bound.error().message(),
                           .interval = section.interval,
                           .timeout = section.expire_after};
  }
  stopping_ = false;
  try {
    thread_ = std::thread([this] {
      base::name_this_thread("statsd");
      run();
    });
  } catch (const std::system_error& refused) {
    sockets_.clear();
    bound = fail(Errc::kExhausted, "statsd: cannot start its thread: {}", refused.what());
    const std::lock_guard guard(mutex_);
    status_->health = "down";
    status_->error = bound.error().message();
  }
  return bound;
}

void Statsd::stop() {
  stopping_ = true;
  if (thread_.joinable()) {
    ::eventfd_write(wake_.get(), 1);
    thread_.join();
  }
  for (const auto& socket : sockets_) {
    if (!socket.path.empty()) ::unlink(socket.path.c_str());
  }
  sockets_.clear();
}

/// Stale markers for all series, when another configuration begins anew.
void Statsd::end() {
  sink_->begin();
  sink_->finish();
  const auto now = std::max(stamp_ + 1, base::to_unix_millis(context_.clock.wall()));
  outbox_.push({group_, now, sink_->ids(), sink_->values()});
  outbox_.groups().give(group_);
  const std::lock_guard guard(mutex_);
  status_.reset();
}

std::vector<SourceStatus> Statsd::status() const {
  const std::lock_guard guard(mutex_);
  return status_ ? std::vector<SourceStatus>{*status_} : std::vector<SourceStatus>{};
}

void Statsd::run() {
  auto next = context_.clock.steady() + section_.interval;
  std::vector<pollfd> polled;
  while (!stopping_) {
    auto now = context_.clock.steady();
    if (now >= next) {
      flush(now);
      next = std::max(next + section_.interval, now);
    }
    if (now >= window_) {
      window_ = now + kWindow;
      constexpr std::int64_t kInWindow = kMostLines * kWindow.count() / 1000;
      allowance_ = std::min(allowance_ + kInWindow, kInWindow);
    }
    const bool paused = allowance_ <= 0;
    if (paused) throttled_.add();
    polled.clear();
    polled.push_back({.fd = wake_.get(), .events = POLLIN, .revents = 0});
    for (const auto& socket : sockets_)
      if (!paused) polled.push_back({.fd = socket.fd.get(), .events = POLLIN, .revents = 0});
    const auto until = paused ? std::min(window_, next) : next;
    const auto wait = std::chrono::ceil<Millis>(until - now).count();
    ::poll(polled.data(), polled.size(), static_cast<int>(std::clamp<std::int64_t>(wait, 0, 1000)));
    if (paused) continue;
    now = context_.clock.steady();
    for (std::size_t i = 1; i < polled.size(); ++i) {
      if (polled[i].revents != 0) read(sockets_[i - 1], now);
    }
  }
}

/// What is there now, one batch of datagrams.
void Statsd::read(Socket& socket, SteadyTime now) {
  std::array<mmsghdr, kAtOnce> messages{};
  std::array<iovec, kAtOnce> parts{};
  std::array<std::array<char, 64>, kAtOnce> controls{};
  for (std::size_t i = 0; i < kAtOnce; ++i) {
    parts.at(i) = {buffer_.data() + i * kLargest, kLargest};
    messages.at(i).msg_hdr.msg_iov = &parts.at(i);
    messages.at(i).msg_hdr.msg_iovlen = 1;
    messages.at(i).msg_hdr.msg_control = controls.at(i).data();
    messages.at(i).msg_hdr.msg_controllen = controls.at(i).size();
  }
  const int count = ::recvmmsg(socket.fd.get(), messages.data(), kAtOnce, MSG_DONTWAIT, nullptr);
  if (count <= 0) return;
  datagrams_.add(count);
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    msghdr& header = messages.at(i).msg_hdr;
    for (cmsghdr* one = CMSG_FIRSTHDR(&header); one != nullptr; one = CMSG_NXTHDR(&header, one)) {
      if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SO_RXQ_OVFL) continue;
      std::uint32_t lost = 0;
      std::memcpy(&lost, CMSG_DATA(one), sizeof lost);
      if (lost != socket.lost) lost_.add(static_cast<double>(lost - socket.lost));
      socket.lost = lost;
    }
    const auto cost = table_->take({buffer_.data() + i * kLargest, messages.at(i).msg_len}, now);
    allowance_ -= static_cast<std::int64_t>(cost);
  }
}

void Statsd::flush(SteadyTime now) {
  sink_->begin();
  table_->add_to(*sink_, now);
  sink_->finish();
  outbox_.count_dropped(sink_->dropped());
  stamp_ = std::max(stamp_ + 1, base::to_unix_millis(context_.clock.wall()));
  if (outbox_.push({group_, stamp_, sink_->ids(), sink_->values()})) sink_->accepted();
  const StatsdCounts& counts = table_->counts();
  const auto report = [&](const knowledge::Counter& counter, std::uint64_t StatsdCounts::* which) {
    if (counts.*which != reported_.*which)
      counter.add(static_cast<double>(counts.*which - reported_.*which));
  };
  report(messages_, &StatsdCounts::messages);
  report(invalid_, &StatsdCounts::invalid);
  report(unsupported_, &StatsdCounts::unsupported);
  report(conflicts_, &StatsdCounts::conflicts);
  report(dropped_, &StatsdCounts::dropped);
  auto mistake = table_->take_mistake();
  const std::lock_guard guard(mutex_);
  status_->samples = counts.messages - reported_.messages;
  status_->series = table_->series();
  status_->dropped = counts.dropped + sink_->dropped();
  if (status_->health == "up") status_->error = std::move(mistake);
  status_->last = context_.clock.wall();
  reported_ = counts;
}

}  // namespace nexus::monitor
