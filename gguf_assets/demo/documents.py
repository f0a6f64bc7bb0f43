"""The JSON documents of the Hub's API, made from repositories: listing items, model info, tree entries.

What does not belong here: which repositories are listed (`listing.py`) and how a request finds its document
(`routes.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from gguf_assets.demo import content
from gguf_assets.demo.state import HubFile, Repository

SINGLE_MODEL_ONLY = frozenset({"baseModels", "childrenModelCount", "usedStorage", "xetEnabled"})
"""Values of `expand` that the Hub refuses on the listing."""

DEFAULT_ITEM = (
    "likes", "trendingScore", "private", "downloads", "tags", "pipeline_tag", "library_name", "createdAt",
)  # fmt: skip
FULL_ITEM = (*DEFAULT_ITEM, "author", "sha", "lastModified", "gated", "disabled", "siblings")
MODEL_INFO = (
    "author", "private", "disabled", "gated", "sha", "lastModified", "createdAt", "pipeline_tag",
    "library_name", "tags", "downloads", "likes", "cardData", "config", "gguf", "siblings", "spaces",
    "usedStorage",
)  # fmt: skip


def siblings(repository: Repository, *, blobs: bool) -> list[dict[str, Any]]:
    """Return the files as a listing has them (names only) or, with `blobs`, with size and checksum."""
    if not blobs:
        return [{"rfilename": path} for path in repository.file_set.paths()]
    entries = []
    for file in repository.files:
        entry: dict[str, Any] = {"rfilename": file.path, "size": file.size, "blobId": file.blob_id}
        if file.lfs is not None:
            entry["lfs"] = {"sha256": file.lfs, "size": file.size, "pointerSize": _pointer_size(file)}
        entries.append(entry)
    return entries


def item(repository: Repository, fields: Iterable[str], *, blobs: bool = False) -> dict[str, Any]:
    """Return `_id`, `id` and the fields asked for; what the Hub does not know is left out."""
    document: dict[str, Any] = {"_id": repository.hub_id, "id": repository.model_id}
    for field in fields:
        value = siblings(repository, blobs=blobs) if field == "siblings" else _FIELDS[field](repository)
        if value is not None:
            document[field] = value
    return document


def tree_file(repository: Repository, file: HubFile, *, expand: bool) -> dict[str, Any]:
    """Return a file as `tree` and `paths-info` have it; `expand` adds its last commit and security status."""
    entry: dict[str, Any] = {"type": "file", "oid": file.blob_id, "size": file.size, "path": file.path}
    if file.lfs is not None:
        entry["lfs"] = {"oid": file.lfs, "size": file.size, "pointerSize": _pointer_size(file)}
    if expand:
        entry["lastCommit"] = {
            "id": repository.sha,
            "title": "Upload with huggingface_hub",
            "date": repository.last_modified,
        }
        entry["securityFileStatus"] = {"status": "safe", "avScan": None, "pickleImportScan": None}
    return entry


def tree_directory(repository: Repository, path: str) -> dict[str, Any]:
    """Return a directory as `tree` and `paths-info` have it."""
    oid = hashlib.sha1(f"{repository.sha}:{path}".encode(), usedforsecurity=False).hexdigest()
    return {"type": "directory", "oid": oid, "size": 0, "path": path}


def commit(repository: Repository, *, formatted: bool) -> dict[str, Any]:
    """Return a head as `commits` has it."""
    title = "Upload with huggingface_hub"
    entry: dict[str, Any] = {
        "id": repository.sha,
        "title": title,
        "message": "",
        "authors": [{"user": repository.owner}],
        "date": repository.last_modified,
    }
    if formatted:
        entry["formatted"] = {"title": title, "message": ""}
    return entry


def _pointer_size(file: HubFile) -> int:
    assert file.lfs is not None
    return len(content.lfs_pointer(file.lfs, file.size))


def _tagged(repository: Repository, prefix: str) -> list[str]:
    return [tag.removeprefix(prefix) for tag in repository.tags if tag.startswith(prefix)]


def _base_models(repository: Repository) -> dict[str, Any] | None:
    for relation in ("quantized", "finetune", "adapter", "merge"):
        if names := _tagged(repository, f"base_model:{relation}:"):
            return {
                "relation": relation,
                "models": [{"_id": hashlib.sha1(n.encode()).hexdigest()[:24], "id": n} for n in names],
            }
    return None


def _card_data(repository: Repository) -> dict[str, Any] | None:
    card: dict[str, Any] = {}
    if licenses := _tagged(repository, "license:"):
        card["license"] = licenses[0]
    plain = [name for name in _tagged(repository, "base_model:") if ":" not in name]
    if plain:
        card["base_model"] = plain if len(plain) > 1 else plain[0]
    if repository.pipeline_tag is not None:
        card["pipeline_tag"] = repository.pipeline_tag
    return card or None


def _config(repository: Repository) -> dict[str, Any]:
    return {"model_type": repository.gguf["architecture"]} if repository.gguf else {}


_FIELDS: dict[str, Callable[[Repository], Any]] = {
    "author": lambda r: r.owner,
    "baseModels": _base_models,
    "cardData": _card_data,
    "childrenModelCount": lambda r: {"adapter": 0, "merge": 0, "quantized": 0, "finetune": 0},
    "config": _config,
    "createdAt": lambda r: r.created_at,
    "disabled": lambda r: r.disabled,
    "downloads": lambda r: r.downloads,
    "downloadsAllTime": lambda r: r.downloads_all_time,
    "evalResults": lambda r: None,
    "gated": lambda r: r.gated,
    "gguf": lambda r: r.gguf,
    "inference": lambda r: None,
    "inferenceProviderMapping": lambda r: [],
    "lastModified": lambda r: r.last_modified,
    "library_name": lambda r: r.library_name,
    "likes": lambda r: r.likes,
    "mask_token": lambda r: None,
    "model-index": lambda r: None,
    "pipeline_tag": lambda r: r.pipeline_tag,
    "private": lambda r: r.private,
    "resourceGroup": lambda r: None,
    "safetensors": lambda r: None,
    "sha": lambda r: r.sha,
    "siblings": lambda r: None,
    "spaces": lambda r: [],
    "tags": lambda r: r.tags,
    "transformersInfo": lambda r: None,
    "trendingScore": lambda r: r.trending_score,
    "usedStorage": lambda r: sum(file.size for file in r.files),
    "widgetData": lambda r: None,
    "xetEnabled": lambda r: False,
}

EXPANDABLE = tuple(sorted(_FIELDS))
"""Values that `expand` may take on a single model."""
EXPANDABLE_IN_LISTING = tuple(field for field in EXPANDABLE if field not in SINGLE_MODEL_ONLY)
"""Values that `expand` may take on the listing."""
