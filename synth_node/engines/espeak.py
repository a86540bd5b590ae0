"""espeak-ng through its C API, from the library in the wheel `espeakng-loader`.

The library is not thread-safe and is licensed under GPL-3.0-or-later: it lives in the engine's process alone.
"""

from __future__ import annotations

import ctypes
import unicodedata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import espeakng_loader

from synth_node.engines import espeak_ssml
from synth_node.engines.espeak_words import CLAUSE_END, WORD, Event, Script, Words

NORMAL_WORDS_PER_MINUTE = 175
MIN_WORDS_PER_MINUTE = 80
MAX_WORDS_PER_MINUTE = 900
SHORTENED_WORDS_PER_MINUTE = 450
"""From here on the library speaks at the normal rate and shortens the samples."""
DEFAULT_VOICE = "en-us"
MIN_SILENCE_S = 0.1
"""What a text of marks alone gives at least."""
ALIASES = {
    "alloy": "en-us",
    "ash": "en-us+m3",
    "ballad": "en-gb-x-rp+m1",
    "cedar": "en-us+m7",
    "coral": "en-us+f2",
    "echo": "en-us+m1",
    "fable": "en-gb+m2",
    "marin": "en-us+f4",
    "nova": "en-us+f3",
    "onyx": "en-us+m5",
    "sage": "en-us+f1",
    "shimmer": "en-us+f5",
    "verse": "en-us+m4",
}
"""The voices of OpenAI's API, by what is nearest."""

# speak_lib.h
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_SSML = 0x10
_END_PAUSE = 0x1000
_RATE = 1
_POS_CHARACTER = 1
_OK = 0


class _Voice(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),  # (priority byte, tag, NUL) each, then a NUL
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # in characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # in ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_SynthCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Engine:
    """Speaks with any voice of espeak-ng, named by identifier, language tag or name, in any case.

    A variant may follow a plus sign: en-us+f3.
    """

    name = "espeak"
    aliases = ALIASES
    ssml = True
    words = True

    def __init__(self) -> None:
        self._library = _bind(ctypes.CDLL(espeakng_loader.get_library_path()))
        self._data_path = Path(espeakng_loader.get_data_path())
        rate = self._library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, str(self._data_path).encode(), _INITIALIZE_DONT_EXIT
        )
        if rate <= 0:
            raise RuntimeError(f"espeak-ng cannot be initialized with the data in {self._data_path}")
        self.sample_rate = int(rate)
        self._identifiers: dict[str, str] = {}  # lower-case identifier, tag or name -> identifier
        self.voices = self._read_voices()
        variants = self._list(_Voice(languages=ctypes.cast(ctypes.c_char_p(b"variant"), ctypes.c_void_p)))
        self._variants = {voice.identifier.decode().partition("!v/")[2].lower() for voice in variants}
        self._emit: Any = None
        self._words: Words | None = None
        self._raised: BaseException | None = None
        self._silence: bytes | None = b""  # held back until a sound comes; None: it has come, or need not
        self._n_samples = 0
        self._pace = 1.0  # by which the library shortens its samples after it has counted them
        self._callback = _SynthCallback(self._on_samples)  # referenced as long as the library may call it
        self._library.espeak_SetSynthCallback(self._callback)

    def has_voice(self, voice: str) -> bool:
        """Return whether `voice` names one."""
        return self._resolve(voice) is not None

    def speak_to(self, request: SimpleNamespace, emit: Any) -> None:
        """Emit mono s16 samples as the library makes them."""
        # Both are set for each utterance: the library keeps those of the last.
        voice = self._resolve(request.voice or DEFAULT_VOICE)
        assert voice is not None
        _check("SetVoiceByName", self._library.espeak_SetVoiceByName(voice.encode()))
        words = round(NORMAL_WORDS_PER_MINUTE * request.speed)
        words = max(MIN_WORDS_PER_MINUTE, min(MAX_WORDS_PER_MINUTE, words))
        _check("SetParameter", self._library.espeak_SetParameter(_RATE, words, 0))
        self._pace = words / NORMAL_WORDS_PER_MINUTE if words >= SHORTENED_WORDS_PER_MINUTE else 1.0
        if request.input_type == "ssml":
            script, flags = espeak_ssml.read(request.text, self._resolve), _CHARS_UTF8 | _SSML
        else:
            text = request.text.replace("\0", " ")  # it would stop there
            script, flags = Script(text, text), _CHARS_UTF8
        says_something = any(unicodedata.category(character)[0] in "LN" for character in script.plain)
        self._emit, self._raised, self._n_samples = emit, None, 0
        self._silence = b"" if says_something else None
        self._words = Words(script, self._give, emit.word) if request.timestamps else None
        self._synthesize(script.spoken.encode("utf-8", "replace"), flags)
        if not says_something:
            emit(bytes(2 * max(0, round(MIN_SILENCE_S * self.sample_rate) - self._n_samples)))

    def close(self) -> None:
        """Release the library."""
        self._library.espeak_Terminate()

    def _synthesize(self, text: bytes, flags: int) -> None:
        try:
            # The pause behind the last sentence, too: another segment, or utterance, may follow at once.
            flags |= _END_PAUSE
            result = self._library.espeak_Synth(text, len(text) + 1, 0, _POS_CHARACTER, 0, flags, None, None)
            if self._words is not None and self._raised is None:
                self._words.finish()
        finally:
            self._emit = self._words = None
        if self._raised is not None:
            raise self._raised
        _check("Synth", result)

    def _on_samples(self, samples: Any, n_samples: int, events: Any) -> int:
        """Return 1 to stop; an exception cannot pass through the library, so it is kept."""
        try:
            pcm = ctypes.string_at(samples, 2 * n_samples) if samples and n_samples > 0 else b""
            if self._words is not None:
                self._words.take(pcm, self._read_events(events, len(pcm) // 2))
            elif pcm:
                self._give(pcm)
            self._n_samples += len(pcm) // 2
        except BaseException as exc:
            self._raised = exc
            return 1
        return 0

    def _read_events(self, events: Any, n_samples: int) -> list[Event]:
        """Return the words and clause ends among the events of a buffer."""
        read: list[Event] = []
        while events and events[len(read)].type:
            event = events[len(read)]
            # The library knows the place in the buffer as it was before it was shortened.
            place = min(n_samples, max(0, round((event.sample - self._n_samples) / self._pace)))
            read.append(Event(event.type, event.text_position - 1, event.length, self._n_samples + place))
        return [event for event in read if event.kind in (WORD, CLAUSE_END)]

    def _give(self, pcm: bytes) -> None:
        """Emit samples, silence only with the sound that follows it: a text that makes none has none."""
        if self._silence is not None:
            pcm = self._silence + pcm
            self._silence = pcm if pcm.count(0) == len(pcm) else None
        if self._silence is None:
            self._emit(pcm)

    def _resolve(self, voice: str) -> str | None:
        base, plus, variant = voice.strip().lower().partition("+")
        identifier = self._identifiers.get(base)
        if identifier is None or (plus and variant not in self._variants):
            return None
        return identifier + plus + variant

    def _read_voices(self) -> list[tuple[str, str, str]]:
        """Return (id, name, language) of each voice; the id is its language tag where that is its own."""
        ranked: dict[str, tuple[int, str]] = {}  # tag -> best priority (a low number), identifier
        listed = []
        for voice in self._list(None):
            identifier = voice.identifier.decode()
            tags = _tags(voice.languages)
            if not _has_dictionary(self._data_path, identifier, tags[0][1]):
                continue  # it would say nothing
            for priority, tag in tags:
                if tag.lower() not in ranked or priority < ranked[tag.lower()][0]:
                    ranked[tag.lower()] = priority, identifier
            listed.append((identifier, voice.name.decode().strip(), tags[0][1]))
        self._identifiers = {name.lower(): identifier for identifier, name, _ in listed}
        self._identifiers.update({tag: identifier for tag, (_, identifier) in ranked.items()})
        self._identifiers.update({identifier.lower(): identifier for identifier, _, _ in listed})
        return [
            (tag if self._identifiers.get(tag.lower()) == identifier else identifier, name, tag)
            for identifier, name, tag in listed
        ]

    def _list(self, like: _Voice | None) -> list[_Voice]:
        """Return what matches `like`; the structures belong to the library until the next call."""
        voices = self._library.espeak_ListVoices(None if like is None else ctypes.byref(like))
        listed: list[_Voice] = []
        while voices[len(listed)]:
            listed.append(voices[len(listed)].contents)
        return listed


def _bind(library: ctypes.CDLL) -> ctypes.CDLL:
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
    library.espeak_ListVoices.argtypes = [ctypes.c_void_p]
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_SetSynthCallback.restype = None
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    return library


def _check(what: str, result: int) -> None:
    if result != _OK:
        raise RuntimeError(f"espeak_{what} returned {result}")


def _tags(address: int) -> list[tuple[int, str]]:
    """Read pairs of priority and language tag."""
    tags = []
    while (priority := ctypes.string_at(address, 1)[0]) != 0:
        tag = ctypes.string_at(address + 1)
        tags.append((priority, tag.decode()))
        address += len(tag) + 2
    return tags


def _has_dictionary(data_path: Path, identifier: str, tag: str) -> bool:
    """Return whether a voice's dictionary is there: that of its language, or the one its file names."""
    if (data_path / f"{tag.partition('-')[0]}_dict").exists():
        return True
    lines = (data_path / "lang" / identifier).read_text(errors="replace").splitlines()
    named = [line.split()[1] for line in lines if line.startswith("dictionary ")]
    return any((data_path / f"{name}_dict").exists() for name in named)
