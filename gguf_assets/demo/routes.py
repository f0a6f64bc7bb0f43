"""From a request to its answer: the paths of the Hub, who may see what, and redirects of old names.

Paths are split before they are decoded: revisions and tree paths arrive as one segment (`refs%2Fpr%2F1`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote

from gguf_assets.demo import documents, files
from gguf_assets.demo.answers import Answer, as_json, bad_request, error, revision_not_found
from gguf_assets.demo.listing import Listing, invalid_expand
from gguf_assets.demo.state import HubState, Repository

BAD_TOKEN = "Invalid credentials in Authorization header"
NOT_LOGGED_IN = "Invalid username or password."
DISABLED = "Access to this resource is disabled."


@dataclass(frozen=True)
class Request:
    """A request as the routes need it; `path` is still percent-encoded, header names are lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The decoded query, in order."""
        return parse_qsl(self.query, keep_blank_values=True)

    @property
    def address(self) -> str:
        """Scheme, host (as the client named it) and path."""
        return f"http://{self.headers.get('host', '127.0.0.1')}{self.path}"

    @property
    def bearer(self) -> str | None:
        """The token sent, if any."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" and token else None


@dataclass(frozen=True)
class Routes:
    """The Hub's endpoints over one state.

    Args:
        state: the repositories that are there.
        token: the one token that is accepted; None: any token is.
        page_size: most items on a page of the listing.
        bare_401: send the live Hub's anonymous 401 without an error code. The client of huggingface_hub takes
            it for a missing repository on https only, so by default the code is sent.
    """

    state: HubState
    listing: Listing
    token: str | None
    page_size: int
    bare_401: bool

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request."""
        if self.token is not None and request.bearer not in (None, self.token):
            return error(401, BAD_TOKEN)
        match [unquote(segment) for segment in request.path.split("/")[1:]]:
            case ["api", "models"]:
                return self.listing.answer(request.parameters, request.address, self.page_size)
            case ["api", "models", owner, name, *rest]:
                return self._of_model(request, f"{owner}/{name}", rest)
            case ["api", "whoami-v2"]:
                return self._whoami(request)
            case ["api", "agent-harnesses"]:
                return as_json({"standardEnvVars": [], "harnesses": {}})
            case [owner, name, "resolve", revision, *path] if path:
                return self._with(
                    request,
                    f"{owner}/{name}",
                    revision,
                    lambda r: files.resolve(r, "/".join(path), request.headers.get("range")),
                    content=True,
                )
            case _:
                return error(404, "Sorry, we can't find the page you are looking for.")

    def _of_model(self, request: Request, name: str, rest: list[str]) -> Answer:
        parameters = dict(request.parameters)
        match rest:
            case []:
                return self._with(request, name, "main", lambda r: _model_info(r, request))
            case ["revision", revision]:
                return self._with(request, name, revision, lambda r: _model_info(r, request))
            case ["tree", revision, *folder]:
                path = "/".join(folder).strip("/")
                return self._with(
                    request, name, revision, lambda r: files.tree(r, path, parameters, request.address)
                )
            case ["paths-info", revision] if request.method == "POST":
                form = parse_qsl(request.body.decode())
                paths = [value for key, value in form if key == "paths"]
                expand = ("expand", "true") in ((key, value.lower()) for key, value in form)
                return self._with(
                    request, name, revision, lambda r: files.paths_info(r, paths, expand=expand)
                )
            case ["refs"]:
                return self._with(request, name, "main", lambda r: _refs(r, prs="include_prs" in parameters))
            case ["commits", revision]:
                return self._with(request, name, revision, lambda r: self._commits(r, request), content=True)
            case ["auth-check"]:
                return self._with(request, name, "main", lambda r: as_json({}), content=True)
            case _:
                return error(404, "Sorry, we can't find the page you are looking for.")

    def _with(
        self,
        request: Request,
        name: str,
        revision: str,
        answer: Callable[[Repository], Answer],
        *,
        content: bool = False,
    ) -> Answer:
        """Answer for the repository called `name` at `revision`, or say why not; `content`: gates apply."""
        repository = self.state.by_name.get(name)
        if repository is None or repository.private:
            target = self.state.redirect_of(name)
            present = self.state.by_name.get(target) if target is not None else None
            if present is not None and present is not repository and not present.private:
                return _redirect(request, name, present.model_id)
            return self._missing(request)
        if content and repository.disabled:
            return error(403, DISABLED)
        if content and repository.gated:
            text = f"Access to model {name} is restricted. You must have access to it and be authenticated."
            return error(403 if request.bearer else 401, text, "GatedRepo")
        at_revision = self.state.at_revision(repository, revision)
        return revision_not_found(revision) if at_revision is None else answer(at_revision)

    def _missing(self, request: Request) -> Answer:
        # A stranger cannot tell a missing repository from a private one.
        if request.bearer:
            return error(404, "Repository not found", "RepoNotFound")
        return error(401, NOT_LOGGED_IN, None if self.bare_401 else "RepoNotFound")

    def _commits(self, repository: Repository, request: Request) -> Answer:
        formatted = any(value == "formatted" for key, value in request.parameters if key.startswith("expand"))
        heads = [documents.commit(head, formatted=formatted) for head in self.state.heads(repository)]
        position = next(i for i, head in enumerate(heads) if head["id"] == repository.sha)
        return as_json(heads[position:], headers={"x-total-count": str(len(heads) - position)})

    def _whoami(self, request: Request) -> Answer:
        if not request.bearer:
            return error(401, NOT_LOGGED_IN)
        access = {"type": "access_token", "accessToken": {"displayName": "loopback", "role": "read"}}
        return as_json(
            {
                "type": "user",
                "id": "0" * 24,
                "name": "loopback",
                "fullname": "Loopback",
                "orgs": [],
                "auth": access,
            }
        )


def _model_info(repository: Repository, request: Request) -> Answer:
    parameters = dict(request.parameters)
    expand = [value for key, value in request.parameters if key in ("expand", "expand[]")]
    if refused := [value for value in expand if value not in documents.EXPANDABLE]:
        return invalid_expand(refused[0], documents.EXPANDABLE)
    if parameters.get("blobs") not in (None, "true", "false", "1", "0"):
        return bad_request(f"Invalid value for blobs: {parameters['blobs']}")
    blobs = parameters.get("blobs") in ("true", "1")
    document = documents.item(repository, expand or documents.MODEL_INFO, blobs=blobs)
    if not expand:
        document["modelId"] = repository.model_id
    if parameters.get("securityStatus") == "true":
        document["securityRepoStatus"] = {"scansDone": True, "filesWithIssues": []}
    return as_json(document)


def _refs(repository: Repository, *, prs: bool) -> Answer:
    main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repository.sha}
    lists: dict[str, list[dict[str, str]]] = {"branches": [main], "converts": [], "tags": []}
    return as_json(lists | ({"pullRequests": []} if prs else {}))


def _redirect(request: Request, name: str, target: str) -> Answer:
    """Return the 307 to the present name: relative, whatever follows the name and the query preserved."""
    segments = request.path.split("/")
    start = 3 if segments[1] == "api" else 1
    location = "/".join([*segments[:start], *quote(target).split("/"), *segments[start + 2 :]])
    if request.query:
        location += f"?{request.query}"
    text = f"Temporary Redirect. Redirecting to {location}".encode()
    return Answer(307, text, {"location": location, "content-type": "text/plain; charset=utf-8"})
