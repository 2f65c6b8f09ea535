"""Whether what a page gathers from other pages is other than at the last build.

Sphinx writes a page again when its source was read again. The ledger, the landing page and others
show what stands elsewhere: such a page is written again when that changed, and only then.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.environment import BuildEnvironment


def differs(env: BuildEnvironment, name: str, shown: Any) -> bool:
    """Whether ``shown`` is other than what the last build noted under this name; notes it.

    ``shown`` is made of dictionaries, lists, texts, numbers and document nodes.

    >>> class env: pass
    >>> [differs(env, "ledger", rows) for rows in (["a"], ["a"], ["b"])]
    [True, False, True]
    """
    text = json.dumps(shown, sort_keys=True, default=str)
    now = hashlib.sha256(text.encode()).hexdigest()
    if not hasattr(env, "kexue_seen"):
        env.kexue_seen = {}
    before, env.kexue_seen[name] = env.kexue_seen.get(name), now
    return now != before


def older(made: Path, page: Path) -> bool:
    """Whether what is cut out of a page is not there, or was made before the page was written."""
    return not made.is_file() or made.stat().st_mtime_ns < page.stat().st_mtime_ns
