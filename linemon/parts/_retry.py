"""What an HTTP server asks of who is to come again."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime


def retry_after(text: str) -> float | None:
    """Seconds of a header Retry-After (RFC 9110, 10.2.3), a number or a date; None if it is neither."""
    try:
        wait = float(text) if text.strip().isdecimal() else parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError):
        return None
    return max(wait, 0.0)
