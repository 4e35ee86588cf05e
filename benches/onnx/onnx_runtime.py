"""ONNX Runtime's side of one case: `onnx_runtime.py MODEL ROWS THREADS SECONDS` prints what it has measured as JSON."""

import json
import pathlib
import sys
import time

import numpy as np
import onnxruntime

model, rows, threads, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
started = time.perf_counter()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
load = time.perf_counter() - started
inputs = []
for dtype, row in json.loads(pathlib.Path(model).with_name("inputs.json").read_text()):
    shape = (rows, *row)
    count = int(np.prod(shape))
    wave = np.sin(np.arange(count) * 0.37).astype(np.float32) if dtype == "float32" else np.ones(count, np.int64)
    inputs.append(wave.reshape(shape))
feed = {port.name: array for port, array in zip(session.get_inputs(), inputs)}
session.run(None, feed)
times, begin = [], time.perf_counter()
while len(times) < 5 or time.perf_counter() - begin < seconds:
    start = time.perf_counter()
    session.run(None, feed)
    times.append(time.perf_counter() - start)
status = pathlib.Path("/proc/self/status").read_text()
peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
print(json.dumps({"load_ms": load * 1e3, "batch_ms": sorted(times)[len(times) // 2] * 1e3, "peak_mb": peak / 1e3}))
