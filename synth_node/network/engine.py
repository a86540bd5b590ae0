"""What an engine is that speaks over the network: it runs on the node's loop, and all slots share it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Protocol, Self

from antiphon.settings import SettingsError
from synth_node.engine_info import EngineInfo
from synth_node.host import EngineRequest, EngineUnavailable
from synth_node.network.trouble import Misconfigured, Trouble

__all__ = ["EngineRequest", "NetworkEngine", "Unreachable", "probing"]


class Unreachable(Exception):
    """The server cannot be reached now; a sentence that says why, without a secret."""


class NetworkEngine(Protocol):
    """Speaks any number of utterances at once; each slot of the node asks for one at a time.

    info: its `sample_rate` is that of the PCM in Hz, None if it gives files.
    """

    @property
    def info(self) -> EngineInfo:
        """What the engine says of itself."""

    async def __aenter__(self) -> Self:
        """Open what utterances share, without waiting for the server."""

    async def __aexit__(self, *exc_info: object) -> None:
        """Close it."""

    async def probe(self) -> None:
        """Find out whether the engine can speak, at no cost; done before slots join, and after a pause.

        Raises:
            EngineUnavailable: the settings are at fault; the text names the variable and shows no secret.
            Unreachable: a later try may succeed.
        """

    def speak(self, request: EngineRequest) -> AsyncGenerator[bytes, None]:
        """Yield the audio of one segment as it comes; closing it early cancels.

        It is mono s16le PCM at the rate in `info`, in pieces of any size (a sample may be cut in two), or
        the bytes of one audio file if that rate is None.

        Raises:
            SpeechError: InvalidRequest, UnknownVoice, TextTooLong where the request is at fault; EngineFailed
                where another node would fail, too; EngineCrashed where another slot or node may do better;
                Draining where this one pauses.
        """


@contextmanager
def probing() -> Iterator[None]:
    """Have settings and troubles within the block raise what a probe does.

    Raises:
        EngineUnavailable, Unreachable.
    """
    try:
        yield
    except SettingsError as exc:
        raise EngineUnavailable(str(exc)) from None
    except Misconfigured as exc:
        raise EngineUnavailable(exc.in_full) from None
    except Trouble as exc:
        raise Unreachable(exc.in_full) from None
