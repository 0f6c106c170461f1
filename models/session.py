"""The one place where onnxruntime is loaded: on the CPU, quiet, and without its reports over the network."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime


def keep_quiet() -> None:
    """Make onnxruntime report nothing over the network, as it does from version 1.32 on; call it before loading it."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def open_session(model: bytes | str, threads: int = 2, *, spinning: bool = True) -> onnxruntime.InferenceSession:
    """A session for an ONNX file's content (or its path).

    ``spinning``: whether idle threads wait busily, which answers faster on a quiet machine and slows a busy one down.
    """
    keep_quiet()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not spinning:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
