"""The networks that find faces and landmarks: MediaPipe's TFLite files, run by OpenVINO without their package; YuNet.

MediaPipe's are files inside the Apache-2.0 distribution ``mediapipe`` 0.10.21, the last one that ships them.
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from zoo.registry.schema import WeightFile

ENTRY: Final = "tool:mediapipe"
"""Name under which the files lie in the weights cache."""

_MODULES: Final = "package:mediapipe==0.10.21:mediapipe/modules"

SHORT_RANGE: Final = WeightFile(
    name="face_detection_short_range.tflite",
    role="face-detector",
    format="tflite",
    sources=(f"{_MODULES}/face_detection/face_detection_short_range.tflite",),
    sha256="bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    size=229714,
)
FULL_RANGE: Final = WeightFile(
    name="face_detection_full_range_sparse.tflite",
    role="face-detector",
    format="tflite",
    sources=(f"{_MODULES}/face_detection/face_detection_full_range_sparse.tflite",),
    sha256="2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
    size=676746,
)
FACE_MESH: Final = WeightFile(
    name="face_landmark.tflite",
    role="face-mesh",
    format="tflite",
    sources=(f"{_MODULES}/face_landmark/face_landmark.tflite",),
    sha256="1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
    size=1242398,
)
ATTENTION_MESH: Final = WeightFile(
    name="face_landmark_with_attention.tflite",
    role="face-mesh",
    format="tflite",
    sources=(f"{_MODULES}/face_landmark/face_landmark_with_attention.tflite",),
    sha256="e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4",
    size=2495106,
)

YUNET_ENTRY: Final = "tool:yunet"
YUNET: Final = WeightFile(
    name="face_detection_yunet_2023mar.onnx",
    role="face-detector",
    format="onnx",
    sources=(
        "hf:opencv/face_detection_yunet@main:face_detection_yunet_2023mar.onnx",
        "github:opencv/opencv_zoo@82b38c8f98e7b52aa171400f3e4c722352d0669f:"
        "models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
    ),
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",  # of OpenCV Zoo's Git LFS pointer
    size=232589,
)

FILES: Final = (SHORT_RANGE, FULL_RANGE, FACE_MESH, ATTENTION_MESH)

PixelRange: TypeAlias = Literal["-1..1", "0..1"]


def settings(threads: int) -> dict[str, Any]:
    """Returns how these networks are compiled.

    Without the hint OpenVINO computes in bf16 on processors that have it, which moves landmarks by pixels. Threads are
    not pinned: sessions of models share these cores.
    """
    return {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": threads,
        "ENABLE_CPU_PINNING": False,
    }


class Network:
    """One file, compiled for the CPU in float32. Safe to call from several threads.

    Attributes:
        side: Side of the square input in pixels.
    """

    def __init__(self, path: Path, *, pixel_range: PixelRange | None, threads: int) -> None:
        """Reads and compiles a file.

        Args:
            path: The file.
            pixel_range: What the network wants 0..255 to be mapped to; done inside the graph, which then takes uint8.
                None: the inputs are float32.
            threads: How many calls may run at once; each runs on one core.
        """
        from openvino.preprocess import PrePostProcessor

        from zoo._util.openvino import ov

        core = ov.Core()
        model = core.read_model(path)
        if pixel_range is not None:
            steps = PrePostProcessor(model)
            steps.input().tensor().set_element_type(ov.Type.u8)
            chain = steps.input().preprocess().convert_element_type(ov.Type.f32)
            if pixel_range == "-1..1":
                chain.mean(127.5)
            chain.scale(127.5 if pixel_range == "-1..1" else 255.0)
            model = steps.build()
        self._compiled = core.compile_model(model, "CPU", settings(threads))
        self._local = threading.local()
        self.side = int(self._compiled.input(0).shape[1])

    def __call__(self, *inputs: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """Runs one picture.

        Args:
            inputs: RGB uint8 ``[side, side, 3]``, or the file's float32 inputs in its order, without the batch.

        Returns:
            The outputs in the file's order, as copies.
        """
        request = getattr(self._local, "request", None)
        if request is None:  # a request holds its own buffers: one for each thread
            request = self._local.request = self._compiled.create_infer_request()
        for place, values in enumerate(inputs):
            request.get_input_tensor(place).data[0] = values
        request.infer()
        return tuple(np.array(t.data) for t in request.output_tensors)


@cache
def open_network(file: WeightFile, pixel_range: PixelRange, threads: int) -> Network:
    """Returns the compiled network of a file; pipelines with the same number of threads share it.

    Raises:
        WeightsMissingError: The file is neither in the cache nor to be had.
    """
    from zoo.weights import locate

    return Network(locate(file, entry=ENTRY), pixel_range=pixel_range, threads=threads)
