"""A believable Hub made up from a seed: who uploaded which models when, and how it moves from day to day.

The same arguments give the same Hub on every machine: one stream of random numbers a day, seeded by text,
and no arithmetic whose last digit depends on the platform. What does not belong here: names
(`vocabulary.py`), files (`series.py`) and the events of a day (`events.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from math import sqrt
from pathlib import Path
from random import Random

import orjson

from gguf_assets.demo.events import Day, Event, Upload, next_day, stamp
from gguf_assets.demo.recording import write_recording
from gguf_assets.demo.series import STYLES, Recipe
from gguf_assets.demo.state import HubState, Repository, check_day
from gguf_assets.demo.vocabulary import LANGUAGES, LICENSES, PIPELINE_TAGS, BaseModel, fine_tune, person
from gguf_assets.errors import ErrorCategory, Refused

OPENING = date(2023, 8, 22)
"""No GGUF repository is older: the format came in that week."""

# A few quantizers own most of a Hub: weight in per cent, and the styles they use in turn.
QUANTIZERS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("hexmill", 27, ("static", "imatrix")),
    ("bitloom", 9, ("curated",)),
    ("quant-garden", 6, ("static",)),
    ("ggufworks", 5, ("curated",)),
    ("tinytensors", 5, ("dynamic",)),
    ("lowbit-lab", 4, ("few",)),
    ("northquant", 3, ("imatrix",)),
    ("halfprecision", 2, ("static",)),
)
_TURNS = tuple((name, styles) for name, weight, styles in QUANTIZERS for _ in range(weight))
PERSONAL_STYLES = ("single", "single", "single", "personal", "personal", "few", "few", "static")


class GeneratedHub:
    """A Hub of some `repositories` on its first day that lives through `days` days.

    Args:
        seed: another seed is another Hub.
        repositories: how many there are on the first day, at least 1.
        days: how many days there are, at least 1; the first has no events.
        last_day: the last of them, by default today in UTC (then the Hub depends on the day it is made).

    Raises:
        Refused: a number is below 1, or the first day lies before `OPENING`.
    """

    def __init__(
        self, seed: int = 0, repositories: int = 300, days: int = 5, last_day: date | None = None
    ) -> None:
        if repositories < 1 or days < 1:
            raise Refused(
                f"A generated Hub needs at least 1 repository and 1 day, not {repositories} and {days}.",
                category=ErrorCategory.CONFIGURATION,
            )
        last = last_day or datetime.now(UTC).date()
        self.seed = seed
        self.days: tuple[date, ...] = tuple(last - timedelta(days=back) for back in reversed(range(days)))
        if self.days[0] <= OPENING + timedelta(days=1):
            raise Refused(
                f"A generated Hub cannot begin on {self.days[0]}: GGUF began on {OPENING}.",
                category=ErrorCategory.CONFIGURATION,
            )
        self._uploads = _uploads(seed)
        self._days = [Day(self.days[0], tuple(self._first_day(repositories)))]
        self._states: dict[date, HubState] = {}

    def on(self, day: date) -> HubState:
        """See `HubSource`."""
        check_day(self, day)
        if day not in self._states:
            position = self.days.index(day)
            self._states[day] = HubState(
                day,
                self._lived(position).repositories,
                previous=lambda: self.on(self.days[position - 1]) if position else None,
            )
        return self._states[day]

    def events(self, day: date) -> tuple[Event, ...]:
        """Return what truly happened between the day before and `day`, in no particular order."""
        return self._lived(self.days.index(check_day(self, day))).events

    def _lived(self, position: int) -> Day:
        while len(self._days) <= position:
            number = len(self._days)
            random = Random(f"{self.seed}/day/{number}")
            self._days.append(next_day(self._days[-1], self.days[number], random, self._uploads.__next__))
        return self._days[position]

    def _first_day(self, count: int) -> Iterator[Repository]:
        opening = datetime.combine(OPENING, time(), UTC)
        span = (self.days[0] - OPENING).days * 86_400 - 1
        created = opening
        for number in range(count):
            # Ever more uploads a day, and now and then two in the same second.
            if number % 50 != 1:
                created = opening + timedelta(seconds=int(span * sqrt((number + 1) / count)))
            yield next(self._uploads)(created)


def _uploads(seed: int) -> Iterator[Upload]:
    """Yield, without end, the repositories of a Hub in the order of their creation."""
    random = Random(f"{seed}/uploads").random
    model = 0
    used: set[str] = set()
    serial = 0
    while True:
        # Most models are quantized once or twice; twice in one style would repeat file names.
        owner, style = _uploader(random(), random(), random(), serial)
        if random() < 0.7 or style in used:
            model += 1
            used.clear()
        used.add(style)
        yield _upload(f"{seed}/{serial}", owner, style, model, random)
        serial += 1


def _uploader(which: float, rank: float, taste: float, serial: int) -> tuple[str, str]:
    if serial % 2_003 == 7:
        return "onetensor", "tensors"
    if serial % 307 == 11:
        return person(serial), "placeholder"
    turn = int(which * 100)
    if turn < len(_TURNS):
        name, styles = _TURNS[turn]
        return name, styles[int(taste * len(styles))]
    # The square makes low numbers, the busier people, more likely.
    return person(int(rank * rank * (20 + serial // 3))), PERSONAL_STYLES[int(taste * len(PERSONAL_STYLES))]


def _upload(origin: str, owner: str, style: str, model: int, random: Callable[[], float]) -> Upload:
    stem, base = fine_tune(model)
    digest = hashlib.sha256(origin.encode()).hexdigest()
    # Few are popular: a Pareto tail, by a division that is exact everywhere.
    reach = min(2_000_000, int(14 / (random() + 0.000_01)))
    touched, gate, rare, liked = random(), random(), random(), random()
    tags, pipeline_tag, library_name = _card(stem, base, style, random)

    def made(created: datetime) -> Repository:
        modified = created + timedelta(minutes=int(touched * 300))
        return Repository(
            hub_id=f"{int(created.timestamp()):08x}{digest[:16]}",
            model_id=f"{owner}/{stem}{STYLES[style].suffix}",
            sha=digest[24:64],
            created_at=stamp(created),
            last_modified=stamp(modified),
            file_set=Recipe(origin, stem, base.parameters, style, base.vision),
            tags=tags,
            downloads=reach if rare > 0.08 else 0,
            likes=int(reach * liked / 150),
            gated="manual" if gate < 0.005 else "auto" if gate < 0.03 else False,
            disabled=rare > 0.998,
            pipeline_tag=pipeline_tag,
            library_name=library_name,
            trending_score=int(10 * liked) if rare > 0.95 else 0,
            downloads_all_time=reach * (1 + int(20 * touched)),
            gguf={
                "architecture": base.architecture,
                "total": base.parameters,
                "context_length": base.context_length,
            }
            if style != "placeholder"
            else None,
        )

    return made


def _card(
    stem: str, base: BaseModel, style: str, random: Callable[[], float]
) -> tuple[tuple[str, ...], str | None, str]:
    """Return tags, pipeline tag and library name of an upload."""
    library = "transformers" if random() < 0.6 else "gguf"
    pipeline = "image-text-to-text" if base.vision else PIPELINE_TAGS[int(random() * len(PIPELINE_TAGS))]
    license_id = LICENSES[int(random() * len(LICENSES))]
    original = f"{person(int(random() * 500))}/{stem}"
    tags = ["transformers"] if library == "transformers" else []
    tags += ["gguf", base.architecture, LANGUAGES[int(random() * len(LANGUAGES))]]
    if random() < 0.73:
        tags += [f"base_model:{original}", f"base_model:quantized:{original}"]
    if license_id is not None:
        tags.append(f"license:{license_id}")
    tags += ["endpoints_compatible", "region:us"]
    if style in ("imatrix", "curated"):
        tags.append("imatrix")
    if random() < 0.6:
        tags.append("conversational")
    return tuple(tags), pipeline, library


def write_generated(
    hub: GeneratedHub, folder: Path | str, *, on_day: Callable[[Path], None] = lambda path: None
) -> list[Path]:
    """Write a generated Hub as a recording, and `events.json` (day → events) beside it; return the files."""
    written = write_recording(hub, folder, on_day=on_day)
    events = {str(day): hub.events(day) for day in hub.days}
    path = Path(folder) / "events.json"
    path.write_bytes(orjson.dumps(events, option=orjson.OPT_INDENT_2) + b"\n")
    return [*written, path]
