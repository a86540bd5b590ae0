"""What an engine is asked to speak, and what it prints meanwhile."""

from __future__ import annotations

import pytest
import structlog
from structlog.testing import capture_logs

from synth_node.check.printed import collected
from synth_node.check.wish import DEFAULT_TEXTS, long_text, usual_s


@pytest.mark.parametrize(
    ("text", "least_s", "most_s"),
    [
        # Read aloud at 150 to 180 words a minute.
        ("It was the best of times, it was the worst of times, it was the age of wisdom.", 4.5, 7.0),
        # At 240 to 300 characters a minute.
        ("床前明月光疑是地上霜举头望明月低头思故乡", 4.0, 5.0),
    ],
)
def test_a_text_lasts_as_long_as_it_is_usually_read(text: str, least_s: float, most_s: float) -> None:
    assert least_s < usual_s(text) < most_s


@pytest.mark.parametrize("n_characters", [1, 10, 200, 2000])
def test_a_long_text_is_as_long_as_it_is_wanted(n_characters: int) -> None:
    text = long_text(DEFAULT_TEXTS, n_characters)
    assert n_characters - 1 <= len(text) <= n_characters
    assert text.startswith(DEFAULT_TEXTS[0][:n_characters])


def test_what_the_node_would_log_is_kept_and_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    log = structlog.get_logger()
    with collected() as printed:
        for n in range(1000):
            log.info("engine output", line=f"line {n}")
        log.error("engine does not start", reason="no weights")
        log.warning("something else")
    assert (printed.n_lines, len(printed.lines), printed.lines[-1]) == (1000, 200, "line 999")
    assert printed.not_started == "no weights"
    assert printed.showed(("line 999",))
    assert not printed.showed(("line 1000",))
    assert capsys.readouterr() == ("", "")
    with capture_logs() as logs:
        log.info("as before")
    assert logs[0]["event"] == "as before"
