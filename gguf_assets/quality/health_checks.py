"""The health checks: name, weight, what each looks at, its reason codes and what an owner can do.

The one place to read or change what a healthy model is; how the checks are computed stands in `health`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class HealthCheck:
    """One check.

    Attributes:
        name: stored in `checks.name` and in `unknown`.
        weight: its share in the score.
        what: what is looked at, and when it is unknown.
        reasons: reason code to its meaning.
        remedy: what the owner of the repository can do.
    """

    name: str
    weight: int
    what: str
    reasons: Mapping[str, str]
    remedy: str


HEALTH_CHECKS: dict[str, HealthCheck] = {
    check.name: check
    for check in (
        HealthCheck(
            "listed",
            2,
            "Whether the Hub lists the model today.",
            {
                "listed": "10: in the listing",
                "put_back": "10: missing in the listing, but there when asked by name",
                "absent": "0: not in the listing, not yet known to be gone",
            },
            "Nothing, if the repository was deleted or made private on purpose.",
        ),
        HealthCheck(
            "reachable",
            2,
            "Whether anybody can fetch the files; unknown when the Hub does not say.",
            {
                "open": "10: no conditions",
                "gated_auto": "8: access is granted on request",
                "gated_manual": "5: the owner decides about each request",
                "private": "0: private",
                "disabled": "0: disabled by the Hub",
            },
            "Lift the gate where the licence allows it.",
        ),
        HealthCheck(
            "model_file",
            8,
            "Whether there is something to run; unknown while no file names are known.",
            {
                "model_file": "10: at least one whole file with role `model` or `draft`",
                "adapter": "10: a whole adapter or control vector, to be run with its base model",
                "companions_only": "5: only projectors, importance matrices, vocabularies and the like",
                "nothing_whole": "0: every one is empty, too small to hold a tensor, or lacks shards",
                "no_gguf_file": "0: no GGUF file at all",
            },
            "Upload the whole model, or remove the `gguf` tag.",
        ),
        HealthCheck(
            "shards_complete",
            5,
            "Share of sharded files whose set is complete; unknown while there is no model file or adapter.",
            {
                "whole_files": "10: nothing is sharded, or no number of shards is announced",
                "sets_complete": "10: every announced shard is there",
                "sets_incomplete": "0 to 9: some sets lack shards",
            },
            "Upload the missing shards.",
        ),
        HealthCheck(
            "files_not_empty",
            4,
            "Share of files with content; unknown while no size is known.",
            {
                "no_empty_file": "10: all files have content",
                "empty_files": "0 to 9: some files are empty, or too small to hold a tensor",
            },
            "Upload the empty files again.",
        ),
        HealthCheck(
            "labels_plausible",
            3,
            "Share of labelled model files whose size fits the label; unknown while no size of one is known, "
            "and for gpt-oss, whose weights keep their own 4 bits under every label.",
            {
                "labels_fit": "10: no size contradicts its label",
                "label_size_mismatch": "0 to 9: some sizes are impossible for the label",
            },
            "Convert the files again; equal sizes under different labels are a failed conversion.",
        ),
        HealthCheck(
            "labelled",
            1,
            "Share of model files whose name or folder states the quantization; unknown without one.",
            {"labels_stated": "10: all do", "labels_missing": "0 to 9: some do not"},
            "Put the quantization into the file name, as the GGUF naming convention says.",
        ),
        HealthCheck(
            "verifiable",
            2,
            "Share of models and adapters with a SHA-256 to verify a download by; unknown while no size is.",
            {"checksums_known": "10: all have", "checksums_missing": "0 to 9: some have none"},
            "Store the files in LFS or Xet.",
        ),
        HealthCheck(
            "licensed",
            4,
            "Whether a licence is stated; unknown while the tags are.",
            {
                "license_stated": "10: a named licence",
                "license_other": "5: `other` or `unknown`",
                "license_missing": "0: none",
            },
            "State the licence in the model card, usually that of the base model.",
        ),
        HealthCheck(
            "base_model",
            3,
            "Whether the model that this one was made from is stated; unknown while the tags are.",
            {
                "base_and_relation": "10: with its relation (quantized, finetune, adapter, merge)",
                "base_stated": "8: without the relation",
                "base_missing": "0: not stated",
            },
            "Add `base_model` to the model card.",
        ),
        HealthCheck(
            "described",
            2,
            "Which of task (`pipeline_tag`) and library are stated; unknown while the tags are.",
            {
                "task_and_library": "10: both",
                "partly_described": "5: one of them",
                "not_described": "0: neither",
            },
            "Add `pipeline_tag` and `library_name` to the model card.",
        ),
    )
}
"""All checks by name, in the order in which they are listed."""
