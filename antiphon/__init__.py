"""The contract between callers and synthesis nodes, and the client that other services import."""

from antiphon.client import TtsClient, connect
from antiphon.cluster import GroupStatus
from antiphon.errors import SpeechError
from antiphon.heartbeat import Voice
from antiphon.request import SpeechRequest
from antiphon.utterance import Utterance

__all__ = ["GroupStatus", "SpeechError", "SpeechRequest", "TtsClient", "Utterance", "Voice", "connect"]
__version__ = "0.1.0"
