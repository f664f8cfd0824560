"""What a change request looks like to people."""

from collections.abc import Mapping
from typing import Any

from streamtag.cli.context import print_facts, print_table, say
from streamtag.control.change_documents import ChangeRequest
from streamtag.control.change_view import content_words

__all__ = ["print_request", "row"]


def row(request: ChangeRequest) -> tuple[Any, ...]:
    """Cells of a list."""
    until = "" if request.expires_at is None else f"{request.expires_at:%Y-%m-%d %H:%M}"
    what = "\n".join(content_words(request.content))
    about = (request.author, request.reason, request.approved_by)
    return (request.number, request.state, what, *about, until, request.ticket)


def print_request(view: Mapping[str, Any]) -> None:
    """All of it, and what to do next."""
    owners = ", ".join(f"{label}: {owner}" for label, owner in view["owners"].items() if owner)
    lasts = view["lasts_s"]
    print_facts(
        {
            "change": f"{view['number']} ({view['state']})",
            "what": "\n".join(view["what"]),
            "author": f"{view['author']}, {_time(view['at'])}",
            "reason": view["reason"],
            "ticket": view["ticket"] or None,
            "owners": owners or None,
            "second person": "; ".join(view["needs"]) or "nobody needed",
            "not before": _time(view["not_before"]),
            "for": None if lasts is None else f"{lasts} s, then back",
            "goes back": _time(view["expires_at"]),
            "stays as it is": "\n".join(view["kept"]) or None,
        }
    )
    if view["steps"]:
        rows = [(_time(s["at"]), s["action"], s["by"], s["comment"], s["made"]) for s in view["steps"]]
        print_table(("at (UTC)", "step", "by", "comment", "made"), rows)
    for other in view["overlaps"]:
        say(f"change {other['number']} of {other['author']} ({other['state']}) too: {', '.join(other['what'])}")
    for line in view["obstacles"]:
        say(f"not yet: {line}")


def _time(text: str | None) -> str | None:
    return None if text is None else text[:19].replace("T", " ")
