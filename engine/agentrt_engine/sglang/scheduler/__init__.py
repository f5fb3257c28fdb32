"""The half of the plug-in that lives in SGLang's scheduler process.

Everything but `radix_cache`, `adder`, `hooks` and `control` is plain Python without SGLang: what
the engine knows of programs, whose idle KV it holds, who yields, when to look at the queue.
"""
