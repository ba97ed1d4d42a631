#include "verifier/rules/groups.h"

namespace fairway::verifier {

std::span<const Rule> record_rules() {
  static constexpr const char* kReadme = "the challenge's README, section on submissions";
  static constexpr const char* kReadmeUrl = "https://github.com/openai/parameter-golf/blob/main/README.md";
  static constexpr const char* kAudits = "the maintainers' audits of the leaderboard (#1902, #2071, #2124)";
  static constexpr const char* kAuditsUrl = "https://github.com/openai/parameter-golf/issues/1902";
  static const Rule kRules[] = {
      {"structure.files", "The record folder is complete",
       "The folder holds README.md, submission.json, the training script with its helpers, and one train log per seed, "
       "as plain files inside the folder.",
       "What is missing cannot be checked by anybody. A link, an absolute path or a file outside the folder is not "
       "part of the record.",
       "Further files are welcome if they are needed to run the script; files of code count towards the size.", kReadme,
       kReadmeUrl},
      {"structure.json", "submission.json can be read",
       "submission.json is one valid JSON object with a numeric val_bpb.",
       "Tables and audits are made from it; a file that only a lenient reader understands is read differently by "
       "different readers.",
       "Keys beyond the usual ones are fine.", kReadme, kReadmeUrl},
      {"artifact.bytes", "Code and model fit in 16,000,000 bytes",
       "Code bytes plus compressed model bytes are at most 16,000,000 (decimal), for every seed.",
       "The size limit is the challenge. 16 MiB is 16,777,216 bytes, so a total read as MiB hides an overrun of up to "
       "five percent.",
       "Minified and compressed code is accepted; helper files that the script needs count.", kReadme, kReadmeUrl},
      {"time.train", "Training takes at most 600 seconds on 8 x H100",
       "The logged training time is at most 600 s on eight H100; the step that is running when the time is up may end.",
       "Time is the second limit of the challenge, and a longer run is a better model.",
       "Compilation and warm-up outside the timer, if they change no weight that is kept.", kReadme, kReadmeUrl},
      {"time.eval", "Evaluation takes at most 600 seconds on 8 x H100",
       "All stages of the evaluation that lead to the reported score together take at most 600 s on eight H100.",
       "Adaptation during evaluation buys score with time; stages reported one by one hide the sum.",
       "Diagnostic evaluations that do not lead to the reported score are not counted.", kReadme, kReadmeUrl},
      {"score.claim", "The claimed score is the one the logs print",
       "val_bpb of submission.json is the mean over the seeds of one final score printed in the logs.",
       "A best seed, an intermediate value or a number that no log prints is not the score of the submission.",
       "Say in the README which line is the score; rounding to the printed digits is fine.", kAudits, kAuditsUrl},
      {"score.byte_accounting", "Bits per byte are counted over the bytes of the original text",
       "val_bpb = val_loss / ln 2 x tokens / bytes, with the UTF-8 bytes of the original validation text; so val_bpb "
       "ln 2 / val_loss "
       "is the constant of the tokenizer and the validation split.",
       "Counting a leading space twice, a byte token as three bytes or another text's bytes lowers bpb without a "
       "better model.",
       "The baseline's table; side files with the bytes of each token for a lossless transform of the text.",
       "README rule on tokenizers; #1545, #1632 and the corrections after them", kReadmeUrl},
      {"data.split", "Training and validation data are kept apart",
       "No training on validation documents, none stored in the artifact, and the whole validation split is scored.",
       "The first 50,000 documents are the test. A model that has seen them, or is tested on a part of them, has no "
       "comparable score.",
       "Adapting to validation tokens after they were scored; tables made from training data if they are in the "
       "artifact.",
       "README; #44 and #2127", kReadmeUrl},
      {"evidence.seeds", "The score is shown on several seeds",
       "At least three runs of one configuration that differ in the seed only, each with its log.",
       "Runs of one script differ by about .0006 bpb; one lucky run is no evidence of an improvement.",
       "Changes that only make the same computation faster need no significance.", kAudits, kAuditsUrl,
       Level::kWarning},
      {"evidence.logs", "Each run has a complete log",
       "Each seed has a log from the first step to the final score, with sizes and times, of the code that is "
       "submitted.",
       "A log that ends before the final evaluation, or belongs to other code, shows nothing about the claim.", "",
       kAudits, kAuditsUrl, Level::kWarning},
      {"evidence.claims", "submission.json and README agree with the logs",
       "Bytes, times, steps, seeds and scores in submission.json and README.md are those of the logs.",
       "A claim that the evidence contradicts is either a mistake or something left out; both need a correction.", "",
       kAudits, kAuditsUrl, Level::kWarning},
      {"stats.significance", "The improvement is larger than chance",
       "The mean over seeds is lower than the baseline's by at least .005 nats with p < .01 in a one-sided test. "
       "Fairway tests with Welch's "
       "t-test against the baseline's seeds, once with no margin and once with .005 nats per token, and names the "
       "unit.",
       "Seeds alone move a score by about .0006 bpb, so small differences of few runs are often noise.",
       "Improvements of speed alone are exempt from the margin. Maintainers later admitted rows at p < .25 against the "
       "frontier.",
       "README; #1902 and #2146", kReadmeUrl, Level::kWarning},
  };
  return kRules;
}

}  // namespace fairway::verifier
