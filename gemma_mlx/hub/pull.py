"""`pull`: from names to directories that load.

Everything is known and judged before the first weight comes: headers, memory, room on the disk. Then files come into
the Hub's cache, each going on where it was cut, and a directory of links appears when all are there. Knows the order of
these steps: each step is a module beside this one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants

from gemma_mlx.checkpoint import INDEX, Tensor
from gemma_mlx.errors import HubError
from gemma_mlx.hub.audit import Audit, audit, room
from gemma_mlx.hub.catalogue import CATALOGUE, Entry
from gemma_mlx.hub.download import Tally, cache_directory, fetch, missing_bytes
from gemma_mlx.hub.faults import disk_faults
from gemma_mlx.hub.headers import read_config, read_tensors
from gemma_mlx.hub.media import MEDIA_FILE, Media, index_with, media_of, replaced
from gemma_mlx.hub.place import (
    MEND_HOME,
    alone,
    check_space,
    clear,
    finish,
    link,
    partial_directory,
    whole_directory,
    write_json,
)
from gemma_mlx.hub.repository import Repository, Say
from gemma_mlx.memory.values import Machine
from gemma_mlx.models import RECORD, directory_name, models_directory, pulled_commits, split_hub_id
from gemma_mlx.progress import Progress

_COMPANIONS = (".json", ".jinja", ".model")  # of files that belong to a checkpoint beside its weights


@dataclass(frozen=True)
class Order:
    """A checkpoint that is to come into a directory; `label` is how messages call it."""

    label: str
    directory: str
    repository: Repository
    tensors: dict[str, Tensor]
    media: Media | None
    audit: Audit
    to_convert: bool

    @property
    def files(self) -> list[str]:
        """What the directory needs of the repository, weights last."""
        companions = sorted(name for name in self.repository.files.keys() - {RECORD} if name.endswith(_COMPANIONS))
        return [*companions, *sorted({tensor.file.name for tensor in self.tensors.values()})]


def pull(names: Sequence[str], machine: Machine | None, say: Say, progress: Progress | None) -> list[Path]:
    """Fetch checkpoints by the catalogue's names or as `owner/repo[@revision]`; the directories that they are in.

    machine: where they must fit, None to fetch them in any case. say: takes lines for the person. Raises `HubError`,
    `ConfigError` or `CheckpointError` before anything large comes if a checkpoint is not one to take.
    """
    directories, orders = {}, {}
    for name in names:
        found = _already_here(name) or _order(name, say)
        if isinstance(found, Path):
            say(f"{name} is here already")
            directories[name] = found
        else:
            orders[name] = found
    _announce(list(orders.values()), machine, say)
    tally = Tally(_check_space(list(orders.values())), progress)
    for order in orders.values():
        partial_directory(order.directory)  # a place that cannot be written is found before anything comes
    for name, order in orders.items():
        directories[name] = _assemble(order, tally)
    return [directories[name] for name in names]


def _already_here(name: str) -> Path | None:
    """The whole directory of a name whose commit is known, found without the network."""
    if (entry := CATALOGUE.get(name)) is not None:
        return whole_directory(entry.name, entry.revision)
    repo, revision = _hub_id(name)
    commits = [commit for commit in pulled_commits(repo) if revision in (None, commit)]
    return whole_directory(directory_name(repo, commits[0]), commits[0]) if len(commits) == 1 else None


def _hub_id(name: str) -> tuple[str, str | None]:
    split = split_hub_id(name)
    if split is None:
        raise HubError(f"{name!r} names no model: give {', '.join(CATALOGUE)}, owner/repo or owner/repo@revision")
    return split


def _order(name: str, say: Say) -> Order | Path:
    """What a name stands for, its headers read and checked; the directory of a branch that was pulled before."""
    entry = CATALOGUE.get(name)
    repo, revision = (entry.repo, entry.revision) if entry else _hub_id(name)
    if not constants.HF_HUB_OFFLINE:
        say(f"asking the Hub about {name}")
    repository = Repository.open(repo, revision, say)
    directory = entry.name if entry else directory_name(repository.repo, repository.commit)
    if (here := whole_directory(directory, repository.commit)) is not None:
        return here
    config, tensors = read_config(repository), read_tensors(repository)
    media = _media(entry, say) if entry else None
    checked = audit(repository.repo, config, tensors if media is None else replaced(tensors, media))
    _check_tokenizer(repository, checked)
    label = entry.name if entry else f"{repository.repo}@{repository.commit}"
    return Order(label, directory, repository, tensors, media, checked, bool(entry and entry.to_convert))


def _check_tokenizer(repository: Repository, checked: Audit) -> None:
    """Raise `HubError` for a model without its tokenizer; an assistant uses the model's."""
    if not checked.is_drafter and "tokenizer.model" not in repository.files:
        repository.file("tokenizer.json")


def _media(entry: Entry, say: Say) -> Media | None:
    if entry.media_from is None:
        return None
    source = CATALOGUE[entry.media_from]
    repository = Repository.open(source.repo, source.revision, say)
    return media_of(repository, read_tensors(repository))


def _announce(orders: Sequence[Order], machine: Machine | None, say: Say) -> None:
    """Say what comes, and whether it fits. Raises `HubError` if it does not."""
    drafter = next((order.audit for order in orders if order.audit.is_drafter), None)
    for order in orders:
        if order.to_convert:
            say(f"{order.label}: {order.audit}, for gemma-mlx convert {order.label}")
        elif machine is None:
            say(f"{order.label}: {order.audit}")
        else:
            say(f"{order.label}: {order.audit}, {room(order.label, order.audit, machine, drafter)}")


def _check_space(orders: Sequence[Order]) -> int:
    """Bytes of all files, those that are here included. Raises `HubError` if the missing ones have too little room."""
    missing = sum(missing_bytes(order.repository, name) for order in orders for name in order.files)
    media = sum(order.media.nbytes for order in orders if order.media)
    check_space({cache_directory(): missing, models_directory(): media})
    return media + sum(order.repository.files[name].size for order in orders for name in order.files)


def _assemble(order: Order, tally: Tally) -> Path:
    """Fetch what is missing and make the directory."""
    partial = partial_directory(order.directory)
    repository, media = order.repository, order.media
    record: dict[str, object] = {"repo": repository.repo, "revision": repository.commit}
    with disk_faults(str(models_directory()), MEND_HOME), alone(partial):
        clear(partial, MEDIA_FILE)
        for name in order.files:
            link(fetch(repository, name, tally), partial / name)
        if media is not None:
            media.write(partial / MEDIA_FILE, tally)
            (partial / INDEX).unlink(missing_ok=True)  # a link into the cache, which stays as it is
            write_json(index_with(order.tensors, media), partial / INDEX)
            record |= {"vision and audio": {"repo": media.repository.repo, "revision": media.repository.commit}}
        return finish(partial, order.directory, record)
