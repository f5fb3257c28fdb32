"""Engines for agent programs and the policies that drive them.

`wire`     what the runtime and an engine share: headers, trace records, telemetry names
`policy`   pure decisions: which waiting turn runs next
`models`   the default model: fetched, verified, converted once
`sglang`   the plug-in that lives inside SGLang, and the process that runs it

Importing this package, `wire` or `policy` loads neither torch nor SGLang.
"""
