"""``fastnn backends``: what can run here, and why the rest cannot."""

from __future__ import annotations

import json

from ..backends import available_backends, get_backend
from ..console import write
from . import options
from .help import command as described


@described("backends", "fastnn backends")
@options.as_json("a table")
def command(as_json: bool) -> None:
    """Show what can run here, and why the rest cannot."""
    chosen = get_backend("auto").name
    if as_json:
        entries = {
            name: {
                "available": one.available,
                "device": one.device or None,
                "reason": one.reason or None,
                "remedy": one.remedy or None,
            }
            for name, one in available_backends().items()
        }
        write(json.dumps({"backends": entries, "auto": chosen}))
        return
    rows = [("backend", "available", "device, or why not and what to do")]
    for name, found in available_backends().items():
        detail = found.device if found.available else f"{found.reason}; {found.remedy}"
        rows.append((name, "yes" if found.available else "no", detail))
    width = max(len(name) for name, _, _ in rows)
    for name, available, detail in rows:
        write(f"{name:<{width}}  {available:<9}  {detail}")
    write(f"\nauto chooses {chosen} here.")
