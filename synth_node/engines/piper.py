"""Neural voices with the package piper-tts and a voice file of the user's.

Runs in the engine's process, perhaps in the user's own environment: of packages it needs piper-tts only.
Python 3.8 or newer.
"""

from __future__ import annotations

import json
import logging
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .signature import CannotUse

_CUDA = "CUDAExecutionProvider"
# Those of the package itself: the search for the fastest convolution takes long with each new length.
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC"}


class Engine:
    """Speaks sentence by sentence with one voice file, whose speakers are the voices.

    voice: path of the .onnx file. config: of the .json file that describes it; None is the one beside it.
    noise_scale, noise_w: how much the sound and the pace vary; None is the voice's own.
    threads: for one sentence; None is one for each core. cuda: compute on a GPU.
    """

    name = "piper"

    def __init__(
        self,
        voice: str,
        config: str | None = None,
        noise_scale: float | None = None,
        noise_w: float | None = None,
        threads: int | None = None,
        cuda: bool = False,
    ) -> None:
        self._piper, runtime = _packages()
        # It would warn of each sound that a voice lacks, and what a caller wrote is not for the log.
        logging.getLogger("piper").setLevel(logging.ERROR)
        described = _read_json(config or f"{voice}.json")
        try:
            settings = self._piper.PiperConfig.from_dict(described)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise CannotUse(f"{config or voice + '.json'} describes no Piper voice: {exc!r}") from None
        session = _session(runtime, voice, threads, cuda=cuda)
        needed = {"input", "input_lengths", "scales"} | ({"sid"} if settings.num_speakers > 1 else set())
        if {each.name for each in session.get_inputs()} != needed:
            raise CannotUse(
                f"SYNTH_PIPER_VOICE: {voice} is not the Piper voice that its .json file describes"
            )
        self._voice = self._piper.PiperVoice(
            session=session, config=settings, download_dir=Path(voice).resolve().parent
        )
        self._noise = {"noise_scale": noise_scale, "noise_w_scale": noise_w}
        self._length_scale: float = settings.length_scale
        self.sample_rate: int = settings.sample_rate
        self._speakers = _speakers(settings, Path(voice).stem)
        language = _language(described)
        self.voices = [(speaker, speaker, language) for speaker in self._speakers]
        self._warm_up(voice)

    def has_voice(self, voice: str) -> bool:
        """Return whether there is such a speaker."""
        return voice in self._speakers

    def speak_to(self, request: SimpleNamespace, emit: Any) -> None:
        """Emit mono s16 samples, a sentence at a time."""
        settings = self._piper.SynthesisConfig(
            speaker_id=None if request.voice is None else self._speakers[request.voice],
            length_scale=self._length_scale / request.speed,
            **self._noise,
        )
        text = request.text.replace("\0", " ").encode("utf-8", "replace").decode()
        for sentence in self._voice.synthesize(text, settings):
            emit(sentence.audio_int16_bytes)

    def _warm_up(self, voice: str) -> None:
        """Speak once: the first time takes longer, and what does not work shows now."""
        if self._voice.config.phoneme_type != self._piper.PhonemeType.ESPEAK:
            return  # what another language makes of this text is not known
        try:
            self.speak_to(SimpleNamespace(text="1", voice=None, speed=1.0), lambda _: None)
        except Exception as exc:
            reason = str(exc).splitlines()[0][:300]
            raise CannotUse(f"SYNTH_PIPER_VOICE: {voice} cannot speak: {reason}") from exc


def _packages() -> tuple[Any, Any]:
    try:
        return import_module("piper"), import_module("onnxruntime")
    except ImportError as exc:
        if exc.name not in ("piper", "onnxruntime"):
            raise CannotUse(f"the engine piper needs a package that cannot be imported: {exc}") from exc
        raise CannotUse(
            f"{sys.executable} has no package piper-tts, which the engine piper needs: "
            "pip install 'antiphon[piper]', or piper-tts in the environment of SYNTH_PYTHON"
        ) from None


def _read_json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no JSON"
        raise CannotUse(f"SYNTH_PIPER_CONFIG: {path} cannot be read: {reason}") from None


def _session(runtime: Any, voice: str, threads: int | None, *, cuda: bool) -> Any:
    if cuda and _CUDA not in runtime.get_available_providers():
        raise CannotUse("SYNTH_PIPER_CUDA: this onnxruntime cannot use a GPU; pip install onnxruntime-gpu")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 4  # what fails is raised, and told in one sentence
    providers = [(_CUDA, _CUDA_OPTIONS)] if cuda else ["CPUExecutionProvider"]
    try:
        return runtime.InferenceSession(voice, sess_options=options, providers=providers)
    except Exception as exc:  # the package has a type of its own for each kind of bad file
        reason = str(exc).splitlines()[0][:300]
        raise CannotUse(f"SYNTH_PIPER_VOICE: {voice} is no model: {reason}") from None


def _speakers(settings: Any, name: str) -> dict[str, int | None]:
    """Return the number of each voice's speaker, the default one first; one without speakers has none."""
    if settings.num_speakers <= 1:
        return {name: None}
    known = settings.speaker_id_map or {str(number): number for number in range(settings.num_speakers)}
    return dict(sorted(known.items(), key=lambda item: item[1] != settings.default_speaker_id))


def _language(described: Any) -> str:
    """Return the tag of the voice's language."""
    code = (described.get("language") or {}).get("code") or described["espeak"]["voice"]
    return str(code).replace("_", "-")
