"""A bare loop around a runtime's own call, without the zoo's sessions or timing: what the harness is held against.

A process of its own that speaks the measuring process's protocol (``zoo/latency/worker.py``): it opens a graph that was
saved before, and times ``time.perf_counter_ns`` pairs in the plainest loop there is.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from typing import Any

import numpy as np

from zoo.latency import cores
from zoo.latency.counters import between, read_counters, usable_processors


def open_onnxruntime(path: str) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    outputs = [o.name for o in session.get_outputs()]
    return lambda x: session.run(outputs, {name: x})


def open_openvino(path: str) -> Any:
    import openvino as ov

    settings = {"INFERENCE_PRECISION_HINT": ov.Type.f32, "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1}
    request = ov.Core().compile_model(path, "CPU", settings).create_infer_request()

    def call(x: Any) -> Any:
        request.infer([ov.Tensor(x, shared_memory=True)])
        return [np.array(t.data) for t in request.output_tensors]

    return call


def open_torch(name: str) -> Any:
    import torch

    from zoo.latency.structures import build

    torch.set_num_threads(1)
    module = build(name)

    def call(x: Any) -> Any:
        with torch.inference_mode():
            found = module(torch.from_numpy(x).to(torch.float32).permute(0, 3, 1, 2).contiguous())
            return [y.numpy() for y in found.values()]

    return call


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    call: Any = None
    processors, all_cores = usable_processors(), cores.usable()
    rng = np.random.default_rng(0)
    pool = [rng.integers(0, 256, (1, 224, 224, 3), np.uint8) for _ in range(64)]
    for line in sys.stdin:
        message = json.loads(line)
        answer: dict[str, Any] = {}
        if message["do"] == "open":
            openers = {"onnxruntime": open_onnxruntime, "openvino": open_openvino, "torch": open_torch}
            call = openers[message["runtime"]](message["graph"])
            for i in range(30):
                call(pool[i % 64])
        elif message["do"] == "slice":
            if chosen := cores.choose(all_cores, 1, message["round"]):
                cores.move_to(chosen)
            for i in range(5):
                call(pool[i])
            samples = []
            before = read_counters(processors=processors)
            end = time.perf_counter_ns() + int(message["seconds"] * 1e9)
            i = 0
            while time.perf_counter_ns() < end:
                x = pool[i % 64]
                i += 1
                start = time.perf_counter_ns()
                call(x)
                samples.append(time.perf_counter_ns() - start)
            happened = between(before, read_counters(processors=processors))
            answer = {
                "samples": base64.b64encode(np.array(samples, np.int64).tobytes()).decode(),
                "stolen": happened.stolen, "foreign": happened.foreign,
            }  # fmt: skip
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if message["do"] == "close":
            os._exit(0)


if __name__ == "__main__":
    main()
