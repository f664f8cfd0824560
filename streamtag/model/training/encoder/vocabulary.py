"""A smaller vocabulary: the pieces that training texts need, so that a bundle is not mostly words it never meets."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np

from streamtag.model.contracts.tokenizer import load_tokenizer
from streamtag.model.training.encoder.pretrained import PADDING, Encoder


def cut_vocabulary(encoder: Encoder, texts: Sequence[str], pieces: int) -> Encoder:
    """The encoder with its special pieces, single characters, and as many more of the most frequent as make ``pieces``.

    A word whose piece went is spelled by shorter ones. Ids keep their order, so that padding stays 0.

    Args:
        encoder: with a tokenizer that `tokenizer_problems` finds nothing amiss with.
        texts: to count in, as the tokenizer will be given them.
        pieces: to keep; special pieces and single characters stay, though they be more. Of pieces that are equally
            frequent the earlier ones.
    """
    document = msgspec.json.decode(encoder.tokenizer)
    vocabulary: dict[str, int] = document["model"]["vocab"]
    prefix = document["model"]["continuing_subword_prefix"]
    times = _times(encoder.tokenizer, texts)
    special = {token["content"] for token in document["added_tokens"]} | {document["model"]["unk_token"]}
    needed = {token for token in vocabulary if token in special or len(token.removeprefix(prefix)) == 1}
    needed |= {token for token, i in vocabulary.items() if i == PADDING}
    ranked = sorted((token for token in vocabulary if token not in needed), key=lambda t: (-times[t], vocabulary[t]))
    kept = sorted(needed.union(ranked[: max(0, pieces - len(needed))]), key=vocabulary.__getitem__)
    new_id = {vocabulary[token]: i for i, token in enumerate(kept)}
    document["model"]["vocab"] = {token: i for i, token in enumerate(kept)}
    for token in document["added_tokens"]:
        token["id"] = new_id[token["id"]]
    for token in (document.get("post_processor") or {}).get("special_tokens", {}).values():
        token["ids"] = [new_id[i] for i in token["ids"]]
    rows = np.array([vocabulary[token] for token in kept])
    return replace(encoder, tokenizer=msgspec.json.encode(document), tokens=encoder.tokens[rows])


def _times(tokenizer: bytes, texts: Sequence[str]) -> Counter[str]:
    found = load_tokenizer(tokenizer)
    found.no_padding()
    found.no_truncation()
    times: Counter[str] = Counter()
    for at in range(0, len(texts), 1_024):
        for encoding in found.encode_batch(texts[at : at + 1_024]):
            times.update(encoding.tokens)
    return times
