"""docs/ALARMS.md: what stands there is in the language."""

from __future__ import annotations

import re
from pathlib import Path

from linemon.parts.alarms import language
from linemon.parts.alarms.rules import shipped

TEXT = (Path(__file__).parent.parent / "docs" / "ALARMS.md").read_text()


def test_what_the_doc_shows_is_in_the_language() -> None:
    values = re.findall(r'value = "(.*?)"', TEXT)
    tests = re.findall(r'only_if = "(.*?)"', TEXT)
    assert len(values) >= 6
    for text in values:
        language.parse_value(text)
    for text in tests:
        language.parse_tests(text)
    for text in re.findall(r'(?:warning|critical|clear) = "(.*?)"', TEXT):
        language.Limit.parse(text)


def test_the_doc_names_each_function_and_each_alarm_that_is_shipped() -> None:
    for name in language.FUNCTIONS:
        assert re.search(rf"`{name}\b", TEXT), name
    for table in shipped():
        assert table["name"] in " ".join(TEXT.split()), table["name"]
