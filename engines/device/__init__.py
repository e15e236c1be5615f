"""Work on a CUDA device without waiting on the host: a worker's stream, arrays with events, upload, kernels, IPC.

Nothing here knows a node or a runtime. A stream and an event are the driver's; see `engines.cuda.Device`.
"""
