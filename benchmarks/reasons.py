"""Why claims are not met: what bounds them, as measured. The page of results shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator

#: By what is found in the name of a comparison, and in its claim.
REASONS: dict[tuple[str, str], str] = {}


def reasons(name: str, claim: str) -> Iterator[str]:
    """What is known about a claim that was not met."""
    for (of_name, of_claim), reason in REASONS.items():
        if re.search(of_name, name) and re.search(of_claim, claim):
            yield reason
