#include "verifier/rules/groups.h"

namespace fairway::verifier {

std::span<const Rule> causality_rules() {
  static constexpr const char* kUrl = "https://github.com/openai/parameter-golf/issues/1017";
  static constexpr const char* kSource = "issue #1017: causal, normalised, scored before any update, one pass";
  static constexpr const char* kScoreFirst =
      "Score a chunk with weights made from earlier chunks, then train on it; reset per-document adapters; never train before the score is final.";
  static const Rule kRules[] = {
      {"trace.chain", "The score trace is whole and belongs to this run",
       "Every event's link follows from the event before it, every state digest from the events, header and totals from the record.",
       "A trace that was cut, reordered, edited or taken from another run says nothing about this score.", "Keep trace.bin as `fairway train` wrote it.",
       "engine/eval/TRACE.md", ""},
      {"trace.replay", "Scoring again writes the recorded trace", "The trace of scoring the artifact again equals the recorded one byte by byte.",
       "Whoever can write a consistent trace can lie in it; only doing the work again shows that it is true.", "", "engine/eval/TRACE.md", ""},
      {"trace.order", "Tokens are scored in order", "Targets ascend; within each document where documents have a queue of their own.",
       "A score taken after a later token may know it.", kScoreFirst, kSource, kUrl},
      {"trace.once", "Every token is scored once", "No token is scored again by a state that has changed, and no score is thrown away for a later one.",
       "The second score of a token comes from a state that may have learned from it.", "Report the first and only pass.", kSource, kUrl},
      {"trace.sources", "Updates read only tokens already scored", "Every token that a state read was scored before, or is never scored.",
       "Training, counting or gating on a token before its score is final is training on the test set.", kScoreFirst, kSource, kUrl},
      {"trace.reset", "States of different documents are independent", "A document is scored by a state that has read nothing of another one.",
       "Documents may be scored in any order only if they cannot know of each other.", "Reset adapters and optimizer state with every document.", kSource, kUrl},
      {"trace.witness", "Distributions do not depend on the window's later tokens",
       "Windows run again with other tokens after a cut give the same distributions, bit for bit, before it.",
       "A mask, a scale or an alignment that reaches ahead leaks the tokens being predicted.", "Scales and masks of position i from positions up to i.", kSource, kUrl},
      {"probe.suffix", "Later tokens do not change earlier scores", "With random tokens after a cut, every score before it keeps its bits.",
       "It is what causal means, and it needs no account of how the score was made.", kScoreFirst, kSource, kUrl},
      {"probe.shift", "Shifted or repeated text does not change earlier scores",
       "With what follows a cut shifted by one token, or replaced by a copy of what came before, every score before it keeps its bits.",
       "Caches, counts and alignments may react to real text where they ignore random tokens.", kScoreFirst, kSource, kUrl},
      {"probe.target_swap", "Each distribution sums to one, whatever the target",
       "With every vocabulary item in a target's place in turn, the probabilities they are given sum to 1 within 1e-5.",
       "A score that was computed from the true token alone, or chosen by it, is no code length: such sums reach hundreds.",
       "Mix normalised distributions with weights that depend on earlier tokens only.", kSource, kUrl},
      {"probe.drawn_text", "Text drawn at random is not foreseen",
       "On two texts drawn from a source whose probabilities are known, a bet with the program's probabilities against the source's wins no more than chance allows.",
       "No program that predicts before it looks, and gives all tokens together at most 1, can win such a bet; one that sees its target, knows the true text by heart or "
       "mixes in what is no probability does.",
       "Mix normalised distributions, made from earlier tokens only.", kSource, kUrl},
      {"probe.normalized", "Every distribution handed over sums to one",
       "Each distribution that the program commits before it gets the token sums to 1 within 1e-5 over the vocabulary.",
       "A code length exists only for a distribution; what does not sum to one can be made as good as one likes.",
       "Hand over log-probabilities of the whole vocabulary, after renormalisation.", kSource, kUrl},
      {"probe.document_order", "Documents keep their scores in another order", "Some documents alone and in another order get the bits they had.",
       "It shows that no state leaks from one document into another.", "Reset per-document state.", kSource, kUrl},
      {"probe.noise", "Repeated runs of the program agree well enough to compare",
       "At least three runs over the same tokens give scores whose differences have a floor against which changes can be told.",
       "A program whose scores vary freely from run to run cannot be checked from outside.", "Fix seeds and use deterministic kernels.", "Fairway's probe protocol, verifier/probe/PROTOCOL.md", ""},
      {"probe.program", "The program follows the probe protocol", "It writes one finite score for each prediction within the limits of time, memory and output.",
       "A program that cannot be run cannot be checked.", "See verifier/probe/PROTOCOL.md.", "Fairway's probe protocol, verifier/probe/PROTOCOL.md", "", Level::kWarning},
  };
  return kRules;
}

}  // namespace fairway::verifier
