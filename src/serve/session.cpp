#include "serve/session.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <cerrno>
#include <utility>

#include "nexus/base/clock.hpp"
#include "nexus/base/log.hpp"
#include "serve/gate.hpp"
#include "serve/target.hpp"

namespace nexus::serve {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr Millis kCancelAgain{10};  // a read that was hidden from its cancellation
// How long and how much of what a peer still sends is thrown away after our last answer.
constexpr auto kLinger = std::chrono::seconds(1);
constexpr std::size_t kLingerBytes = 1U << 20;
constexpr std::size_t kLingerChunk = 8U << 10;
constexpr std::size_t kBytesOfDeadline = 8U << 20;  // of a long answer, within write_timeout
// A chunk begins with its length in eight hexadecimal digits, put there when it is known.
constexpr std::string_view kChunkHead = "00000000\r\n";
constexpr std::string_view kChunkEnd = "\r\n";
constexpr std::string_view kLastChunk = "0\r\n\r\n";
constexpr std::uint64_t kMostOfStrangers = 16U << 10;  // bytes of a body, of who has no credentials
constexpr std::size_t kReadChunk = 2U
                                   << 10;  // most requests fit in; an idle connection holds no more

std::optional<Method> to_method(http::verb verb) {
  switch (verb) {
    case http::verb::get:
      return Method::kGet;
    case http::verb::head:
      return Method::kHead;
    case http::verb::post:
      return Method::kPost;
    case http::verb::put:
      return Method::kPut;
    case http::verb::delete_:
      return Method::kDelete;
    default:
      return std::nullopt;  // Beast knows forty verbs
  }
}

std::string text(beast::string_view value) {
  return {value.data(), value.size()};
}

/// What to answer when a request could not be read; nothing when the peer is gone.
std::optional<Refusal> refusal_for(beast::error_code ec) {
  if (ec == http::error::body_limit)
    return Refusal{413, "body_too_large",
                   "the body is larger than [http] max_body_bytes, or, of who has no credentials, "
                   "than 16 KiB"};
  if (ec == http::error::header_limit || ec == http::error::buffer_overflow) {
    return Refusal{431, "header_too_large", "the header is larger than [http] max_header_bytes"};
  }
  if (ec == http::error::end_of_stream || ec == http::error::partial_message) return std::nullopt;
  if (ec.category() == http::make_error_code(http::error::bad_target).category()) {
    return Refusal{400, "malformed", fmt::format("malformed request: {}", ec.message())};
  }
  return std::nullopt;
}

/// Ends the chunk that `piece` began with; one without content would be the last.
void end_chunk(std::string& piece) {
  const std::size_t size = piece.size() - kChunkHead.size();
  if (size == 0) return piece.clear();
  fmt::format_to_n(piece.begin(), 8, "{:08x}", size);
  piece += kChunkEnd;
}

}  // namespace

template <class Stream>
Session<Stream>::Session(std::shared_ptr<ServerState> state, typename Stream::socket_type socket,
                         Peer peer)
    : state_(std::move(state)),
      stream_(std::move(socket)),
      read_deadline_(state_->io),
      peer_(std::move(peer)) {
  if constexpr (!std::is_same_v<Stream, boost::beast::tcp_stream>) ++state_->local_connections;
  state_->metrics.connections.set(static_cast<double>(++state_->connections));
}

template <class Stream>
Session<Stream>::~Session() {
  if constexpr (!std::is_same_v<Stream, boost::beast::tcp_stream>) --state_->local_connections;
  state_->metrics.connections.set(static_cast<double>(--state_->connections));
}

template <class Stream>
void Session<Stream>::start() {
  next();
}

template <class Stream>
void Session<Stream>::shut_down() {
  keep_alive_ = false;
  if (between_requests_) stream_.close();
}

template <class Stream>
void Session<Stream>::next() {
  settings_ = state_->settings();
  const auto& limits = settings_->http;
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(limits.max_header_bytes));
  parser_->body_limit(limits.max_body_bytes);
  // A reload may have lowered the limits while the next requests were in the buffer already.
  buffer_.max_size(std::max<std::size_t>(buffer_.size(),
                                         limits.max_header_bytes + limits.max_body_bytes + 1024));
  head_only_ = false;
  between_requests_ = true;
  if (buffer_.size() > 0) return read_head();
  stream_.expires_after(limits.idle_timeout);
  stream_.async_read_some(
      buffer_.prepare(std::min(kReadChunk, buffer_.max_size())),
      [self = this->shared_from_this()](beast::error_code ec, std::size_t bytes) {
        if (ec) return self->refuse_read(ec);
        self->buffer_.commit(bytes);
        self->read_head();
      });
}

template <class Stream>
void Session<Stream>::await_rest() {
  if (reading_) return;  // the head's deadline is the body's too
  reading_ = true;
  too_slow_ = false;
  ++read_turn_;
  stream_.expires_never();
  cancel_read_after(settings_->http.read_timeout);
}

template <class Stream>
void Session<Stream>::cancel_read_after(Millis time) {
  read_deadline_.expires_after(time);
  read_deadline_.async_wait(
      [self = this->shared_from_this(), turn = read_turn_](boost::system::error_code ec) {
        if (ec || !self->reading_ || turn != self->read_turn_) return;
        self->too_slow_ = true;
        self->stream_.cancel();
        // A piece that has just come hides the read from the cancellation: the next one gets it.
        self->cancel_read_after(kCancelAgain);
      });
}

template <class Stream>
void Session<Stream>::end_wait() {
  if (!reading_) return;
  reading_ = false;
  read_deadline_.cancel();
}

template <class Stream>
void Session<Stream>::read_head() {
  // Most heads are in the buffer as a whole: they are parsed here, without another turn of the io
  // loop.
  beast::error_code ec;
  buffer_.consume(parser_->put(buffer_.data(), ec));
  if (ec != http::error::need_more) return on_head(ec);
  await_rest();
  http::async_read_header(stream_, buffer_, *parser_,
                          [self = this->shared_from_this()](
                              beast::error_code read_ec, std::size_t) { self->on_head(read_ec); });
}

template <class Stream>
void Session<Stream>::on_head(beast::error_code ec) {
  between_requests_ = false;
  if (ec) return refuse_read(ec);
  head_only_ = parser_->get().method() == http::verb::head;
  if (const auto refusal = check_head(parser_->get(), peer_.local, settings_->allowed_hosts)) {
    state_->metrics.count_refused(refusal->reason);
    return write(error(refusal->status, refusal->reason, refusal->message), false);
  }
  const auto authorization = parser_->get()[http::field::authorization];
  caller_ = settings_->authenticator->identify(peer_, {authorization.data(), authorization.size()});
  if (parser_->is_done()) return handle();
  // Anybody may ask, with as long a body as a question has: thousands of connections with more
  // would fill the agent's memory before it knows who they are.
  if (!caller_ || !caller_->authenticated) {
    if (parser_->content_length_remaining().value_or(0) > kMostOfStrangers)
      return refuse_read(http::error::body_limit);
    parser_->body_limit(std::min(settings_->http.max_body_bytes, kMostOfStrangers));
  }
  await_rest();
  http::async_read(stream_, buffer_, *parser_,
                   [self = this->shared_from_this()](beast::error_code read_ec, std::size_t) {
                     if (read_ec) return self->refuse_read(read_ec);
                     self->handle();
                   });
}

template <class Stream>
void Session<Stream>::refuse_read(beast::error_code ec) {
  between_requests_ = false;
  const bool too_slow = reading_ && too_slow_;
  end_wait();
  if (too_slow || ec == beast::error::timeout) state_->metrics.timeouts.add();
  const auto refusal =
      too_slow ? std::optional(
                     Refusal{408, "timeout", "the request took longer than [http] read_timeout"})
               : refusal_for(ec);
  if (!refusal) return close();
  state_->metrics.count_refused(refusal->reason);
  write(error(refusal->status, refusal->reason, refusal->message), false);
}

template <class Stream>
std::expected<Request, Refusal> Session<Stream>::make_request() {
  auto& message = parser_->get();
  Request request;
  const auto method = to_method(message.method());
  if (!method) return std::unexpected(Refusal{501, "method", "the method is not supported"});
  request.method = *method;
  auto target = parse_target({message.target().data(), message.target().size()});
  if (!target) return std::unexpected(Refusal{400, "bad_target", target.error().message()});
  request.path = std::move(target->path);
  request.query = std::move(target->query);
  request.content_type = text(message[http::field::content_type]);
  request.accept = text(message[http::field::accept]);
  request.accept_encoding = text(message[http::field::accept_encoding]);
  request.body = std::move(message.body());
  // curl calls every body a form; what is pushed is exposition text all the same.
  const bool is_form = is_media_type(request.content_type, "application/x-www-form-urlencoded") &&
                       request.path != "/api/v1/push";
  if (is_form) {
    auto form = parse_form(request.body);
    if (!form) return std::unexpected(Refusal{400, "bad_form", form.error().message()});
    std::ranges::move(*form, std::back_inserter(request.query));
  }
  return request;
}

template <class Stream>
void Session<Stream>::handle() {
  end_wait();
  ++requests_;
  const bool keep =
      parser_->get().keep_alive() && requests_ < settings_->http.max_requests_per_connection;
  auto request = make_request();
  if (!request) {
    const auto& refusal = request.error();
    state_->metrics.count_refused(refusal.reason);
    return write(error(refusal.status, refusal.reason, refusal.message), false);
  }
  if (!caller_) {
    state_->metrics.count_refused("bad_token");
    auto response = error(401, "unauthorized", "the token is not known");
    response.headers.emplace_back("WWW-Authenticate",
                                  "Bearer realm=\"nexus-agent\", error=\"invalid_token\"");
    return write(std::move(response), keep);
  }
  request->caller = *std::move(caller_);
  // While a handler runs no operation is pending; the deadline is set anew before the write.
  stream_.expires_never();
  gone_ = std::make_shared<std::atomic<bool>>(false);
  request->cancelled = [gone = gone_] { return gone->load(std::memory_order_relaxed); };
  answering_ = true;
  dispatch(state_, std::move(*request), [self = this->shared_from_this(), keep](Response response) {
    self->write(std::move(response), keep);
  });
  if (answering_) watch();
}

template <class Stream>
void Session<Stream>::watch() {
  watching_ = true;
  stream_.socket().async_wait(Stream::socket_type::wait_read, [self = this->shared_from_this(),
                                                               gone = gone_](beast::error_code ec) {
    // Another request that has come already is no sign of anything: it is left where it is.
    if (ec || !self->answering_ || gone != self->gone_) return;
    char next = 0;
    const auto got =
        ::recv(self->stream_.socket().native_handle(), &next, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR))) return;
    self->state_->metrics.count_refused("client_gone");  // before anybody acts on it
    gone->store(true, std::memory_order_relaxed);
  });
}

template <class Stream>
void Session<Stream>::write(Response response, bool keep_alive) {
  end_wait();
  answering_ = false;
  if (std::exchange(watching_, false)) {
    beast::error_code ignored;
    stream_.socket().cancel(ignored);
  }
  // The end of HTTP/1.0's connection is the end of an answer of unknown length.
  const bool has_end = !response.rest || head_only_ || parser_->get().version() >= 11;
  keep_alive_ = keep_alive_ && keep_alive && has_end && !state_->stopping;
  state_->metrics.count_response(response.status);
  body_ = std::move(response.body);
  message_.emplace();
  message_->version(11);
  message_->result(response.status);
  message_->set(http::field::content_type, response.content_type);
  message_->set("X-Content-Type-Options", "nosniff");
  message_->set(http::field::cache_control, "no-store");
  for (const auto& [name, value] : response.headers) message_->set(name, value);
  message_->keep_alive(keep_alive_);
  // HTTP/1.0 closes unless told otherwise.
  if (keep_alive_ && parser_->get().version() < 11)
    message_->set(http::field::connection, "keep-alive");
  const bool is_whole = response.rest == nullptr;
  rest_ = head_only_ ? nullptr : std::move(response.rest);
  chunked_ = !is_whole && parser_->get().version() >= 11;
  if (is_whole) message_->content_length(body_->size());
  if (chunked_) message_->chunked(true);
  if (is_whole && !head_only_)
    message_->body() = beast::span<const char>(body_->data(), body_->size());
  serializer_.emplace(*message_);
  stream_.expires_after(settings_->http.write_timeout);
  const auto done = [self = this->shared_from_this()](beast::error_code ec, std::size_t) {
    self->on_written(ec);
  };
  if (is_whole && !head_only_) {
    http::async_write(stream_, *serializer_, done);
  } else if (head_only_) {
    http::async_write_header(stream_, *serializer_, done);
  } else {
    http::async_write_header(stream_, *serializer_,
                             [self = this->shared_from_this()](beast::error_code ec, std::size_t) {
                               if (ec) return self->on_piece(ec, 0);
                               self->write_first_piece();
                             });
  }
}

template <class Stream>
void Session<Stream>::write_first_piece() {
  written_ = 0;
  piece_ = chunked_ ? kChunkHead : std::string_view();
  piece_ += *body_;
  body_.reset();
  if (chunked_) end_chunk(piece_);
  write_piece();
}

template <class Stream>
void Session<Stream>::write_piece() {
  namespace asio = boost::asio;
  asio::async_write(stream_, asio::buffer(piece_),
                    [self = this->shared_from_this()](beast::error_code ec, std::size_t bytes) {
                      self->on_piece(ec, bytes);
                    });
}

template <class Stream>
void Session<Stream>::on_piece(beast::error_code ec, std::size_t bytes) {
  if (ec || !rest_) {
    rest_.reset();
    piece_ = {};
    return on_written(ec);
  }
  written_ += bytes;
  if (written_ >= kBytesOfDeadline) {
    written_ = 0;
    stream_.expires_after(settings_->http.write_timeout);
  }
  // Not posted to a pool that has ended, which would keep the session for ever.
  auto pass = state_->handlers.enter();
  if (!pass) {
    rest_.reset();
    return close();
  }
  boost::asio::post(
      state_->writers, [self = this->shared_from_this(), pass = *std::move(pass)]() mutable {
        const bool is_good = self->make_piece();
        auto& io = self->state_->io;
        boost::asio::post(io, [self = std::move(self), is_good] {  // which it ends on, if at all
          if (is_good) return self->write_piece();
          self->rest_.reset();
          self->close();  // in the midst of the answer, so that nobody takes it for a whole one
        });
      });
}

template <class Stream>
bool Session<Stream>::make_piece() {
  piece_ = chunked_ ? kChunkHead : std::string_view();
  bool is_more = false;
  try {
    is_more = rest_->append(piece_);
  } catch (const std::exception& exception) {
    log::error("serve", "an answer was broken off: {}", exception.what());
    return false;
  }
  if (chunked_) end_chunk(piece_);
  if (is_more) return true;
  if (chunked_) piece_ += kLastChunk;
  rest_.reset();
  return true;
}

template <class Stream>
void Session<Stream>::on_written(beast::error_code ec) {
  if (ec == beast::error::timeout) state_->metrics.timeouts.add();
  serializer_.reset();
  message_.reset();
  body_.reset();
  if (ec) return close();
  if (!keep_alive_) return linger();
  next();
}

template <class Stream>
void Session<Stream>::linger() {
  if (lingered_ == 0) {
    beast::error_code ignored;
    stream_.socket().shutdown(Stream::socket_type::shutdown_send, ignored);
    stream_.expires_after(kLinger);
    buffer_.clear();
  }
  stream_.async_read_some(
      buffer_.prepare(std::min(kLingerChunk, buffer_.max_size())),
      [self = this->shared_from_this()](beast::error_code ec, std::size_t bytes) {
        self->lingered_ += bytes;
        if (ec || self->lingered_ > kLingerBytes) return self->close();
        self->linger();
      });
}

template <class Stream>
void Session<Stream>::close() {
  end_wait();
  beast::error_code ignored;
  stream_.socket().shutdown(Stream::socket_type::shutdown_both, ignored);
  stream_.close();
}

template class Session<boost::beast::tcp_stream>;
template class Session<LocalStream>;

}  // namespace nexus::serve
