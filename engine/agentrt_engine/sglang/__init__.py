"""SGLang as the engine: the plug-in inside it and the process around it.

Inside SGLang's processes (these import torch and SGLang):
    `plugin`    entry point that SGLang calls in each of its processes
    `scheduling`, `info`, `attention`   what the plug-in hooks
    `cpu`       what SGLang lacks on a machine without CUDA
    `launch`    main module of the engine process

In the process that owns an engine (these import neither):
    `options`   what an engine is started with
    `server`    starts, watches and stops the engine process
"""
