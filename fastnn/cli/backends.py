"""``fastnn backends``: what can run here, and why the rest cannot."""

from __future__ import annotations

import click

from ..backends import available_backends, get_backend
from ..console import write


@click.command("backends")
def command() -> None:
    """Show what can run here, and why the rest cannot."""
    rows = [("backend", "available", "device, or why not and what to do")]
    for name, found in available_backends().items():
        detail = found.device if found.available else f"{found.reason}; {found.remedy}"
        rows.append((name, "yes" if found.available else "no", detail))
    width = max(len(name) for name, _, _ in rows)
    for name, available, detail in rows:
        write(f"{name:<{width}}  {available:<9}  {detail}")
    write(f"\nauto chooses {get_backend('auto').name} here.")
