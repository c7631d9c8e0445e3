"""A folder on disk, or a repository of the Hugging Face hub at a pinned revision; with messages one can act upon."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lara.errors import CheckpointError, missing_extra

WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")  # never code, never pickles


def local_folder(path: str, *, revision: str | None, patterns: Sequence[str] = WANTED) -> Path:
    """`path` itself if it exists; otherwise it is a hub id ("lerobot/pi05_base"), fetched into the hub's own cache.

    revision: a commit, tag or branch; needed for a hub id, because what a name points to may change between two runs.
    patterns: the files to fetch. Raises CheckpointError: no such repository, no such revision, gated, not reachable.
    """
    if Path(path).exists():
        return Path(path)
    if path.startswith((".", "/", "~")) or path.count("/") != 1:
        raise CheckpointError(f"'{path}' is neither a folder that exists nor the id of a hub repository (owner/name)")
    if revision is None:
        raise CheckpointError(
            f"'{path}' is no folder here, and as a hub repository it needs revision= (a commit hash is best): what a "
            "name points to may change between two runs"
        )
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as error:
        raise missing_extra("huggingface_hub", "vlm", "Fetching from the hub") from error
    try:
        return Path(snapshot_download(path, revision=revision, allow_patterns=list(patterns)))
    except GatedRepoError as error:  # before RepositoryNotFoundError, whose kind it is
        raise CheckpointError(
            f"'{path}' is gated: accept its terms on its page with your account, then log in here with `hf auth login` "
            "(or set HF_TOKEN), and run again"
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(
            f"'{path}' has no revision '{revision}'; its page lists branches, tags and commits"
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"the hub has no model '{path}', or it is private and you are not logged in (`hf auth login`)"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, TimeoutError) as error:
        raise _unreachable(path, revision) from error
    except HfHubHTTPError as error:
        raise CheckpointError(f"the hub refused '{path}' at {revision}: {error}") from error
    except OSError as error:
        raise _unreachable(path, revision) from error


def _unreachable(path: str, revision: str) -> CheckpointError:
    return CheckpointError(
        f"'{path}' at {revision} is not in this machine's hub cache, and the hub cannot be reached from here. Fetch it "
        f"where there is a network (`hf download {path} --revision {revision}`), and give the folder as path="
    )
