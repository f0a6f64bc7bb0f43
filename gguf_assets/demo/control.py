"""Handles of a served Hub that the real one has not: `/_loopback/…` moves its day and switches faults on."""

from __future__ import annotations

from datetime import date, time
from typing import TYPE_CHECKING

import orjson

from gguf_assets.demo.answers import Answer, as_json, bad_request
from gguf_assets.demo.clock import NOON
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
    (`faults.Fault`), `DELETE …/faults` removes all.
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
