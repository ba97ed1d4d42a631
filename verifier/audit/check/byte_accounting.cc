/// score.byte_accounting: val_bpb · ln 2 / val_loss is tokens per byte. The validation text is the same for everybody, so tokens divided by
/// that ratio must give its bytes, whatever the tokenizer.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "verifier/audit/check/checks.h"
#include "verifier/audit/check/validation_split.h"
#include "verifier/audit/read/log_lines.h"

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
  if (!s.val_loss || !s.val_bpb || *s.val_loss <= 0 || *s.val_bpb <= 0 || s.bpb_decimals < 3 || s.loss_decimals < 3) return std::nullopt;
  return Ratio{&s, *s.val_bpb * kLn2 / *s.val_loss,
               0.5 * std::pow(10, -s.bpb_decimals) / *s.val_bpb + 0.5 * std::pow(10, -s.loss_decimals) / *s.val_loss};
}

bool near(double value, double expected, double relative_error) { return std::abs(value / expected - 1) <= kRelativeSlack + relative_error; }

enum class Fit { kText, kLess, kMore };

/// Bytes that a ratio implies, against the two exports of the validation text.
Fit fit_of(double bytes, double relative_error) {
  for (const double text : kValidationTextBytes) {
    if (near(bytes, text, relative_error)) return Fit::kText;
  }
  return bytes < kValidationTextBytes[0] ? Fit::kLess : Fit::kMore;
}

}  // namespace

void check_byte_accounting(const Facts& facts, const ClaimMatch& match, verifier::Report& report) {
  Check check{"score.byte_accounting", Verdict::kPass, "", "", "", {}};
  const std::string reported = tag_key(match.tag);
  // Per run: the reported line and the last line of the plain model, which is a step or another intermediate value.
  int judged = 0;
  std::string first_message;
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
    std::optional<Ratio> plain, scored;
    for (const ScoreLine& s : run.scores) {
      const auto r = ratio_of(s);
      if (!r) continue;
      if (s.diagnostic) plain = r;
      if (!reported.empty() ? tag_key(s.tag) == reported : !s.diagnostic) scored = r;
    }
    if (!scored && !plain) continue;
    const Ratio& main = scored ? *scored : *plain;
    if (!run.val_tokens && !split) {
      // Without a token count only the ratios of the known tokenizers can be recognised.
      const bool known = std::any_of(kKnownSplits.begin(), kKnownSplits.end(), [&](const KnownSplit& k) {
        return near(main.tokens_per_byte, static_cast<double>(k.tokens) / kValidationTextBytes[0], main.relative_error + 1e-3);
      });
      judged += known;
      continue;
    }
    const double tokens = run.val_tokens ? static_cast<double>(run.val_tokens->value) : static_cast<double>(split->known->tokens);
    const double bytes = tokens / main.tokens_per_byte;
    ++judged;
    const Fit fit = fit_of(bytes, main.relative_error);
    if (fit == Fit::kText) continue;
    const bool plain_fits = plain && fit_of(tokens / plain->tokens_per_byte, plain->relative_error) == Fit::kText;
    const bool full = split && split->full;
    if (plain_fits && scored) {
      worse(Verdict::kReview, fmt::format("val_loss {} and val_bpb {} of \"{}\" do not belong together (the model's own lines do): of what is this val_bpb the score?",
                                          *main.line->val_loss, *main.line->val_bpb, main.line->tag),
            *main.line, bytes);
    } else if (full || fit == Fit::kMore) {
      const std::string message = fmt::format("val_bpb counts {:.1f} % {} bytes than the validation text has ({:.4f} tokens per byte over {:.0f} tokens)",
                                              std::abs(bytes / kValidationTextBytes[0] - 1) * 100, fit == Fit::kMore ? "more" : "fewer", main.tokens_per_byte, tokens);
      // More bytes make the score better than it is. Only a known tokenizer leaves no other explanation.
      if (full && fit == Fit::kMore) {
        worse(Verdict::kFail, message, *main.line, bytes);
      } else {
        worse(Verdict::kReview, message + ": which text and which byte table?", *main.line, bytes);
      }
    } else if (run.val_tokens) {
      worse(Verdict::kReview, fmt::format("{:.0f} tokens at {:.4f} tokens per byte are {:.0f} bytes, not the whole validation text: which part was scored?", tokens,
                                          main.tokens_per_byte, bytes),
            *main.line, bytes);
    }
  }
  if (check.status == Verdict::kPass) {
    if (judged == 0) {
      check.status = Verdict::kSkip;
      check.message = "no log prints val_loss, val_bpb and the number of validation tokens";
    } else {
      check.message = fmt::format("val_loss and val_bpb of {} runs imply the bytes of the validation text", judged);
    }
  }
  report.checks.push_back(std::move(check));
}

}  // namespace fairway::audit
