// One HTTP/1.1 connection: read a request under its deadlines, gate, authenticate, dispatch, write,
// again.
//
// All of it runs on the server's one io thread; there is never more than one outstanding operation
// on the stream. A new parser for every request, one buffer for the whole connection. Deadlines are
// absolute: one for the first byte, one for the rest of the request, one for the answer (or each 8
// MiB of it); a peer that trickles bytes does not move them. Instantiated for TCP and unix sockets
// in session.cpp.
#pragma once

#include <atomic>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/span_body.hpp>
#include <boost/beast/http/string_body.hpp>
#include <expected>
#include <memory>
#include <optional>

#include "serve/gate.hpp"
#include "serve/state.hpp"

namespace nexus::serve {

using LocalStream = boost::beast::basic_stream<boost::asio::local::stream_protocol>;

template <class Stream>
class Session final : public Connection, public std::enable_shared_from_this<Session<Stream>> {
 public:
  Session(std::shared_ptr<ServerState> state, typename Stream::socket_type socket, Peer peer);
  ~Session() override;

  void start();
  void shut_down() override;
  void abort() override { stream_.close(); }

 private:
  using Body = boost::beast::http::span_body<const char>;

  /// Waits for the first byte of the next request, then reads its head.
  void next();
  void read_head();
  void on_head(boost::beast::error_code ec);
  void handle();
  /// Answers what could not be read, where an answer can still be sent, and closes.
  void refuse_read(boost::beast::error_code ec);
  void write(Response response, bool keep_alive);
  /// The answer in pieces: each is made on a thread of its own while no operation is pending, and
  /// the next one when it has been written.
  void write_first_piece();
  void write_piece();
  void on_piece(boost::beast::error_code ec, std::size_t bytes);
  /// On the thread of `writers`; false when it cannot be made.
  [[nodiscard]] bool make_piece();
  void on_written(boost::beast::error_code ec);
  /// Ends the sending side and reads what the peer still sends for a moment, so that our last
  /// answer is not lost to a reset.
  void linger();
  void close();
  /// While a handler runs on a pool: notices that the client is gone, so that a query can stop.
  void watch();
  /// The deadline of a request that has begun. Not the stream's own timer: that one closes the
  /// stream, and a 408 could not be sent any more.
  void await_rest();
  void cancel_read_after(Millis time);
  void end_wait();

  [[nodiscard]] std::expected<Request, Refusal> make_request();

  const std::shared_ptr<ServerState> state_;
  Stream stream_;
  boost::asio::steady_timer read_deadline_;
  std::uint64_t read_turn_ = 0;  // tells a deadline that fired too late from the present one
  bool reading_ = false;         // the deadline is running
  bool too_slow_ = false;        // it has passed
  const Peer peer_;
  std::optional<Caller> caller_;  // of the present request; nothing: an unknown token
  boost::beast::flat_buffer buffer_;
  std::shared_ptr<const Settings> settings_;
  std::optional<boost::beast::http::request_parser<boost::beast::http::string_body>> parser_;
  std::shared_ptr<const std::string> body_;  // kept alive while it is written
  std::optional<boost::beast::http::response<Body>> message_;
  std::optional<boost::beast::http::response_serializer<Body>> serializer_;
  std::shared_ptr<BodySource> rest_;  // what of the present answer has not been made yet
  std::string piece_;                 // on its way; of `writers` while one is made
  std::size_t written_ = 0;           // bytes since the deadline was set
  bool chunked_ = false;              // pieces say how long they are: not in HTTP/1.0
  std::uint32_t requests_ = 0;
  std::size_t lingered_ = 0;  // bytes thrown away while closing
  bool head_only_ = false;
  bool between_requests_ = false;  // nothing of a request has been read as a whole head yet
  bool keep_alive_ = true;
  bool answering_ = false;                   // a handler runs
  bool watching_ = false;                    // and the socket is waited on meanwhile
  std::shared_ptr<std::atomic<bool>> gone_;  // of the present request
};

extern template class Session<boost::beast::tcp_stream>;
extern template class Session<LocalStream>;

}  // namespace nexus::serve
