"""Which directory a model's name means: the demo, a directory, a pulled or converted model, or a snapshot in the Hub's
cache.

Knows names and places, and asks no network. What a directory holds is `checkpoint`'s business; how pulled models get
to their place is `hub`'s.
"""

import json
import os
import re
from importlib.resources import files
from pathlib import Path

from gemma_mlx.config import DrafterConfig, ModelConfig, TextConfig
from gemma_mlx.errors import ConfigError

DEMO = "demo"
HOME_VARIABLE = "GEMMA_MLX_HOME"
DEFAULT, ASSISTANT = "4bit", "assistant"  # what `pull` fetches without a name: the 12B and its drafter
PACKED_ASSISTANT = "assistant-4bit"  # which `pull` makes of the fetched one
RECORD = "pulled.json"  # in a pulled directory: the repository and commit that it is of
NAMES = (DEFAULT, ASSISTANT, "reference", "qat")  # that `pull` knows
_NAME = re.compile(r"\w[\w.@-]*")  # of a pulled model: one visible directory
_SNAPSHOT = re.compile(
    r"models--(?P<owner>[\w.-]+?)--(?P<repo>[\w.-]+)/snapshots/(?P<commit>\w+)"
)  # of the Hub's cache
_HUB_ID = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>\w[\w./-]*))?")


def home_directory() -> Path:
    """Where models and conversations are: `$GEMMA_MLX_HOME`, or `gemma-mlx` among the user's data."""
    home = os.environ.get(HOME_VARIABLE)
    if home:
        return Path(os.path.abspath(os.path.expanduser(home)))
    from platformdirs import user_data_path

    return user_data_path("gemma-mlx", appauthor=False)


def models_directory() -> Path:
    """Where pulled models are."""
    return home_directory() / "models"


def find_model(name: str | Path) -> Path:
    """The directory that a user means: "demo", a directory, the name of a pulled model, or a Hub id `owner/repo` or
    `owner/repo@revision` that was pulled or is in the Hub's cache.

    Raises `ConfigError` if there is none, or if files of a pulled one are gone from the cache.
    """
    if name == DEMO:
        return _asset("demo")
    directory = os.path.expanduser(name)
    if os.path.isdir(directory):
        return Path(directory)
    name = str(name)
    if name in NAMES:
        if (pulled := pulled_model(name)) is None:
            raise ConfigError(f"{name} is no directory, and not pulled yet: gemma-mlx pull {name}")
        return _whole(pulled)
    if split := split_hub_id(name):
        return _of_the_hub(name, *split)
    if found := pulled_model(name):
        return _whole(found)
    raise ConfigError(
        f"{name or repr(name)} is no directory: give the directory of a Gemma 4 12B model, `demo`, or the name of a "
        "pulled model (gemma-mlx pull --list)"
    )


def name_of(directory: Path) -> str:
    """The shortest name under which `find_model` finds a model's directory, on another day and from another place."""
    if directory == _asset("demo"):
        return DEMO
    place = Path(os.path.abspath(directory))
    if place.parent == models_directory() and _NAME.fullmatch(place.name):
        return place.name
    if snapshot := _SNAPSHOT.fullmatch("/".join(place.parts[-3:])):
        name = f"{snapshot['owner']}/{snapshot['repo']}@{snapshot['commit']}"
        return name if _found(name) == place else str(place)
    return str(place)


def pulled_model(name: str) -> Path | None:
    """The directory of a pulled model by its name there, None if there is none. Its files may be gone."""
    directory = models_directory() / name
    return directory if _NAME.fullmatch(name) and os.path.isdir(directory) else None


def split_hub_id(name: str) -> tuple[str, str | None] | None:
    """Repository and revision of `owner/repo[@revision]`, None if it is no Hub id."""
    found = _HUB_ID.fullmatch(name)
    return (found["repo"], found["revision"]) if found else None


def directory_name(repo: str, commit: str) -> str:
    """What the directory of a pulled repository is called, whose names are not in the catalogue."""
    return f"{repo.replace('/', '--')}@{commit}"


def pulled_commits(repo: str) -> dict[str, Path]:
    """Pulled directories of a repository that is not in the catalogue, by commit."""
    prefix = directory_name(repo, "")
    found = sorted(models_directory().glob(f"{prefix}*"))
    return {directory.name.removeprefix(prefix): directory for directory in found if directory.is_dir()}


def default_model() -> Path | None:
    """The 12B that `pull` fetches without a name, None before it did. Raises `ConfigError` if files of it are gone."""
    found = pulled_model(DEFAULT)
    return None if found is None else _whole(found)


def drafter_for(directory: Path) -> Path | None:
    """The assistant of a model directory: the demo's own, or the pulled one if it was made for such a model, packed if
    that is there.

    Raises `ConfigError` for a damaged `config.json`, or if files of the assistant are gone.
    """
    if directory == _asset("demo"):
        return _asset("demo-assistant")
    packed, fetched = pulled_model(PACKED_ASSISTANT), pulled_model(ASSISTANT)
    there = [packed] if packed is not None and (packed / "config.json").is_file() else []
    there += [] if fetched is None else [fetched]
    for assistant in there:
        config = DrafterConfig.load(_whole(assistant))
        if drafter_mismatch(config, ModelConfig.load(directory).text_config) is None:
            return assistant
    return None


def find_drafter(draft: str | Path | None, directory: Path) -> Path | None:
    """The assistant that a user means for the model in `directory`: "auto" is `drafter_for`, "off" or None is none,
    everything else a directory or a name as `find_model` takes it."""
    if draft is None or draft == "off":
        return None
    return drafter_for(directory) if draft == "auto" else find_model(draft)


def drafter_mismatch(drafter: DrafterConfig, target: TextConfig) -> str | None:
    """What keeps the drafter from reading the target's states, keys and values; None if nothing does."""
    text = drafter.text_config
    for name, its, ours in (
        ("hidden size", drafter.backbone_hidden_size, target.hidden_size),
        ("vocabulary", text.vocab_size, target.vocab_size),
        ("head size of sliding layers", text.head_dim, target.head_dim),
        ("head size of full layers", text.global_head_dim, target.global_head_dim),
    ):
        if its != ours:
            return f"{name} {its}, the model's is {ours}"
    return None


def _asset(name: str) -> Path:
    return Path(str(files("gemma_mlx") / "assets" / name))


def _found(name: str) -> Path | None:
    try:
        return find_model(name)
    except ConfigError:
        return None


def _whole(directory: Path) -> Path:
    """The pulled directory. Raises `ConfigError` if a file of it is a link to nothing."""
    gone = [path.name for path in sorted(directory.iterdir()) if not path.exists()]
    if gone:
        name = directory.name.replace("--", "/", 1)
        raise ConfigError(f"{directory} is incomplete, {gone[0]} is gone from the Hub's cache: gemma-mlx pull {name}")
    return directory


def _recorded(repo: str, revision: str | None) -> Path | None:
    """A pulled directory of any name whose record names the repository, and the commit unless it is None."""
    for record in sorted(models_directory().glob(f"[!.]*/{RECORD}")):
        try:
            said = json.loads(record.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        fields = said if isinstance(said, dict) else {}
        if fields.get("repo") == repo and str(fields.get("revision")).startswith(revision or ""):
            return record.parent
    return None


def _of_the_hub(name: str, repo: str, revision: str | None) -> Path:
    """A pulled directory of the repository, or its snapshot in the cache that is shared with other programs."""
    pulled = pulled_commits(repo)
    fitting = [path for commit, path in pulled.items() if revision is None or commit.startswith(revision)]
    if len(fitting) > 1:
        raise ConfigError(f"{name} was pulled at {len(fitting)} revisions: say {repo}@ and one of {', '.join(pulled)}")
    if fitting:
        return _whole(fitting[0])
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(repo, "config.json", revision=revision)
    except HFValidationError:  # what the Hub allows in a name is narrower still
        config = None
    if isinstance(config, str):
        return Path(config).parent
    if recorded := _recorded(repo, revision):
        return _whole(recorded)
    if pulled:
        raise ConfigError(f"{name} was not pulled, but at other revisions: say {repo}@ and one of {', '.join(pulled)}")
    raise ConfigError(f"{name} is no directory, and no model of that name was pulled: gemma-mlx pull {name}")
