"""What an evaluation program needs to be checked by `fairway probe`: two lines for a script that has a scoring function.

    import fairway_probe
    fairway_probe.scores(lambda tokens: my_nll(tokens))           # one nll per prediction
    fairway_probe.stream(lambda context: my_log_probs(context))   # with `fairway probe --streaming`

The protocol, for programs in other languages: verifier/probe/PROTOCOL.md.
"""

import os
import sys

import numpy as np

__all__ = ["tokens", "scores", "stream"]
__version__ = "0.1.0"


def tokens(path=None):
    """The tokens of a shard as an int64 array; by default of the shard that `fairway probe` points to."""
    path = path or os.environ["FAIRWAY_TOKENS"]
    header = np.fromfile(path, dtype="<i4", count=256)
    if header.size != 256 or header[0] != 20240520 or header[1] != 1:
        raise ValueError(f"{path}: not a token shard")
    values = np.fromfile(path, dtype="<u2", offset=1024)
    if values.size != header[2]:
        raise ValueError(f"{path}: {values.size} tokens instead of {header[2]}")
    return values.astype(np.int64)


def scores(score):
    """Calls score(tokens) and writes what it returns: one nll in nats for each token but the first, in order.

    Goes with `fairway probe --binary`.
    """
    stream_of_tokens = tokens()
    nll = np.asarray(score(stream_of_tokens), dtype="<f4").reshape(-1)
    if nll.size != stream_of_tokens.size - 1:
        raise ValueError(f"{nll.size} scores for {stream_of_tokens.size} tokens; one is wanted for each token but the first")
    nll.tofile(os.environ["FAIRWAY_NLL"])


def stream(log_probs):
    """Calls log_probs(context) for every prediction; context holds all tokens so far. It returns the log-probability of every vocabulary
    item. The next token becomes known only when that is written. Goes with `fairway probe --streaming`.
    """
    vocab, predictions = (int(x) for x in os.environ["FAIRWAY_STREAM"].split()[1:])
    context = np.empty(predictions, dtype=np.int64)
    for p in range(predictions):
        word = sys.stdin.buffer.read(2)
        if len(word) != 2:
            raise EOFError("the stream of tokens ended early")
        context[p] = int.from_bytes(word, "little")
        row = np.asarray(log_probs(context[: p + 1]), dtype="<f4").reshape(-1)
        if row.size != vocab:
            raise ValueError(f"{row.size} log-probabilities for a vocabulary of {vocab}")
        sys.stdout.buffer.write(row.tobytes())
        sys.stdout.buffer.flush()
