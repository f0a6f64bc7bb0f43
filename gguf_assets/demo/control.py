"""Handles of a served Hub that the real one has not: `/_loopback/…` moves its day, edits it, disturbs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import date, time
from typing import TYPE_CHECKING, Any

import orjson

from gguf_assets.demo.answers import Answer, as_json, bad_request
from gguf_assets.demo.clock import NOON
from gguf_assets.demo.edits import Edit
from gguf_assets.demo.faults import Fault
from gguf_assets.demo.routes import Request
from gguf_assets.errors import Refused

if TYPE_CHECKING:
    from gguf_assets.demo.app import HubApp

PREFIX = "/_loopback"


def answer(hub: HubApp, request: Request) -> Answer:
    """Return the answer to a request below `/_loopback`.

    `GET /_loopback` tells day, clock and days; `POST …/day {"day": "2025-08-11", "time": "23:59:00"}` moves
    them; `GET|DELETE …/requests` shows or empties the log; `POST …/faults [{"kind": "status", …}]` adds rules
    (`faults.Fault`), `DELETE …/faults` removes all; `POST …/edits [{"kind": "remove", "model_id":
    "owner/name", "day": "2025-08-11"}, …]` makes edits (`edits.Edit`), from the day shown now on if no day is
    given, `DELETE …/edits` takes all back; both, and `GET …/edits`, tell the edits in force.
    """
    try:
        match request.method, request.path.removeprefix(PREFIX):
            case "GET", "" | "/":
                pass
            case "POST", "/day":
                wish = orjson.loads(request.body)
                moment = time.fromisoformat(wish["time"]) if "time" in wish else NOON
                hub.set_day(date.fromisoformat(wish["day"]), moment)
            case "GET", "/requests":
                return as_json(
                    [{"method": r.method, "target": r.target, "status": r.status} for r in hub.requests]
                )
            case "DELETE", "/requests":
                hub.clear_requests()
            case "POST", "/faults":
                hub.faults += [Fault(**rule) for rule in orjson.loads(request.body)]
            case "DELETE", "/faults":
                hub.faults.clear()
            case "GET", "/edits":
                return _edits(hub)
            case "POST", "/edits":
                hub.edit(*_wished(orjson.loads(request.body)))
                return _edits(hub)
            case "DELETE", "/edits":
                hub.clear_edits()
                return _edits(hub)
            case method, path:
                return bad_request(f"{method} {PREFIX}{path} is not known. {answer.__doc__}")
    except (ValueError, KeyError, TypeError, Refused) as error:
        return bad_request(f"{type(error).__name__}: {error}")
    return as_json(
        {
            "day": str(hub.day),
            "now": hub.clock.now().isoformat(),
            "days": [str(day) for day in hub.source.days],
            "faults": len(hub.faults),
        }
    )


def _wished(document: Any) -> list[Edit]:
    if not isinstance(document, list):
        raise Refused(f"Edits come as a list of objects, not as {document}.")
    return [_edit(entry) for entry in document]


def _edit(document: Any) -> Edit:
    """Return the edit that a JSON object says; its keys are named as the fields of `Edit`."""
    known = [field.name for field in fields(Edit)]
    if not isinstance(document, Mapping) or not {"kind", "model_id"} <= set(document) <= set(known):
        raise Refused(
            f"{document} is no edit: it must be an object with kind, model_id and, as needed, "
            f"{', '.join(known[2:])}."
        )
    if wrong := [key for key, value in document.items() if not isinstance(value, str | None)]:
        raise Refused(f"{wrong[0]} of the edit {document} must be a text.")
    try:
        day = None if document.get("day") is None else date.fromisoformat(document["day"])
    except ValueError as error:
        raise Refused(f"The day of an edit is YYYY-MM-DD, not {document['day']}.") from error
    return Edit(**{**document, "day": day})


def _edits(hub: HubApp) -> Answer:
    return as_json([made.document() for made in hub.edits])
