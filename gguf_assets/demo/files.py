"""Answers about files: `tree`, `paths-info` and `resolve` with byte ranges."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlencode

import orjson

from gguf_assets.demo import content, documents, gguf_content
from gguf_assets.demo.answers import Answer, as_json, bad_request, entry_not_found, error
from gguf_assets.demo.state import HubFile, Repository

TREE_PAGE_SIZE = 1000
EXPANDED_TREE_PAGE_SIZE = 50
_BEGINS_A_MODEL = re.compile(r"\.gguf(?:\.part1of\d+|[-.]split-a+)?\Z")
"""Names of files whose first bytes are a header: whole ones, shards, and the first of several pieces."""

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def tree(repository: Repository, folder: str, parameters: Mapping[str, str], address: str) -> Answer:
    """Return one page of the entries below `folder` ("" for the root), ordered by path."""
    recursive, expand = parameters.get("recursive") == "true", parameters.get("expand") == "true"
    entries = _entries(repository.files, folder, recursive=recursive)
    if folder and not entries:
        return entry_not_found(folder)
    largest = EXPANDED_TREE_PAGE_SIZE if expand else TREE_PAGE_SIZE
    try:
        limit = min(int(parameters.get("limit", largest)), largest)
        after = _decode(parameters["cursor"]) if "cursor" in parameters else None
    except ValueError as problem:
        return bad_request(f"Invalid limit or cursor: {problem}")
    if limit < 1:
        return bad_request(f"Invalid limit: {limit}, it must be at least 1")

    paths = sorted(path for path in entries if after is None or path > after)
    page = paths[:limit]
    answer = as_json([_entry(repository, path, entries[path], expand=expand) for path in page])
    if len(paths) > limit:
        query = urlencode({**parameters, "limit": limit, "cursor": _encode(page[-1])})
        answer.headers["link"] = f'<{address}?{query}>; rel="next"'
    return answer


def paths_info(repository: Repository, paths: Iterable[str], *, expand: bool) -> Answer:
    """Return the entries of the paths that exist; the others are left out."""
    entries = _entries(repository.files, "", recursive=True)
    found = (path.strip("/") for path in paths)
    return as_json(
        [_entry(repository, path, entries[path], expand=expand) for path in found if path in entries]
    )


def resolve(repository: Repository, path: str, byte_range: str | None) -> Answer:
    """Return the bytes of a file, all or a range of them, made on the way; a HEAD takes the same headers."""
    headers = {"x-repo-commit": repository.sha, "accept-ranges": "bytes"}
    file = next((file for file in repository.files if file.path == path), None)
    if file is None:
        return entry_not_found(path, headers)
    headers |= {"etag": f'"{file.lfs or file.blob_id}"', "content-type": "application/octet-stream"}
    if file.lfs is not None:
        headers |= {"x-linked-etag": f'"{file.lfs}"', "x-linked-size": str(file.size)}

    span = _span(byte_range, file.size)
    if span is None:
        return error(416, "Range Not Satisfiable", headers={"content-range": f"bytes */{file.size}"})
    start, stop = span
    status = 200 if byte_range is None else 206
    if status == 206:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{file.size}"
    stream = _bytes(repository, file, start, stop)
    return Answer(status, headers=headers, stream=stream, length=stop - start)


def _bytes(repository: Repository, file: HubFile, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes of a file; large models begin with a header, small ones keep their checksums."""
    if _BEGINS_A_MODEL.search(file.path) and file.size > content.TRUE_CONTENT_LIMIT:
        head = gguf_content.header_of(file.path, repository.gguf, repository.model_id)
        if start < len(head):
            yield head[start:stop]
            start = min(len(head), stop)
    yield from content.blocks(file.key, start, stop)


def _span(byte_range: str | None, size: int) -> tuple[int, int] | None:
    """Return (start, stop) of the bytes asked for, or None if there are none such."""
    if byte_range is None:
        return 0, size
    match = _RANGE.fullmatch(byte_range.strip())
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    return (start, stop) if start < stop else None


def _entries(files: Iterable[HubFile], folder: str, *, recursive: bool) -> dict[str, HubFile | None]:
    """Return path → file, or None for a directory, of everything below `folder`."""
    prefix = f"{folder}/" if folder else ""
    entries: dict[str, HubFile | None] = {}
    for file in files:
        if not file.path.startswith(prefix):
            continue
        parts = file.path.removeprefix(prefix).split("/")
        depth = len(parts) if recursive else 1
        for end in range(1, min(depth, len(parts) - 1) + 1):
            entries.setdefault(prefix + "/".join(parts[:end]), None)
        if recursive or len(parts) == 1:
            entries[file.path] = file
    return entries


def _entry(repository: Repository, path: str, file: HubFile | None, *, expand: bool) -> dict[str, object]:
    if file is None:
        return documents.tree_directory(repository, path)
    return documents.tree_file(repository, file, expand=expand)


def _encode(path: str) -> str:
    return base64.b64encode(orjson.dumps({"file_name": path})).decode()


def _decode(cursor: str) -> str:
    try:
        return str(orjson.loads(base64.b64decode(cursor, validate=True))["file_name"])
    except (binascii.Error, KeyError, TypeError) as problem:
        raise ValueError(f"{cursor} is no cursor of a tree") from problem
