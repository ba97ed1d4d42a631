/// Text from untrusted files made safe for a terminal, XML, HTML and Markdown.
///
/// Goals: every byte string comes out, as valid UTF-8 in which nothing acts: no terminal escapes, no invisible or
/// direction-changing characters, no markup, no links, no mentions. Non-goal: telling a written-out "\x1b" from an
/// escaped one; reports in JSON are exact.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fairway::verifier {

/// One line of valid UTF-8. A line end or tab becomes "\n", "\r", "\t"; a byte that is no UTF-8 "\xff"; a control,
/// format (bidirectional, zero-width) or non-character "\u{202e}". At most `max_bytes` of `text` are shown, then how
/// many were left out.
std::string visible(std::string_view text, size_t max_bytes = 4096);

/// visible() with &, <, >, " and ' as entities: for text and attribute values of XML and HTML.
std::string markup_escape(std::string_view text, size_t max_bytes = 4096);

/// visible() as a Markdown code span, which holds any text and makes no link of it. Empty: "". Inside a table '|' needs
/// a backslash more.
std::string markdown_code(std::string_view text, size_t max_bytes = 4096);

/// visible() as Markdown prose: words of letters, digits and plain punctuation stand as they are, all others in code
/// spans. Not for the start of a line, where punctuation makes lists and headings.
std::string markdown_prose(std::string_view text, size_t max_bytes = 4096);

/// A relative path as a URI reference (RFC 3986): every byte outside the unreserved characters and '/' percent-encoded.
/// Exact.
std::string uri_path(std::string_view path);

/// Code points of valid UTF-8.
size_t width_columns(std::string_view text);

/// Lines of at most `width_columns` code points, broken at blanks; a longer word is cut. At least one line.
std::vector<std::string> wrap(std::string_view text, int width_columns);

}  // namespace fairway::verifier
