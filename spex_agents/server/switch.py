"""Which of our plugins SGLang's processes are to use: none, unless whoever starts them says so.

SGLang loads the plugins of all packages that are installed. Being installed is no reason to change
a server of somebody else's, so ours ask here first; `spex serve` sets the variable.
"""

from __future__ import annotations

import os

VARIABLE = "SPEX_PLUGINS"
"""Names of plugins with commas between: ``spex``, ``spex-cpu``."""


def is_on(plugin: str) -> bool:
    """Whether this process is to use `plugin`."""
    return plugin in map(str.strip, os.environ.get(VARIABLE, "").split(","))
