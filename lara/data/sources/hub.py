"""A dataset of the Hugging Face Hub as a folder on this machine: hub://owner/name[@revision] -> its snapshot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lara.errors import ConfigError, DataError, MachineError, missing_extra

SCHEME = "hub://"
INFO = "meta/info.json"  # what a repository must hold to be a LeRobot dataset

_COMMIT = re.compile(r"[0-9a-f]{40}")
_PLACE = re.compile(r"([\w][\w.-]*/[\w][\w.-]*)(?:@([\w][\w./-]*))?")


def resolve_root(root: Path | str) -> Path:
    """The folder that `root` means: itself, or the snapshot of a dataset repository, downloaded where it is missing.

    hub://lerobot/pusht is its main branch as it is now, hub://lerobot/pusht@REVISION a branch, a tag or a commit. What
    is used is printed as a commit, so that a run can be repeated. With HF_HUB_OFFLINE=1 only what is already here is
    looked at; a commit that is here needs no network in any case.

    Args:
        root: a path or a hub:// address.

    Returns:
        An existing folder for an address; a path as it came.

    Raises:
        ConfigError: an address of another form, or owner/name without hub:// that is no folder.
        DataError: no such repository or revision, no access to it, or it holds no LeRobot dataset.
        MachineError: the Hub cannot be reached and the dataset is not here.
        MissingExtraError: huggingface_hub is not installed.
    """
    text = str(root)
    if text.startswith("hub:/") and isinstance(root, Path):  # a Path folds the two slashes into one
        text = SCHEME + text.removeprefix("hub:/").lstrip("/")
    if not text.startswith(SCHEME):
        _require_no_repository(Path(root))
        return Path(root)
    found = _PLACE.fullmatch(text.removeprefix(SCHEME))
    if found is None or ".." in text:
        raise ConfigError(f"'{text}' is no address of a dataset; write hub://owner/name or hub://owner/name@revision")
    name, revision = found[1], found[2]
    folder = _snapshot(name, revision)
    if not (folder / INFO).is_file():
        raise DataError(
            f"{SCHEME}{name}: has no {INFO}, so it is not a LeRobot dataset (or the copy here is not whole: fetch it "
            "again without HF_HUB_OFFLINE)"
        )
    tqdm.write(f"{SCHEME}{name}@{folder.name} ({folder})")
    return folder


def _require_no_repository(path: Path) -> None:
    """A person who writes lerobot/pusht and has no such folder means the Hub."""
    if len(path.parts) == 2 and not path.is_absolute() and _PLACE.fullmatch(str(path)) and not path.exists():
        parent_is_here = Path(path.parts[0]).is_dir()
        if not parent_is_here:
            raise ConfigError(f"{path}: no such folder. For the dataset of this name on the Hub write hub://{path}")


def _snapshot(name: str, revision: str | None) -> Path:
    try:
        import huggingface_hub as hub
        from huggingface_hub import constants
    except ImportError as error:
        raise missing_extra("huggingface_hub", "vlm", "A dataset of the Hub") from error
    asked: dict[str, Any] = {"repo_id": name, "repo_type": "dataset", "revision": revision}
    if constants.HF_HUB_OFFLINE:
        local = _local(hub, asked)
        if local is not None:
            return local
        raise MachineError(
            f"{SCHEME}{name}: HF_HUB_OFFLINE is set and no whole copy of {revision or 'its main branch'} is in "
            f"{constants.HF_HUB_CACHE}; unset it, or download the dataset where there is a network and copy that folder"
        )
    try:
        if revision is None or not _COMMIT.fullmatch(revision):  # by itself snapshot_download would answer with an
            hub.HfApi().repo_info(**asked)  # older copy when this fails, without a word
        return Path(str(hub.snapshot_download(**asked)))
    except Exception as error:
        if not _unreachable(hub, error):
            raise _said(hub, error, name, revision) from error
        local = _local(hub, asked)
        if local is None:
            raise MachineError(
                f"{SCHEME}{name}: the Hub ({constants.ENDPOINT}) cannot be reached ({_brief(error)}) and no whole copy "
                f"is in {constants.HF_HUB_CACHE}; try again with a network"
            ) from error
        tqdm.write(f"{SCHEME}{name}: the Hub cannot be reached ({_brief(error)}); this is the newest copy that is here")
        return local


def _local(hub: Any, asked: dict[str, Any]) -> Path | None:
    """The newest whole copy on this machine, without asking the network."""
    try:
        return Path(hub.snapshot_download(**asked, local_files_only=True))
    except (hub.errors.LocalEntryNotFoundError, FileNotFoundError):
        return None


def _unreachable(hub: Any, error: Exception) -> bool:
    """Whether nobody answered, or somebody who has a problem of his own: names and rights were not judged."""
    if isinstance(error, hub.errors.HfHubHTTPError):
        return getattr(error.response, "status_code", 500) >= 500
    offline = (hub.errors.LocalEntryNotFoundError, hub.errors.OfflineModeIsEnabled)
    return isinstance(error, offline) or type(error).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore")


def _said(hub: Any, error: Exception, name: str, revision: str | None) -> Exception:
    """The error in our words; itself where it is not the Hub's (a full disk)."""
    where = f"{SCHEME}{name}"
    if isinstance(error, hub.errors.GatedRepoError):
        return DataError(
            f"{where}: access must be asked for; accept its terms on its page, then log in with: hf auth login"
        )
    if isinstance(error, hub.errors.RevisionNotFoundError):
        return DataError(f"{where}: has no revision '{revision}'; give one of its branches, tags or commits")
    if isinstance(error, hub.errors.RepositoryNotFoundError):
        return DataError(
            f"{where}: the Hub knows no dataset of this name, or it is private; check the spelling, or log in with: "
            "hf auth login"
        )
    if isinstance(error, hub.errors.HFValidationError):
        return ConfigError(f"{where}: not a name that the Hub allows ({_brief(error)})")
    if isinstance(error, hub.errors.HfHubHTTPError):
        return DataError(f"{where}: the Hub refused ({_brief(error)})")
    return error


def _brief(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0][:200].rstrip(".")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
