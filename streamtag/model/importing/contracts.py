"""Which preprocessing contract feeds a graph, told from its inputs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from streamtag import strict_json
from streamtag.model.contracts.combined import CombinedContract, Part
from streamtag.model.contracts.numeric import Feature, NumericContract
from streamtag.model.contracts.registry import Contract, contract_problems
from streamtag.model.contracts.string import StringContract
from streamtag.model.contracts.text_rules import TextRules
from streamtag.model.contracts.tokenizer import TokenizerContract

_PADS = ("[PAD]", "<pad>", "<|pad|>")
_DEFAULT_TOKENS = 256


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Attributes:
        name: of the graph.
        type: ``float``, ``int64``, ``string`` …, as ONNX names it, in lower case; ``other`` where it is no tensor, or
            ONNX has no name for it.
        shape: sizes of its axes; None where it is open; empty too where nothing is known.
    """

    name: str
    type: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name} ({self.type}, [{', '.join('…' if axis is None else str(axis) for axis in self.shape)}])"


@dataclass(frozen=True)
class Wanted:
    """What was given beside the graph.

    Attributes:
        tokenizer: bytes of a ``tokenizer.json``.
        features: declared numbers.
        max_tokens: None: what the graph or the tokenizer says.
        text: rules for what reads text.
    """

    tokenizer: bytes | None = None
    features: Sequence[Feature] | None = None
    max_tokens: int | None = None
    text: TextRules = field(default_factory=TextRules)


def contract_for(inputs: Sequence[Port], wanted: Wanted, problems: list[str]) -> Contract | None:
    """The contract that gives these inputs; None, and why in ``problems``, where there is none."""
    before = len(problems)
    strings = [port for port in inputs if port.type == "string"]
    whole = [port for port in inputs if port.type in ("int64", "int32")]
    numbers = [port for port in inputs if port.type in ("float", "double")]
    others = [port for port in inputs if port not in (*strings, *whole, *numbers)]
    problems += [f"input {port}: no contract gives this type" for port in others]
    if not inputs:
        problems.append("the graph has no inputs")
    parts: list[Part | None] = []
    if strings:
        parts.append(_string(strings, wanted, problems))
    if whole or wanted.tokenizer is not None:
        parts.append(_tokens(whole, wanted, problems))
    if numbers or wanted.features is not None:
        parts.append(_numbers(numbers, wanted, problems))
    found: list[Part] = [part for part in parts if part is not None]
    if len(problems) > before or not found:
        return None
    contract: Contract = found[0] if len(found) == 1 else CombinedContract(found)
    problems += contract_problems(contract)
    return contract


def rows_wanted(inputs: Sequence[Port], problems: list[str]) -> int | None:
    """How many documents a run must have, where the graph was exported for so many; None: any number."""
    fixed = {port.shape[0] for port in inputs if port.shape and port.shape[0] is not None}
    if len(fixed) > 1:
        problems.append(f"inputs want different numbers of documents: {', '.join(map(str, inputs))}")
    return min(fixed, default=None)


def _string(ports: Sequence[Port], wanted: Wanted, problems: list[str]) -> StringContract | None:
    if len(ports) > 1:
        problems.append(f"{len(ports)} inputs read strings, and an event has one text: {', '.join(map(str, ports))}")
        return None
    port = ports[0]
    if len(port.shape) not in (1, 2) or port.shape[1:] not in ((), (1,), (None,)):
        problems.append(f"input {port}: must be [n] or [n, 1]: a text for each document")
        return None
    return StringContract(port.name, column=len(port.shape) == 2, text=wanted.text)


def _tokens(ports: Sequence[Port], wanted: Wanted, problems: list[str]) -> TokenizerContract | None:
    before = len(problems)
    if not ports:
        problems.append("--tokenizer is given, and the graph has no input for token ids (int64 or int32)")
        return None
    if wanted.tokenizer is None:
        names = ", ".join(map(str, ports))
        problems.append(f"--tokenizer is missing: the graph reads token ids ({names}); give its tokenizer.json")
    roles: dict[str, list[Port]] = {"mask": [], "types": [], "ids": []}
    for port in ports:
        name = port.name.lower()
        if len(port.shape) != 2:
            problems.append(f"input {port}: must be [n, width]")
        if "position" in name:
            problems.append(f"input {port}: positions are not given; export the model so that it makes its own")
        else:
            role = "mask" if "mask" in name else "types" if "type" in name or "segment" in name else "ids"
            roles[role].append(port)
    for role, found in roles.items():
        if len(found) > 1:
            problems.append(f"several inputs could be {role}: {', '.join(map(str, found))}")
    if not roles["ids"]:
        problems.append(f"no input for token ids among {', '.join(map(str, ports))}")
    if len({port.type for port in ports}) > 1:
        problems.append(f"token ids and masks are of different types: {', '.join(map(str, ports))}")
    widths = {port.shape[1] for port in ports if len(port.shape) == 2 and port.shape[1] is not None}
    if len(widths) > 1:
        problems.append(f"token ids and masks are of different widths: {', '.join(map(str, ports))}")
    if len(problems) > before or wanted.tokenizer is None:
        return None
    return _tokenizer_contract(roles, wanted.tokenizer, min(widths, default=None), wanted, problems)


def _tokenizer_contract(
    roles: dict[str, list[Port]], tokenizer: bytes, width: int | None, wanted: Wanted, problems: list[str]
) -> TokenizerContract | None:
    try:
        document = strict_json.decode(tokenizer, dict)
    except msgspec.DecodeError as error:
        problems.append(f"tokenizer: {error}")
        return None
    most = next(n for n in (width, wanted.max_tokens, _cut_at(document), _DEFAULT_TOKENS) if n is not None)
    if width is not None and wanted.max_tokens not in (None, width):
        problems.append(f"--max-tokens is {wanted.max_tokens}, and the graph is made for exactly {width}")
    return TokenizerContract(
        ids=roles["ids"][0].name,
        mask=roles["mask"][0].name if roles["mask"] else None,
        token_types=roles["types"][0].name if roles["types"] else None,
        dtype="int64" if roles["ids"][0].type == "int64" else "int32",
        max_tokens=most,
        pad_to=most if width is not None or not roles["mask"] else min(16, most),
        pad_id=_pad_id(document),
        text=wanted.text,
    )


def _cut_at(document: dict[str, object]) -> int | None:
    """How many tokens a text is cut at where the model was made, if the file says so."""
    cutting = document.get("truncation")
    said = cutting.get("max_length") if isinstance(cutting, dict) else None
    return said if isinstance(said, int) else None


def _pad_id(document: dict[str, object]) -> int:
    padding = document.get("padding")
    if isinstance(padding, dict) and isinstance(padding.get("pad_id"), int):
        return int(padding["pad_id"])
    added = document.get("added_tokens")
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict) and token.get("content") in _PADS and isinstance(token.get("id"), int):
            return int(token["id"])
    return 0


def _numbers(ports: Sequence[Port], wanted: Wanted, problems: list[str]) -> NumericContract | None:
    features = wanted.features
    if not ports:
        problems.append("--features is given, and the graph has no input for numbers (float or double)")
        return None
    if features is None:
        names = ", ".join(map(str, ports))
        problems.append(f"--features is missing: the graph reads numbers ({names}); name them in order, with ranges")
        return None
    if len({port.type for port in ports}) > 1:
        problems.append(f"numbers are of different types: {', '.join(map(str, ports))}")
    dtype: dict[str, str] = {"float": "float32", "double": "float64"}
    kind = "float64" if dtype[ports[0].type] == "float64" else "float32"
    if len(ports) == 1 and len(ports[0].shape) == 2 and ports[0].shape[1] in (None, len(features)):
        return NumericContract(list(features), "matrix", ports[0].name, kind)  # type: ignore[arg-type]
    if {port.name for port in ports} == {one.name for one in features} and all(
        len(port.shape) == 2 and port.shape[1] in (None, 1) for port in ports
    ):
        return NumericContract(list(features), "columns", dtype=kind)  # type: ignore[arg-type]
    given = ", ".join(one.name for one in features)
    problems.append(
        f"features {given} do not fit the inputs {', '.join(map(str, ports))}: one input [n, {len(features)}], or an "
        "input [n, 1] of each feature's name"
    )
    return None
