"""A voice file for Piper that is small enough to be made by a test, and yet one that Piper loads and runs.

Where a real voice computes speech it computes a tone: 256 samples for each phoneme of the text, times the
length scale, of a pitch that tells the speaker and the noise scales.
"""

from __future__ import annotations

import json
from array import array
from itertools import pairwise
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

RATE = 16_000
HERTZ, HERTZ_BY_SPEAKER, HERTZ_BY_NOISE, HERTZ_BY_NOISE_W = 300, 200, 1000, 2000
_FLOAT, _INT = TensorProto.FLOAT, TensorProto.INT64


def make_voice(path: Path, speakers: dict[str, int] | None = None, **changes: Any) -> Path:
    """Write a voice to `path` and what describes it beside it; return `path`. changes: of the description."""
    speakers = speakers or {}
    onnx.save(_model(has_speakers=bool(speakers)), path)
    described = {
        "audio": {"sample_rate": RATE, "quality": "low"},
        "espeak": {"voice": "en-us"},
        "language": {"code": "en_US", "name_english": "English"},
        "dataset": "tone",
        "inference": {"noise_scale": 0.0, "length_scale": 2.0, "noise_w": 0.0},
        "num_symbols": 256,
        "num_speakers": max(1, len(speakers)),
        "speaker_id_map": speakers,
        "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
        "phoneme_type": "espeak",
    }
    path.with_name(f"{path.name}.json").write_text(json.dumps({**described, **changes}))
    return path


def pitch(samples: array[int], rate: int = RATE) -> float:
    """Return the frequency of a tone in Hz, from its crossings of zero."""
    crossings = sum((a < 0) != (b < 0) for a, b in pairwise(samples))
    return crossings * rate / 2 / len(samples)


def _model(*, has_speakers: bool) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info("input", _INT, [1, "phonemes"]),
        helper.make_tensor_value_info("input_lengths", _INT, [1]),
        helper.make_tensor_value_info("scales", _FLOAT, [3]),
    ]
    if has_speakers:
        inputs.append(helper.make_tensor_value_info("sid", _INT, [1]))
    output = helper.make_tensor_value_info("output", _FLOAT, [1, 1, "samples"])
    numbers = {"hertz": HERTZ, "zero": 0, "one": 1, "per_phoneme": 256, "angle": 2 * 3.141592653589793 / RATE}
    weights = {"by_scale": [HERTZ_BY_NOISE, 0, HERTZ_BY_NOISE_W], "by_speaker": [HERTZ_BY_SPEAKER]}
    constants = [helper.make_tensor(name, _FLOAT, [], [value]) for name, value in numbers.items()]
    constants += [helper.make_tensor(name, _FLOAT, [len(row)], row) for name, row in weights.items()]
    constants += [helper.make_tensor(f"at_{i}", _INT, [], [i]) for i in (0, 1)]
    constants.append(helper.make_tensor("axes", _INT, [2], [0, 1]))
    node = helper.make_node
    nodes = [
        node("Gather", ["scales", "at_1"], ["length_scale"]),
        node("Gather", ["input_lengths", "at_0"], ["n_int"]),
        node("Cast", ["n_int"], ["n"], to=_FLOAT),
        node("Mul", ["n", "per_phoneme"], ["n_normal"]),
        node("Mul", ["n_normal", "length_scale"], ["n_samples"]),
        node("Range", ["zero", "n_samples", "one"], ["times"]),
        node("Mul", ["scales", "by_scale"], ["of_scales"]),
        node("ReduceSum", ["of_scales"], ["of_noise"], keepdims=0),
        node("Add", ["hertz", "of_noise"], ["pitch" if not has_speakers else "base"]),
        node("Mul", ["times", "angle"], ["angles"]),
        node("Mul", ["angles", "pitch"], ["phases"]),
        node("Sin", ["phases"], ["tone"]),
        node("Unsqueeze", ["tone", "axes"], ["output"]),
    ]
    if has_speakers:
        nodes[9:9] = [
            node("Cast", ["sid"], ["speaker"], to=_FLOAT),
            node("Mul", ["speaker", "by_speaker"], ["of_speaker"]),
            node("Add", ["base", "of_speaker"], ["pitch"]),
        ]
    graph = helper.make_graph(nodes, "tone", inputs, [output], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
