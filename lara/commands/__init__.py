"""One module per command: `main(overrides) -> exit code` composes the configuration and calls the library.

CONFIG names the root file in conf/ ("" where a command takes plain arguments); the module's docstring is its help.
"""

from __future__ import annotations

from types import ModuleType


def usage(module: ModuleType, name: str, summary: str) -> str:
    """The text of `lara NAME --help`: what it does, the choices of each group, the root configuration file."""
    lines = [f"lara {name}: {summary}", "", (module.__doc__ or "").strip()]
    if module.CONFIG:
        from lara.config.compose import choices, config_folder, groups

        root = (config_folder() / f"{module.CONFIG}.yaml").read_text()
        used = [group for group in groups() if f"- {group}:" in root or f"- {group}@" in root]
        lines += ["", "groups and their choices (group=choice):"] if used else []
        lines += [f"  {group:11}{', '.join(choices(group))}" for group in used]
        lines += ["", f"configuration (conf/{module.CONFIG}.yaml, change with key=value):", ""]
        lines += ["  " + line for line in root.splitlines()]
    return "\n".join(lines)
