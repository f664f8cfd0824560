"""Which contracts there are: the struct of the manifest, who keeps it, and what may be wrong with it."""

from collections.abc import Mapping
from typing import Any, get_args

from streamtag.model.contracts import combined, hashed_ngrams, numeric, rendered_log, string, tokenizer
from streamtag.model.contracts.combined import Combined, CombinedContract
from streamtag.model.contracts.hashed_ngrams import HashedNgrams
from streamtag.model.contracts.numeric import Numeric, NumericContract
from streamtag.model.contracts.preprocessor import Preprocessor
from streamtag.model.contracts.rendered_log import PartialLogContract, RenderedLog, RenderedLogContract
from streamtag.model.contracts.string import String, StringContract
from streamtag.model.contracts.tokenizer import TokenizerContract, Tokens
from streamtag.model.featurisers import CONTRACTS
from streamtag.model.length_ngrams import LengthNgramContract
from streamtag.model.ngrams import NgramContract
from streamtag.model.word_ngrams import WordNgramContract

Contract = (
    NgramContract
    | WordNgramContract
    | LengthNgramContract
    | TokenizerContract
    | NumericContract
    | StringContract
    | PartialLogContract
    | RenderedLogContract
    | CombinedContract
)
"""``preprocessing`` of a manifest; its ``kind`` says which."""

KINDS: tuple[str, ...] = tuple(kind.__struct_config__.tag for kind in get_args(Contract))

_KEEPERS: Mapping[type, Any] = {
    **dict.fromkeys(CONTRACTS.values(), HashedNgrams),
    TokenizerContract: Tokens,
    NumericContract: Numeric,
    StringContract: String,
    PartialLogContract: RenderedLog,
    RenderedLogContract: RenderedLog,
}
_CHECKS: Mapping[type, Any] = {
    **dict.fromkeys(CONTRACTS.values(), hashed_ngrams.contract_problems),
    TokenizerContract: tokenizer.contract_problems,
    NumericContract: numeric.contract_problems,
    StringContract: string.contract_problems,
    PartialLogContract: rendered_log.contract_problems,
    RenderedLogContract: rendered_log.contract_problems,
    CombinedContract: combined.contract_problems,
}


def files_of(contract: Contract) -> tuple[str, ...]:
    """Files of the bundle that belong to the contract."""
    if isinstance(contract, CombinedContract):
        return tuple(name for part in contract.parts for name in files_of(part))
    files: tuple[str, ...] = _KEEPERS[type(contract)].files
    return files


def reads_features(contract: Contract) -> bool:
    """Whether it looks at ``event.features``."""
    if isinstance(contract, CombinedContract):
        return any(map(reads_features, contract.parts))
    return bool(_KEEPERS[type(contract)].reads_features)


def contract_problems(contract: Contract) -> list[str]:
    """Every contradiction within the contract itself."""
    found: list[str] = list(_CHECKS[type(contract)](contract))
    if isinstance(contract, CombinedContract):
        found += [f"{part.kind}: {problem}" for part in contract.parts for problem in contract_problems(part)]
    return found


def content_problems(contract: Contract, contents: Mapping[str, bytes]) -> list[str]:
    """Every contradiction between the contract and its files, all of which are in ``contents``."""
    if isinstance(contract, CombinedContract):
        return [problem for part in contract.parts for problem in content_problems(part, contents)]
    found: list[str] = _KEEPERS[type(contract)].problems(contract, contents)
    return found


def make_preprocessor(contract: Contract, contents: Mapping[str, bytes]) -> Preprocessor:
    """Who keeps the contract.

    Args:
        contract: as verified.
        contents: of the bundle's files, those of the contract at least.

    Raises:
        BundleError: a package that the contract needs is missing, or refuses its file.
    """
    if isinstance(contract, CombinedContract):
        return Combined([make_preprocessor(part, contents) for part in contract.parts])
    keeper: Preprocessor = _KEEPERS[type(contract)](contract, contents)
    return keeper
