#include "serve/routes/body.hpp"

#include <utility>

namespace nexus::serve {
namespace {

using knowledge::promql::Rows;

class RowsBody final : public BodySource {
 public:
  RowsBody(std::string head, Rows rows, const RowFormat& format, std::string tail)
      : head_(std::move(head)), tail_(std::move(tail)), rows_(std::move(rows)), format_(format) {}

  bool append(std::string& out) override {
    const std::size_t full = out.size() + kPieceBytes;
    if (row_ == 0 && place_ == 0) out += std::exchange(head_, {});
    for (; row_ < rows_.size(); ++row_) {
      if (place_ == 0) {
        if (row_ > 0) out += ',';
        format_.begin(out, rows_.labels(row_));
        is_first_ = true;
      }
      do {
        constexpr std::size_t kAtOnce = 512;
        place_ = rows_.read(row_, place_, kAtOnce, column_);
        for (std::size_t i = 0; i < column_.size(); ++i) {
          if (!std::exchange(is_first_, false)) out += ',';
          format_.sample(out, column_.times[i], column_.values[i]);
        }
      } while (place_ != 0 && out.size() < full);
      if (place_ != 0) return true;  // in the midst of a row
      out += format_.end;
      if (out.size() >= full && row_ + 1 < rows_.size()) {
        ++row_;
        return true;
      }
    }
    out += tail_;
    return false;
  }

 private:
  std::string head_;
  const std::string tail_;
  const Rows rows_;
  const RowFormat& format_;
  std::size_t row_ = 0;
  std::size_t place_ = 0;  // in the row, of its steps
  bool is_first_ = true;   // no sample of the row has been written
  knowledge::Column column_;
};

/// Keeps the hold for as long as its source.
class HeldBody final : public BodySource {
 public:
  HeldBody(std::shared_ptr<BodySource> source, std::shared_ptr<base::MemoryHold> hold)
      : hold_(std::move(hold)), source_(std::move(source)) {}
  bool append(std::string& out) override { return source_->append(out); }

 private:
  const std::shared_ptr<base::MemoryHold> hold_;  // goes after what it is for
  const std::shared_ptr<BodySource> source_;
};

}  // namespace

Response json_of(std::shared_ptr<BodySource> source, std::shared_ptr<base::MemoryHold> hold) {
  struct Held {
    std::shared_ptr<base::MemoryHold> hold;
    std::string text;
  };
  auto held = std::make_shared<Held>();
  bool is_more = true;
  while (is_more && held->text.size() < kWholeBytes) is_more = source->append(held->text);
  Response response;
  if (is_more) {
    response.rest = std::make_shared<HeldBody>(std::move(source), std::move(hold));
  } else {
    source.reset();
    if (hold) hold->shrink_to(held->text.capacity());
    held->hold = std::move(hold);
  }
  response.body = std::shared_ptr<const std::string>(held, &held->text);
  return response;
}

std::shared_ptr<BodySource> body_of(std::string head, Rows rows, const RowFormat& format,
                                    std::string tail) {
  return std::make_shared<RowsBody>(std::move(head), std::move(rows), format, std::move(tail));
}

}  // namespace nexus::serve
