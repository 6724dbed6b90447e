"""Times the image tower of an ONNX graph in ONNX Runtime on the CPU: a peer of trainer/examples/tower.rs.

Usage: onnx_tower.py ITERATIONS WARM_UP THREADS GRAPH; prints times in ms and the last run's features as JSON. Needs
numpy and onnxruntime. Graphs are written by make_onnx.py; pixels are those of the benchmark's other programs.
"""

import json
import sys
import time

import numpy as np
import onnxruntime


def pixels(count):
    state, values = 1, np.empty(count, dtype=np.float32)
    for i in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        values[i] = 4.0 * state / 2**32 - 2.0
    return values


def main():
    iterations, warm_up, threads = map(int, sys.argv[1:4])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(sys.argv[4], options, providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape
    inputs = {"pixels": pixels(int(np.prod(shape))).reshape(shape)}
    times = []
    for run in range(warm_up + iterations):
        begun = time.perf_counter()
        features = session.run(None, inputs)[0]
        if run >= warm_up:
            times.append((time.perf_counter() - begun) * 1e3)
    print(json.dumps({"times": times, "features": features.ravel().tolist()}))


main()
