"""What checks annotations at run time, in the tests alone: beartype, for `jaxtyping.install_import_hook`."""

from typing import Any, Self

from beartype import BeartypeConf, FrozenDict, beartype

# methods are decorated one by one, where beartype cannot know what `Self` is
checked = beartype(conf=BeartypeConf(hint_overrides=FrozenDict({Self: Any})))
