"""Every limit that a column declares, checked on every row: nulls, minimum, allowed texts, patterns.

The pandera schemas are built from `catalogue.schema`, so a limit is written once. Arrow-backed pandas
frames keep this fast: patterns run in RE2, nothing becomes a Python object. Rules over several columns or
rows are in `model_rules` and `file_rules`.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from gguf_assets.catalogue.schema import DATASETS, Column
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.quality.findings import Findings, Rule

if TYPE_CHECKING:
    import pandas as pd
    from pandera.pandas import Check, DataFrameSchema

SCHEMA = Rule(
    "schema",
    "error",
    "Every value keeps the limits its column declares: null, minimum, allowed texts, pattern.",
    "Readers rely on the declared columns without checking them again.",
    "structure",
    "gguf_assets/catalogue/schema.py, shown in docs/data.md",
)


def require_structure(dataset: str, batch: pa.RecordBatch) -> None:
    """Check that a batch has the columns and types of its dataset; null limits are not looked at.

    Raises:
        PermanentError: a column is missing, surplus, out of place or of another type.
    """
    declared, found = DATASETS[dataset].arrow, batch.schema
    if found.names != declared.names:
        wrong = sorted(set(declared.names) ^ set(found.names))
        what = f"missing or not declared are {', '.join(wrong)}" if wrong else "their order differs"
        raise _unreadable(f"The candidate of {dataset} has other columns than declared: {what}.")
    for field in declared:
        if found.field(field.name).type != field.type:
            raise _unreadable(
                f"Column {field.name} of the candidate of {dataset} is {found.field(field.name).type}, "
                f"declared is {field.type}."
            )


def check_schema(dataset: str, batch: pa.RecordBatch, findings: Findings) -> None:
    """Check the declared limits of all columns of a batch; all failures are collected, not only the first.

    Args:
        dataset: name in `DATASETS`.
        batch: rows with the structure of the dataset.
        findings: receives one finding for every failing value.
    """
    import pandas as pd
    from pandera.errors import SchemaErrors

    frame = batch.to_pandas(types_mapper=pd.ArrowDtype)
    try:
        _pandera_schema(dataset).validate(frame, lazy=True)
    except SchemaErrors as failures:
        # One group is one limit of one column; sorted positions keep the findings in row order.
        for (column, check), cases in failures.failure_cases.groupby(["column", "check"], sort=True):
            where = pa.array(cases["index"].astype("int64").sort_values(), pa.int64())
            text = "must not be null" if check == "not_nullable" else check
            findings.add_rows(
                SCHEMA, batch, where, values=batch.column(column), message=f"`{column}` of {dataset} {text}."
            )


@cache
def _pandera_schema(dataset: str) -> DataFrameSchema:
    # Imported here: pandera and pandas cost most of a second, which readers of the rules need not pay.
    import pandas as pd
    import pandera.pandas as pandera

    columns = {
        column.name: pandera.Column(
            pd.ArrowDtype(column.type), checks=_checks(column), nullable=column.nullable
        )
        for column in DATASETS[dataset].columns
    }
    return pandera.DataFrameSchema(columns, strict=True, ordered=True)


def _checks(column: Column) -> list[Check]:
    from pandera.pandas import Check

    checks = []
    if column.minimum is not None:
        checks.append(Check.ge(column.minimum, error=f"must be at least {column.minimum}"))
    if column.allowed:
        checks.append(Check.isin(column.allowed, error=f"must be one of {', '.join(column.allowed)}"))
    if column.pattern is not None:
        checks.append(Check(partial(_match, column.pattern), error=f"must match {column.pattern}"))
    return checks


def _match(pattern: str, texts: pd.Series[str]) -> pd.Series[bool]:
    """Return which texts match as a whole; files repeat those of their model, so each is looked at once."""
    import pandas as pd

    codes, distinct = pd.factorize(texts)
    matches = np.asarray(distinct.str.match(f"^(?:{pattern})$"))
    return pd.Series(matches[codes], index=texts.index)


def _unreadable(message: str) -> PermanentError:
    return PermanentError(
        message,
        category=ErrorCategory.DATA,
        remedy="The candidate was written by another version: try `gguf-assets rederive` for its day.",
    )
