"""What counts as an error in a page server's log."""

from __future__ import annotations

from tests.browser.conftest import errors_in

RECORD = """\
2026-11-25 10:00:00,000 error handling message
 message: Message 'PULL-DOC-REQ' content: {{}}
 error: AssertionError()
Traceback (most recent call last):
  File "/x/site-packages/bokeh/server/protocol_handler.py", line 94, in handle
    work = await handler(message, connection)
  File "{file}", line 65, in session
    {line}
AssertionError
"""
BOKEH = "/x/site-packages/bokeh/server/connection.py"
CLOSED = "assert self._session is not None"
BEFORE = "2026-11-25 09:59:59,000 WebSocket connection opened\n"


def test_a_page_that_closes_in_a_handshake_is_bokehs_own_affair() -> None:
    assert errors_in(BEFORE + RECORD.format(file=BOKEH, line=CLOSED) + BEFORE) == []


def test_all_else_counts() -> None:
    ours = RECORD.format(file="/x/bokeh_app/session.py", line=CLOSED)
    other = RECORD.format(file=BOKEH, line="assert message.header")
    assert errors_in(BEFORE + ours + RECORD.format(file=BOKEH, line=CLOSED) + other) == [ours, other]
    assert errors_in(BEFORE + "2026-11-25 10:00:00,000 ERROR: no\n") == ["2026-11-25 10:00:00,000 ERROR: no\n"]
