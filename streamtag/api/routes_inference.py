"""The Open Inference Protocol (V2) over REST, as KServe and Triton clients speak it; JSON tensors only.

One model is served: the champion, under the name of its bundle. Its input is ``text`` (BYTES), its outputs are
``scores`` (FP32), ``tagged`` (BOOL) and ``review`` (BOOL: tagged, but the label's breaker is open), one row a text and
one column a label; the labels stand in ``parameters``.
"""

import math
from itertools import islice
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from streamtag import __version__
from streamtag.api.access import Viewer
from streamtag.api.routes_scoring import CEILING, score_events
from streamtag.api.scoring import Scoring
from streamtag.api.strict import MOST_PROBLEMS, RequestBody, Whole
from streamtag.control.watcher import ActiveRelease
from streamtag.errors import NotFoundError, RefusedError, UnavailableError
from streamtag.events.content import ContentEvent

__all__ = ["router"]

# tritonclient names no type of what it sends.
router = APIRouter(prefix="/v2", tags=["inference protocol"], strict_content_type=False)

_OUTPUTS = ("scores", "tagged", "review")


class InputTensor(BaseModel):
    """The texts."""

    model_config = ConfigDict(extra="allow")

    name: Literal["text"]
    shape: Annotated[list[Annotated[Whole, Field(ge=0, le=10**9)]], Field(min_length=1, max_length=2, fail_fast=True)]
    datatype: Literal["BYTES"]
    data: Annotated[list[Any], Field(max_length=CEILING)]


class OutputTensor(BaseModel):
    """One that is wanted."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(max_length=200)]


class InferRequest(RequestBody):
    """Texts to score."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a comment"]}]}]
        }
    )

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:@/+=-]{0,200}$")] | None = None
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=1)]
    outputs: Annotated[list[OutputTensor], Field(max_length=len(_OUTPUTS), fail_fast=True)] | None = Field(
        None, description="Each once; none: all."
    )


@router.get("/health/live")
def live() -> dict[str, bool]:
    """Whether the server runs. Needs no token."""
    return {"live": True}


@router.get("/health/ready")
def ready(request: Request, response: Response) -> dict[str, bool]:
    """Whether there is a release to decide by. Needs no token."""
    scoring: Scoring = request.app.state.scoring
    try:
        scoring.active()
    except UnavailableError:
        response.status_code = 503
        return {"ready": False}
    return {"ready": True}


@router.get("")
def server(_who: Viewer) -> dict[str, Any]:
    """What the server is."""
    return {"name": "streamtag", "version": __version__, "extensions": []}


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{version}")
def metadata(request: Request, name: str, _who: Viewer, version: str | None = None) -> dict[str, Any]:
    """Inputs and outputs of the champion."""
    active = _model(request, name, version)
    labels = active.scorer.labels
    return {
        "name": name,
        "versions": [active.ref.bundle.version],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "scores", "datatype": "FP32", "shape": [-1, len(labels)]},
            {"name": "tagged", "datatype": "BOOL", "shape": [-1, len(labels)]},
            {"name": "review", "datatype": "BOOL", "shape": [-1, len(labels)]},
        ],
        "parameters": {"labels": list(labels)},
    }


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{version}/ready")
def model_ready(request: Request, name: str, _who: Viewer, version: str | None = None) -> dict[str, Any]:
    """Whether the champion has this name (and version)."""
    _model(request, name, version)
    return {"name": name, "ready": True}


@router.post("/models/{name}/infer")
@router.post("/models/{name}/versions/{version}/infer")
async def infer(
    request: Request, name: str, body: InferRequest, _who: Viewer, version: str | None = None
) -> dict[str, Any]:
    """Score texts by the champion, with its cut-offs; `review` marks tags that ask for review, as a breaker is open."""
    _model(request, name, version)
    wanted = _wanted(body)
    scored = await score_events(request, [ContentEvent(id=str(i), text=t) for i, t in enumerate(_texts(body))])
    problems = [f"inputs.text.{i}: {one.refused}" for i, one in enumerate(scored.events) if one.refused is not None]
    if problems:
        raise RefusedError("some texts cannot be scored", problems=problems)
    labels = scored.active.scorer.labels
    shape = [len(scored.events), len(labels)]
    given = [{tag.label: tag.action for tag in one.tags} for one in scored.events]
    scores = [score for one in scored.events for score in one.scores.values()]
    tagged = [label in tags for tags in given for label in labels]
    review = [tags.get(label) == "review" for tags in given for label in labels]
    outputs = {
        "scores": {"name": "scores", "datatype": "FP32", "shape": shape, "data": scores},
        "tagged": {"name": "tagged", "datatype": "BOOL", "shape": shape, "data": tagged},
        "review": {"name": "review", "datatype": "BOOL", "shape": shape, "data": review},
    }
    return {
        "model_name": name,
        "model_version": scored.active.ref.bundle.version,
        **({} if body.id is None else {"id": body.id}),
        "parameters": {"labels": ",".join(labels)},
        "outputs": [outputs[one] for one in wanted],
    }


def _model(request: Request, name: str, version: str | None) -> ActiveRelease:
    scoring: Scoring = request.app.state.scoring
    active = scoring.active()
    bundle = active.ref.bundle
    if name != bundle.name or version not in (None, bundle.version):
        raise NotFoundError(f"the champion is {bundle}; no other model is served")
    return active


def _wanted(body: InferRequest) -> list[str]:
    """Names of the outputs that the answer holds, in its order."""
    wanted = list(_OUTPUTS) if body.outputs is None else [one.name for one in body.outputs]
    problems = [f"outputs: {one} is none of {', '.join(_OUTPUTS)}" for one in wanted if one not in _OUTPUTS]
    problems += [f"outputs: {one} is there {wanted.count(one)} times" for one in _OUTPUTS if wanted.count(one) > 1]
    if problems:
        raise RefusedError("the request is not valid", problems=problems)
    return wanted


def _texts(body: InferRequest) -> list[str]:
    tensor = body.inputs[0]
    problems = (
        []
        if math.prod(tensor.shape) == len(tensor.data)
        else [f"inputs.text: {len(tensor.data)} elements, but its shape is {tensor.shape}"]
    )
    others = (i for i, one in enumerate(tensor.data) if not isinstance(one, str))
    problems += [f"inputs.text.{i}: no text" for i in islice(others, MOST_PROBLEMS)]
    problems += [] if tensor.data else ["inputs.text: empty"]
    if problems:
        raise RefusedError("the request is not valid", problems=problems)
    return tensor.data
