// Whether a text is well-formed XML, as far as JUnit reports use it: one root, tags that match, quoted
// attributes, the five entities and character references, no control characters.
#pragma once

#include <cctype>
#include <string>
#include <string_view>
#include <vector>

namespace normproof::ci {

class XmlChecker {
public:
  explicit XmlChecker(std::string_view text) : rest_(text) {}

  /// Empty, or what is wrong.
  std::string run() {
    if (rest_.starts_with("<?xml"))
      rest_.remove_prefix(rest_.find("?>") + 2);
    while (error_.empty() && !rest_.empty())
      rest_.front() == '<' ? tag() : text();
    if (error_.empty() && !open_.empty())
      error_ = "not closed: " + open_.back();
    if (error_.empty() && roots_ != 1)
      error_ = "no single root";
    return error_;
  }

private:
  std::string name() {
    std::string out;
    while (!rest_.empty() &&
           (std::isalnum(static_cast<unsigned char>(rest_.front())) != 0 || rest_.front() == '_'))
      out += take();
    if (out.empty())
      error_ = "a name is missing at " + std::string(rest_.substr(0, 20));
    return out;
  }

  char take() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }

  void blanks() {
    while (!rest_.empty() && std::isspace(static_cast<unsigned char>(rest_.front())) != 0)
      take();
  }

  /// Characters up to one of `ends`.
  void characters(std::string_view ends) {
    while (error_.empty() && !rest_.empty() && ends.find(rest_.front()) == std::string_view::npos) {
      const auto c = static_cast<unsigned char>(take());
      if (c == '<' || (c < 0x20 && c != '\n' && c != '\t'))
        error_ = "a character that must not stand here";
      if (c == '&') {
        const std::string_view entity = rest_.substr(0, rest_.find(';'));
        if (entity != "amp" && entity != "lt" && entity != "gt" && entity != "quot" && entity != "apos" &&
            entity != "#10")
          error_ = "unknown entity " + std::string(entity.substr(0, 20));
      }
    }
  }

  void text() {
    const std::string_view before = rest_;
    characters("<");
    const std::string_view read = before.substr(0, before.size() - rest_.size());
    if (open_.empty() && read.find_first_not_of(" \n") != std::string_view::npos)
      error_ = "text outside the root";
  }

  void tag() {
    take();
    const bool closing = !rest_.empty() && rest_.front() == '/';
    if (closing)
      take();
    const std::string tag_name = name();
    if (closing) {
      if (open_.empty() || open_.back() != tag_name)
        error_ = "closes what is not open: " + tag_name;
      else
        open_.pop_back();
    } else {
      roots_ += open_.empty() ? 1 : 0;
      open_.push_back(tag_name);
    }
    for (blanks(); error_.empty() && !rest_.empty() && rest_.front() != '>' && rest_.front() != '/';
         blanks()) {
      name();
      if (!rest_.starts_with("=\"")) {
        error_ = "an attribute without a value";
        return;
      }
      rest_.remove_prefix(2);
      characters("\"");
      if (!rest_.empty())
        take();
    }
    if (!rest_.empty() && rest_.front() == '/') {
      take();
      if (!open_.empty())
        open_.pop_back();
    }
    if (error_.empty() && (rest_.empty() || take() != '>'))
      error_ = "a tag that does not end";
  }

  std::string_view rest_;
  std::string error_;
  std::vector<std::string> open_;
  int roots_ = 0;
};

inline std::string xml_error(std::string_view text) {
  return XmlChecker(text).run();
}

}  // namespace normproof::ci
