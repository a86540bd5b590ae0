"""SSML as espeak-ng can be trusted with it: well-formed, no tag or attribute but those it knows.

The library does not parse XML. It looks for angle brackets, takes comments and CDATA for what they are not,
opens the files that `audio` names, and copies attributes into short buffers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from xml.parsers import expat

from synth_node.engines.espeak_words import Script

MAX_DEPTH: Final = 16
MAX_BREAK_MS: Final = 60_000
_ATTRIBUTES: Final = {
    "speak": ("xml:lang",),
    "voice": ("xml:lang", "name", "gender", "age", "variant"),
    "p": ("xml:lang",),
    "s": ("xml:lang",),
    "prosody": ("rate", "pitch", "range", "volume"),
    "emphasis": ("level",),
    "break": ("strength", "time"),
    "say-as": ("interpret-as", "format", "detail"),
}
_UNSPOKEN: Final = ("metadata", "desc")
_TAG: Final = re.compile(r"""<(?:[^>"']|"[^"]*"|'[^']*')*>""")
_REFERENCE: Final = re.compile(r"&#?\w+;")
_VALUE: Final = re.compile(r"[^\"<>&\\]{1,38}")  # the library's buffers take 39 bytes of most
_TIME: Final = re.compile(r"\+?(\d{0,6}\.?\d{0,6})(ms|s)")


class BadSsml(ValueError):
    """The text is no SSML; a sentence that says why."""

    antiphon_code = "invalid_request"
    param = "text"


def read(text: str, resolve: Callable[[str], str | None]) -> Script:
    """Return what the library is to be given for an SSML document.

    resolve: returns the identifier of a voice, or None; another voice than those is not changed to.

    Raises:
        BadSsml: it is not well-formed, has a document type, or is not a `speak` element.
    """
    reader = _Reader(text, resolve)
    try:
        reader.parse()
    except expat.ExpatError as exc:
        reason = expat.ErrorString(exc.code)
        raise BadSsml(
            f"the SSML is not well-formed: {reason} in line {exc.lineno}, column {exc.offset + 1}"
        ) from None
    return Script("".join(reader.spoken), "".join(reader.plain), reader.spans)


class _Reader:
    """Writes the document anew, and remembers where each character of it stood."""

    def __init__(self, text: str, resolve: Callable[[str], str | None]) -> None:
        self.spoken: list[str] = []
        self.plain: list[str] = []
        self.spans: list[tuple[int, int]] = []
        self._text = text
        self._bytes = text.encode()
        self._resolve = resolve
        self._position = 0, 0  # the same place in bytes and in characters
        self._depth = 0
        self._unspoken = 0  # elements around this place whose text is not spoken
        self._subs: list[tuple[str | None, int]] = []  # around this place: alias, and where the text begins
        self._parser = parser = expat.ParserCreate("utf-8")
        parser.StartDoctypeDeclHandler = self._on_doctype
        parser.StartElementHandler = self._on_start
        parser.EndElementHandler = self._on_end
        parser.CharacterDataHandler = self._on_text

    def parse(self) -> None:
        """Read the whole document."""
        self._parser.Parse(self._bytes, True)

    def _here(self) -> int:
        """Return how many characters stand before what is being read."""
        n_bytes, n_characters = self._position
        here = self._parser.CurrentByteIndex
        n_characters += len(self._bytes[n_bytes:here].decode())
        self._position = here, n_characters
        return n_characters

    def _on_doctype(self, *_: object) -> None:
        raise BadSsml("SSML with a document type or entities of its own is not read")

    def _on_start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._depth == 0 and tag != "speak":
            raise BadSsml(f"SSML is a speak element, this is {tag[:40]!r}")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise BadSsml(f"the SSML is nested more than {MAX_DEPTH} deep")
        if tag == "sub":
            self._subs.append((attributes.get("alias"), self._end_of_tag()))
        if tag in _UNSPOKEN or (tag == "sub" and "alias" in attributes):
            self._unspoken += 1
        self._mark("<" + tag + self._kept(tag, attributes) + ("/>" if tag == "break" else ">"), tag)

    def _on_end(self, tag: str) -> None:
        self._depth -= 1
        here = self._here()
        if tag == "sub":
            alias, begin = self._subs.pop()
            if alias is not None:
                self._unspoken -= 1
                self._say(alias, [(begin, max(begin, here))] * len(alias))
        elif tag in _UNSPOKEN:
            self._unspoken -= 1
        self._mark("" if tag == "break" else f"</{tag}>", tag)

    def _on_text(self, data: str) -> None:
        here = self._here()
        if len(data) == 1:  # also the end of a line, which may be two characters
            reference = _REFERENCE.match(self._text, here)
            self._say(data, [(here, reference.end() if reference else here + 1)])
        else:
            self._say(data, [(i, i + 1) for i in range(here, here + len(data))])

    def _say(self, text: str, spans: list[tuple[int, int]]) -> None:
        if self._unspoken:
            return
        for character, span in zip(text, spans, strict=True):
            escaped = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}.get(character, character)
            self.spoken.append(escaped)
            self.plain.append(character * len(escaped))
            self.spans += [span] * len(escaped)

    def _mark(self, markup: str, tag: str) -> None:
        """Write a tag that the library knows; of another there is a space."""
        if tag not in _ATTRIBUTES:
            markup = " "
        self.spoken.append(markup)
        self.plain.append(" " * len(markup))
        self.spans += [(self._here(),) * 2] * len(markup)

    def _end_of_tag(self) -> int:
        tag = _TAG.match(self._text, self._here())
        assert tag is not None
        return tag.end()

    def _kept(self, tag: str, attributes: dict[str, str]) -> str:
        kept = ""
        for name in _ATTRIBUTES.get(tag, ()):
            value = attributes.get(name)
            if value is not None and name == "name":
                value = self._resolve(value)
            elif value is not None and name == "time":
                value = _milliseconds(value)
            if value is not None and _VALUE.fullmatch(value):
                kept += f' {name}="{value}"'
        return kept


def _milliseconds(time: str) -> str | None:
    """Return a time with its fraction in whole milliseconds: the library reads digits alone."""
    match = _TIME.fullmatch(time.strip())
    if match is None or not any(digit.isdigit() for digit in match[1]):
        return None
    milliseconds = float(match[1]) * (1000 if match[2] == "s" else 1)
    return f"{min(MAX_BREAK_MS, round(milliseconds))}ms"
