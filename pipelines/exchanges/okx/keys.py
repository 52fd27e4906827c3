"""The keys of an account at OKX: from the environment or from a file that only its owner may read."""

import os
import stat
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import msgspec

from core.errors import BadInput

VARIABLES = ("TCP_OKX_API_KEY", "TCP_OKX_API_SECRET", "TCP_OKX_API_PASSPHRASE")
_FIELDS = ("api_key", "secret", "passphrase")
_EXAMPLE = '{"api_key": "…", "secret": "…", "passphrase": "…"}'


class Keys:
    """Credentials. They have no representation as text, so that none ends up in a log by accident."""

    __slots__ = ("api_key", "passphrase", "secret")

    def __init__(self, api_key: str, secret: str, passphrase: str) -> None:
        self.api_key = api_key
        self.secret = secret
        self.passphrase = passphrase

    def __repr__(self) -> str:
        return "Keys(hidden)"

    def __reduce__(self) -> Any:
        raise TypeError("keys are not to be pickled")

    def hidden(self, text: str) -> str:
        """`text` without any of them: what an exchange or a library says may quote a request."""
        for part in (self.api_key, self.secret, self.passphrase):
            # as it is, and as it stands in a JSON document
            for form in (part, msgspec.json.encode(part).decode()[1:-1]):
                text = text.replace(form, "(hidden)")
        return text


def load_keys(path: Path, environ: MutableMapping[str, str] = os.environ) -> Keys:
    """The keys of the environment, else of the file at `path`.

    BadInput when there are none, when they are incomplete, or when others than the owner may read the file.
    """
    given = [environ.get(name, "") for name in VARIABLES]
    if any(given):
        missing = [name for name, value in zip(VARIABLES, given, strict=True) if not value]
        if missing:
            raise BadInput(missing[0], f"must be set too: the keys are {', '.join(VARIABLES)}")
        return Keys(*given)
    return _read(path)


def forget_keys(environ: MutableMapping[str, str] = os.environ) -> None:
    """Take the keys out of the environment, so that no child of this process inherits them."""
    for name in VARIABLES:
        environ.pop(name, None)


def without_keys(environ: MutableMapping[str, str]) -> dict[str, str]:
    """The environment for a process that has no business with keys."""
    return {name: value for name, value in environ.items() if name not in VARIABLES}


def _read(path: Path) -> Keys:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise BadInput(
            "keys", f"set {', '.join(VARIABLES)}, or write {path} (mode 0600) as {_EXAMPLE}"
        ) from None
    except OSError as error:
        raise BadInput("keys", f"{path}: {error.strerror}: a plain file of yours is needed") from None
    with os.fdopen(descriptor, "rb") as file:
        # the open file is judged, not its name, which may mean another one a moment later
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise BadInput("keys", f"{path}: must be a plain file of the user who runs this")
        if found.st_mode & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            raise BadInput("keys", f"{path}: mode {mode:04o} lets others read it: run `chmod 600 {path}`")
        content = file.read()
    try:
        document = msgspec.json.decode(content, type=dict[str, str])
    except msgspec.MsgspecError:
        raise BadInput("keys", f"{path}: must be JSON such as {_EXAMPLE}") from None
    for field in _FIELDS:
        if not document.get(field):
            raise BadInput("keys", f"{path}: {field}: is missing; expected {_EXAMPLE}")
    return Keys(*(document[field] for field in _FIELDS))
