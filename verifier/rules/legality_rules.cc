#include "verifier/rules/groups.h"

namespace fairway::verifier {

std::span<const Rule> legality_rules() {
  static const Rule kRules[] = {
      {"legality.score_first", "A token is scored before anything learns from it",
       "No gradient step uses a validation token before that token's final score is in the sum. One epoch is enough to "
       "break it, also "
       "when the weights are frozen and quantised afterwards.",
       "A model trained on the tokens it is then tested on is no predictor: its score says how well it memorised the "
       "test.",
       "Score a chunk under no-grad with weights made from earlier chunks, add to the sum, then train on it for any "
       "number of epochs, and "
       "never after the last chunk. Adapters per document with a reset, and phased training on documents already "
       "scored, are the same idea.",
       "README and #402", "https://github.com/openai/parameter-golf/issues/402"},
      {"legality.single_pass", "The first score of a token is its only score",
       "Each token is scored once, in one left-to-right pass, and that score is reported: no scoring in the last of "
       "several epochs, no "
       "second evaluation after training at test time, no temperature fitted on tokens that are scored again, no cache "
       "filled from the "
       "whole stream before the pass that counts.",
       "A second pass is made by a model that has already read the answers.", "Report the score of the first pass.",
       "#568 and #991", "https://github.com/openai/parameter-golf/issues/568"},
      {"legality.normalized", "The prediction is a probability distribution, fixed before the target is known",
       "For each position the probabilities of all tokens of a fixed alphabet sum to one, and they do not depend on "
       "the true token. A hashed "
       "n-gram table looked up with a hash of context and target, and a mixture applied only where it helps the true "
       "token, break this.",
       "A code length exists only for a distribution. Collisions in hashed tables have given implied sums of 277 "
       "instead of 1.",
       "Tilting a hinted token with renormalisation; mixtures of normalised experts whose weights change after "
       "scoring; hashed embeddings of "
       "input tokens.",
       "#779 and the closures after it", "https://github.com/openai/parameter-golf/issues/779"},
      {"legality.causal", "A prediction depends on earlier tokens only",
       "The distribution of position t depends on the artifact and on tokens before t. Gates that read the token being "
       "predicted, masks that "
       "let later positions in, and statistics over the whole validation stream break this.",
       "Any look ahead leaks the answer into the prediction.",
       "Hints made from tokens before t; masks that also stop at document starts.",
       "#1017; found in #1797 and #1967, corrected in #1851 and #1855",
       "https://github.com/openai/parameter-golf/issues/1017"},
      {"legality.slot", "Nothing is optimised on the positions it is scored on",
       "A bias, delta or other parameter made at evaluation is not fitted to the loss of the positions whose score it "
       "changes.",
       "Fitting to a span and scoring the same span uses its targets before they are scored: every tested pair of "
       "positions influenced each "
       "other. Optimised on exactly the span that is scored, it fails; where a part of the optimised span is scored, "
       "maintainers have not ruled, so a person decides.",
       "The context-only form: the span optimised and the span scored are disjoint, the first before the second.",
       "open: #1240 and #1336", "https://github.com/openai/parameter-golf/issues/1336", Level::kWarning},
      {"legality.calibration", "Quantisation and mixing are not calibrated on what they may not see",
       "Calibration for quantisation reads no validation tokens, and training tokens only within the 600 s of "
       "training; temperatures and "
       "mixing weights are not fitted on validation scores of the same run.",
       "Calibration is training: on validation data it leaks the test, after the time is up it exceeds the budget.",
       "Text the model generated itself; training data inside the time reserved for it.",
       "README; #1019, #1204 and #1285", "https://github.com/openai/parameter-golf/pull/1204"},
  };
  return kRules;
}

}  // namespace fairway::verifier
