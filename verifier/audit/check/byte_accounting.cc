/// score.byte_accounting: val_bpb · ln 2 / val_loss is tokens per byte. The validation text is the same for everybody,
/// so tokens divided by that ratio must give its bytes, whatever the tokenizer.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "verifier/audit/check/byte_tables.h"
#include "verifier/audit/check/checks.h"
#include "verifier/audit/check/validation_split.h"
#include "verifier/audit/read/log_lines.h"
#include "verifier/audit/read/text.h"

namespace fairway::audit {

using verifier::Check;
using verifier::Verdict;

namespace {

constexpr double kLn2 = 0.69314718055994530942;
/// Evaluators leave out or repeat up to a window of targets, and tokenizers drop some white space: 0.1 % has been seen.
constexpr double kRelativeSlack = 3e-3;

struct Ratio {
  const ScoreLine* line;
  double tokens_per_byte;
  double relative_error;  ///< from the digits printed
};

std::optional<Ratio> ratio_of(const ScoreLine& s) {
  if (!s.val_loss || !s.val_bpb || *s.val_loss <= 0 || *s.val_bpb <= 0 || s.bpb_decimals < 3 || s.loss_decimals < 3)
    return std::nullopt;
  return Ratio{&s, *s.val_bpb * kLn2 / *s.val_loss,
               0.5 * std::pow(10, -s.bpb_decimals) / *s.val_bpb + 0.5 * std::pow(10, -s.loss_decimals) / *s.val_loss};
}

bool near(double value, double expected, double relative_error) {
  return std::abs(value / expected - 1) <= kRelativeSlack + relative_error;
}

enum class Fit { kText, kLess, kMore };

/// Bytes that a ratio implies, against the two exports of the validation text.
Fit fit_of(double bytes, double relative_error) {
  for (const double text : kValidationTextBytes) {
    if (near(bytes, text, relative_error)) return Fit::kText;
  }
  return bytes < kValidationTextBytes[0] ? Fit::kLess : Fit::kMore;
}

/// A table of bytes per token that counts the leading space of a piece, in a file whose evaluation adds that space
/// again.
void check_table_code(const Facts& facts, bool logs_fit, Check& check) {
  if (logs_fit) return;
  for (const SourceFile& s : facts.sources) {
    if (s.language != Language::kPython || s.text.find("has_leading_space") == std::string::npos) continue;
    int64_t counted = 0, added = 0;
    Lines lines(s.text);
    for (std::string_view line; lines.next(line);) {
      const std::string_view code = trim(line.substr(0, line.find('#')));
      const size_t encoded = code.find(".encode(");
      const bool of_rest = code.find("[1:]") != std::string_view::npos && encoded != std::string_view::npos &&
                           code.find("+ 1", encoded) != std::string_view::npos;
      if (counted == 0 && of_rest && code.find("bytes") < code.find('=')) counted = lines.number();
      const size_t plus = code.find("+=");
      const bool adds = plus != std::string_view::npos &&
                        code.find("has_leading_space", plus) != std::string_view::npos &&
                        code.find("boundary", plus) != std::string_view::npos;
      if (counted != 0 && added == 0 && adds) added = lines.number();
    }
    if (counted == 0 || added == 0) continue;
    check.status = Verdict::kFail;
    check.message =
        "the table counts the leading space of a piece as a byte, and the evaluation adds it again: val_bpb is too low";
    check.evidence = {{s.name, counted, 0}, {s.name, added, 0}};
    return;
  }
}

}  // namespace

void check_byte_accounting(const Facts& facts, const ClaimMatch& match, verifier::Report& report) {
  Check check{"score.byte_accounting", Verdict::kPass, "", "", "", {}};
  const std::string reported = tag_key(match.tag);
  int judged = 0;
  bool counts_more = false;
  auto worse = [&](Verdict v, const std::string& message, const ScoreLine& line, double bytes) {
    const bool heavier = v == Verdict::kFail ? check.status != Verdict::kFail : check.status == Verdict::kPass;
    if (heavier) {
      check.status = v;
      check.message = message;
      check.measured = fmt::format("{:.0f} bytes", bytes);
      check.claimed = fmt::format("{:.0f} bytes", kValidationTextBytes[0]);
    }
    if (v == check.status && check.evidence.size() < 8) check.evidence.push_back({line.place.file, line.place.line, 0});
  };
  for (const LoggedRun& run : facts.runs) {
    const std::optional<ValidationSplit> split = split_of(run);
    // The line judged: the reported one, else the last final one, else the last of all.
    std::optional<Ratio> main;
    int main_rank = -1;
    for (const ScoreLine& s : run.scores) {
      const auto r = ratio_of(s);
      const int rank = !reported.empty() && tag_key(s.tag) == reported ? 2 : s.diagnostic ? 0 : 1;
      if (!r || rank < main_rank) continue;
      main = r;
      main_rank = rank;
    }
    if (!main) continue;
    if (!run.val_tokens) {
      // Without a token count only the ratios of the known tokenizers can be recognised.
      judged += std::any_of(kKnownSplits.begin(), kKnownSplits.end(), [&](const KnownSplit& k) {
        return near(main->tokens_per_byte, static_cast<double>(k.tokens) / kValidationTextBytes[0],
                    main->relative_error);
      });
      continue;
    }
    const double tokens = static_cast<double>(run.val_tokens->value), bytes = tokens / main->tokens_per_byte;
    ++judged;
    const Fit fit = fit_of(bytes, main->relative_error);
    if (fit == Fit::kText) continue;
    counts_more = counts_more || fit == Fit::kMore;
    const bool other_fits = std::any_of(run.scores.begin(), run.scores.end(), [&](const ScoreLine& s) {
      const auto r = ratio_of(s);
      return r && fit_of(tokens / r->tokens_per_byte, r->relative_error) == Fit::kText;
    });
    if (other_fits) {
      worse(Verdict::kReview,
            fmt::format("val_loss {} and val_bpb {} of \"{}\" do not belong together (other lines of the run do): of "
                        "what is this val_bpb the score?",
                        *main->line->val_loss, *main->line->val_bpb, main->line->tag),
            *main->line, bytes);
    } else if (split || fit == Fit::kMore) {
      const std::string message = fmt::format(
          "val_bpb counts {:.1f} % {} bytes than the validation text has ({:.4f} tokens per byte over {:.0f} tokens)",
          std::abs(bytes / kValidationTextBytes[0] - 1) * 100, fit == Fit::kMore ? "more" : "fewer",
          main->tokens_per_byte, tokens);
      // More bytes make the score better than it is. Several lines of a run that agree on them leave a wrong table as
      // the only explanation.
      const auto agreeing = std::count_if(run.scores.begin(), run.scores.end(), [&](const ScoreLine& s) {
        const auto r = ratio_of(s);
        return r && near(r->tokens_per_byte, main->tokens_per_byte, r->relative_error + main->relative_error);
      });
      const bool shown = split && fit == Fit::kMore && agreeing >= 2;
      worse(shown ? Verdict::kFail : Verdict::kReview,
            shown ? message : message + ": which text, which byte table, and are loss and bpb of one model?",
            *main->line, bytes);
    } else {
      worse(Verdict::kReview,
            fmt::format("{:.0f} tokens at {:.4f} tokens per byte are {:.0f} bytes, not the whole validation text: "
                        "which part was scored?",
                        tokens, main->tokens_per_byte, bytes),
            *main->line, bytes);
    }
  }
  judge_byte_tables(facts, judged > 0 && check.status == Verdict::kPass, counts_more, check);
  if (check.status != Verdict::kFail) check_table_code(facts, judged > 0 && check.status == Verdict::kPass, check);
  if (check.status == Verdict::kPass) {
    if (judged == 0) {
      check.status = Verdict::kSkip;
      check.message = "no log prints val_loss, val_bpb and the number of validation tokens" + check.message;
    } else {
      check.message =
          fmt::format("val_loss and val_bpb of {} runs imply the bytes of the validation text", judged) + check.message;
    }
  }
  report.add(std::move(check));
}

}  // namespace fairway::audit
