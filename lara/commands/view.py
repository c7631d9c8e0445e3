"""One episode of a dataset as a page: frames of each camera, actions and state over time, in the dataset's own numbers.

  lara view data=lerobot data.root=my/dataset episode=3
  lara view data=lerobot data.root=hub://lerobot/pusht episode=0 frames=24 output=outputs/pusht.html

episode: 0 unless given. frames: of each camera, evenly over the episode; 12 unless given. output: the page's file;
outputs/view/<dataset>-episode-<number>.html unless given. The page holds everything that it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CONFIG = "train"
OWN = ("episode", "frames", "output")


def main(overrides: Sequence[str]) -> int:
    import shlex

    from lara.config.data_alone import data_alone
    from lara.data.check.opened import looked_at, opened, views_of
    from lara.data.check.recording import recording
    from lara.errors import ConfigError
    from lara.pages.episode import Recording, episode_page
    from lara.pages.render import write_page

    own = {key: value for key, _, value in (o.partition("=") for o in overrides) if key in OWN}
    data, _ = data_alone([o for o in overrides if o.partition("=")[0] not in OWN])
    if "sources" in data:
        raise ConfigError("a mixture has many datasets; look at one of them: data=lerobot data.root=...")
    source = opened(data)
    episode = _whole("episode", own.get("episode", "0"), least=0)
    made = recording(
        source,
        episode,
        cameras=looked_at(source, views_of(data)),
        frames=_whole("frames", own.get("frames", "12"), least=1),
        command=shlex.join(["lara", "view", *overrides]),
    )
    default = f"outputs/view/{source.root.name}-episode-{episode:06d}.html"
    path = Path(own.get("output", default))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_page(path, episode_page(Recording(**made)))
    print(path)
    return 0


def _whole(name: str, text: str, *, least: int) -> int:
    from lara.errors import ConfigError

    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ConfigError(f"{name} is a whole number of at least {least}, got '{text}'")
    return int(text)
