"""OpenVINO as several threads may use it.

Its bindings make themselves ready for numpy at the first array. Where two threads bring their first arrays at once, one
holds the guard of that step and waits for the interpreter's lock, the other holds the lock and waits for the guard, for
ever (OpenVINO 2026.4, pybind11's ``npy_api``). So the step is taken here, while the module is imported, which Python
does in one thread.
"""

from __future__ import annotations

import numpy as np
import openvino as ov

__all__ = ["ov"]

_ = ov.Tensor(np.zeros(1, np.float32)).data
