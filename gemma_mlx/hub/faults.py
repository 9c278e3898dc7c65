"""What can go wrong between here and the Hub, as one line that says what to do.

Knows the exceptions of huggingface_hub and of its HTTP client: not what was asked for, beyond its name.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import disable_progress_bars, get_token, logging

from gemma_mlx.errors import HubError

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})  # statuses that another try may mend
_NETWORK = "check the network, HTTPS_PROXY and HF_ENDPOINT"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class OfflineError(HubError):
    """The Hub cannot be asked: what is in its cache may do."""


@contextmanager
def hub_faults(what: str) -> Iterator[None]:
    """Turn the faults of requests for `what` into `HubError`s."""
    try:
        yield
    except OfflineModeIsEnabled:
        raise OfflineError(f"{what} is not in the cache, and HF_HUB_OFFLINE forbids to ask for it: unset it") from None
    except GatedRepoError:
        raise HubError(f"{what} needs its terms accepted on its page, and then your token in HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise HubError(f"{what} does not exist or is private: check the name, or the token in HF_TOKEN") from None
    except RevisionNotFoundError:
        raise HubError(f"{what} has no such revision: check the part after @") from None
    except LocalEntryNotFoundError as fault:
        raise OfflineError(
            f"{what}: the Hub cannot be reached ({reason(fault.__cause__ or fault)}): {_NETWORK}"
        ) from None
    except EntryNotFoundError:
        raise HubError(f"{what} is not on the Hub: another revision may have it") from None
    except HfHubHTTPError as fault:
        raise HubError(_of_status(what, fault.response.status_code)) from None
    except (httpx2.TransportError, httpx2.TooManyRedirects, httpx2.InvalidURL) as fault:
        raise OfflineError(f"{what}: the Hub cannot be reached ({reason(fault)}): {_NETWORK}") from None
    except HFValidationError:
        raise HubError(f"{what} is no name of a repository: write it as owner/repo or owner/repo@revision") from None


def check_token() -> None:
    """Raise `HubError` if there is a token that no request can carry, or one that cannot be read."""
    try:
        token = get_token() or ""
    except (OSError, UnicodeError) as fault:
        words = (fault.strerror or str(fault)) if isinstance(fault, OSError) else "it is no text"
        raise HubError(
            f"{constants.HF_TOKEN_PATH}, where your token is looked for, cannot be read ({words}): mend or remove it, "
            "or set HF_HOME to another directory"
        ) from None
    if not (token.isascii() and token.isprintable()):
        raise HubError(
            f"the token in HF_TOKEN or {constants.HF_TOKEN_PATH} holds characters that no token has: give it again"
        )


@contextmanager
def disk_faults(place: str, mend: str) -> Iterator[None]:
    """Turn the faults of writing below `place` into `HubError`s; `mend` is what to do if it cannot be written."""
    try:
        yield
    except OSError as fault:
        if fault.errno in _FULL:
            raise HubError(f"{place}: the disk is full: make room and run it again, it goes on from here") from None
        raise HubError(f"{fault.filename or place} cannot be used ({fault.strerror or fault}): {mend}") from None


def quiet() -> None:
    """Keep huggingface_hub's warnings and bars off a program's stderr: what they announce ends as a fault, or well."""
    logging.set_verbosity_error()
    disable_progress_bars()


def reason(fault: BaseException) -> str:
    """The fault in a few words, on one line."""
    words = " ".join(str(fault).split())[:120]
    return words or type(fault).__name__


def _of_status(what: str, status: int) -> str:
    if status in (401, 407):
        return f"{what}: access is refused ({status}): set or mend HF_TOKEN, or log in with `hf auth login`"
    if status == 403:
        return f"{what}: the token is not allowed to read it ({status}): give it access, or use another in HF_TOKEN"
    if status in (404, 410):
        return f"{what} is not on the Hub ({status}): check the name, and HF_ENDPOINT if it is set"
    if status == 416:
        return f"{what} is shorter on the Hub than its listing says ({status}): run it again later"
    if status == 429:
        return f"{what}: too many requests ({status}): wait and run it again, it goes on from here"
    again = "wait and run it again, it goes on from here" if status in TRANSIENT else "check HF_ENDPOINT and proxies"
    return f"{what}: the Hub answers with status {status}: {again}"
