"""Settings of the engine that speaks with Xunfei's online voices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from antiphon.heartbeat import Voice
from antiphon.settings import Seconds
from synth_node.engine_settings import EngineSettings, address, read_voices, secret
from synth_node.engines.xunfei import online, super_human, voices
from synth_node.engines.xunfei.protocol import MAX_SPEED, MIN_SPEED

PREFIX: Final = "XUNFEI_"
Mode = Literal["online", "super-human"]

_URLS: Final = {"online": online.URL, "super-human": super_human.URL}
_RATES: Final = {"online": online.SAMPLE_RATES, "super-human": super_human.SAMPLE_RATES}
_VOICES: Final = {"online": voices.ONLINE, "super-human": voices.SUPER_HUMAN}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an app of Xunfei's console is let in with; shown to nobody."""

    app_id: str = field(repr=False)
    key: str = field(repr=False)
    secret: str = field(repr=False)

    @property
    def secrets(self) -> tuple[str, str]:
        """What no text may show."""
        return self.key, self.secret


class XunfeiSettings(EngineSettings):
    """Which app speaks, with what voices and how; each field is the variable XUNFEI_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True)

    app_id: SecretStr | None = None
    """APPID of the app in Xunfei's console."""
    app_id_file: str | None = None
    """File with it, such as a mounted secret; all three are read again whenever the engine has paused."""
    api_key: SecretStr | None = None
    """APIKey of the same app."""
    api_key_file: str | None = None
    """File with it."""
    api_secret: SecretStr | None = None
    """APISecret of the same app."""
    api_secret_file: str | None = None
    """File with it."""
    mode: Mode = "online"
    """online is /v2/tts, super-human the service of that name, which the app has to be allowed separately."""
    url: str | None = None
    """Address of the service, such as that of another site; the one of the mode unless given."""
    proxy: str | None = Field(default=None, repr=False)
    """HTTP proxy on the way there, such as http://proxy:3128; none unless given."""
    voices: str | None = None
    """Voices as `id=name/language`, with commas, the default first; the mode's basic set unless given."""
    aue: Literal["raw", "lame"] = "raw"
    """What the service sends: samples, or mp3, which is passed on untouched where mp3 is wanted."""
    sample_rate: int | None = None
    """Of the audio in Hz: 8000 or 16000, of super-human voices also 24000; the highest unless given."""
    speed: Annotated[float, Field(ge=MIN_SPEED, le=MAX_SPEED, allow_inf_nan=False)] = 1.0
    """Speed as a factor, by which that of each request is multiplied; 1 is normal."""
    volume: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 1.0
    """Loudness as a factor: 1 is normal, 0 is silence."""
    pitch: Annotated[float, Field(ge=0.5, le=2, allow_inf_nan=False)] = 1.0
    """Pitch as a factor: 1 is normal."""
    tte: Literal["UTF8", "UNICODE", "GB2312", "GBK", "BIG5", "GB18030"] = "UTF8"
    """How texts are encoded for the online service; what is not in the encoding cannot be spoken."""
    attempts: Annotated[int, Field(ge=1, le=20)] = 3
    """How often one text is tried in all if the service fails; waiting for a busy one does not count."""
    connect_s: Seconds = 10.0
    """Time for a connection to the service, in seconds."""
    idle_s: Seconds = 15.0
    """Longest silence of the service at work, before its first audio too, in seconds."""
    total_s: Seconds = 120.0
    """Longest wait for the service in one attempt, all its silences together, in seconds."""

    @field_validator("url")
    @classmethod
    def _is_service(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None:
            url = address(value, ("ws", "wss"), online.URL)
            if url.username is not None or url.password is not None or url.query or url.fragment:
                raise ValueError("must be scheme, host and path, and nothing else")
            if url.path in ("", "/"):
                raise ValueError("must have a path, such as /v2/tts")
            for mode, known in _URLS.items():
                # It would let us in, and then understand no request.
                if url.path == urlsplit(known).path and info.data.get("mode", mode) != mode:
                    raise ValueError(f"is that of {PREFIX}MODE={mode}, but the mode is {info.data['mode']}")
        return value

    @field_validator("proxy")
    @classmethod
    def _is_proxy(cls, value: str | None) -> str | None:
        if value is not None:
            address(value, ("http", "https"), "http://proxy:3128")
        return value

    @field_validator("voices")
    @classmethod
    def _are_told_apart(cls, value: str | None) -> str | None:
        read_voices(value or "")
        return value

    @field_validator("sample_rate")
    @classmethod
    def _is_of_the_mode(cls, value: int | None, info: ValidationInfo) -> int | None:
        mode = info.data.get("mode")
        if value is not None and mode is not None and value not in _RATES[mode]:
            rates = ", ".join(map(str, _RATES[mode]))
            raise ValueError(f"must be one of {rates} with {PREFIX}MODE={mode}")
        return value

    @model_validator(mode="after")
    def _has_credentials(self) -> Self:
        self.credentials()  # a process without them stops before it connects to anything
        return self

    def credentials(self) -> Credentials:
        """Read what the app is let in with.

        Raises:
            SettingsError: a part of it is not there.
        """
        return Credentials(
            secret(f"{PREFIX}APP_ID", self.app_id, self.app_id_file),
            secret(f"{PREFIX}API_KEY", self.api_key, self.api_key_file),
            secret(f"{PREFIX}API_SECRET", self.api_secret, self.api_secret_file),
        )

    @property
    def address(self) -> str:
        """Of the service."""
        return self.url or _URLS[self.mode]

    @property
    def rate(self) -> int:
        """Of the audio, in Hz."""
        return self.sample_rate or max(_RATES[self.mode])

    @property
    def voice_ids(self) -> tuple[str, ...]:
        """Those of the voices."""
        return tuple(voice.id for voice in self.voice_list)

    @property
    def voice_list(self) -> tuple[Voice, ...]:
        """The voices, the default first; what is known of them stands where nothing else is said."""
        given = [
            Voice(id, name, language) if language or name != id else voices.voice(id)
            for id, name, language in read_voices(self.voices or "")
        ]
        return tuple(given) or tuple(map(voices.voice, _VOICES[self.mode]))
