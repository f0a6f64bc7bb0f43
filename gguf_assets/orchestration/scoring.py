"""The health of a day: scored batch by batch, added up, and shown in the UI.

Here: reading the candidate, writing `health` and its figures. Not here: the checks and the formulas
(`quality/health`, `quality/catalogue_health`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from gguf_assets.catalogue.schema import GRADES
from gguf_assets.orchestration.memory import watch_of
from gguf_assets.orchestration.reading import WatchedDay
from gguf_assets.settings.load import LoadedSettings
from gguf_assets.settings.quality_sections import QualityScoring
from gguf_assets.store.datasets import DatasetInfo
from gguf_assets.store.store import Store

if TYPE_CHECKING:
    from gguf_assets.quality.highlights import WorstModel

_PREFIX = "weight_"


@dataclass(frozen=True)
class Scored:
    """A scored day.

    Attributes:
        info: the written `health`.
        figures: health of the whole catalogue, as `CatalogueHealth.figures` has it.
        worst: the least healthy models, worst first.
    """

    info: DatasetInfo
    figures: dict[str, Any]
    worst: list[WorstModel]

    def metadata(self) -> dict[str, Any]:
        """Return what the UI shows: the same numeric keys on every day, without a value where unknown."""
        from gguf_assets.quality.health_checks import HEALTH_CHECKS
        from gguf_assets.quality.report import worst_table

        figures = self.figures
        means = {name: figures["checks"].get(name, {}).get("mean") for name in HEALTH_CHECKS}
        return {
            "status": figures["status"],
            "mean_score": dg.FloatMetadataValue(figures["mean"]),
            "median_score": dg.FloatMetadataValue(figures["median"]),
            "scored": figures["scored"],
            **{f"grade_{grade}": figures["grades"][grade] for grade in GRADES},
            **{f"mean_{name}": dg.FloatMetadataValue(mean) for name, mean in means.items()},
            "worst_models": dg.MetadataValue.md("\n".join(worst_table(self.worst))),
        }


def score_day(store: Store, settings: LoadedSettings, day: date) -> Scored:
    """Write the health of every model of the candidate, and the figures of all together.

    Without `validation.enable_quality_scoring` the dataset has no rows, and nothing is known of the health.

    Raises:
        PermanentError: there is no candidate (category `data`) or the disk refused (category `storage`).
    """
    from gguf_assets.quality.catalogue_health import CatalogueHealth
    from gguf_assets.quality.file_facts import FILE_COLUMNS, FileFacts
    from gguf_assets.quality.health import MODEL_COLUMNS, score_models
    from gguf_assets.quality.highlights import WorstModels

    enabled = settings.settings.validation.enable_quality_scoring
    weights = weights_of(settings.settings.quality_scoring)
    watch, facts = watch_of(settings), FileFacts()
    tables = WatchedDay.of(store.candidate_tables(day), settings, watch)
    catalogue, worst = CatalogueHealth(weights), WorstModels()
    for batch in tables.files(list(FILE_COLUMNS)) if enabled else ():
        facts.add(batch)
    with store.candidates.writer("health", day) as writer:
        for batch in tables.models(list(MODEL_COLUMNS)) if enabled else ():
            watch.look("health")
            scores = score_models(batch, facts, weights)
            writer.write(scores)
            catalogue.add(scores)
            worst.add(scores)
    figures = catalogue.figures
    store.candidates.record(
        day, {"health": writer.info}, figures={"grades": figures["grades"], "health": figures}
    )
    return Scored(writer.info, figures, worst.worst)


def weights_of(section: QualityScoring) -> dict[str, int]:
    """Return the weight of every health check that the settings name."""
    return {key.removeprefix(_PREFIX): weight for key, weight in section.model_dump().items()}
