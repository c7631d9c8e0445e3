"""The shape checker that pytest switches on for the library (see pyproject.toml): beartype, int accepted as float."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
