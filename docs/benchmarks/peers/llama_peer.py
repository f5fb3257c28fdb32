"""llama.cpp: `python llama_peer.py FILE.gguf`. Its Python binding runs one sequence at a time."""

from __future__ import annotations

import os
import sys

from protocol import serve


def main() -> None:
    """Serve its Python binding."""
    import llama_cpp

    model = llama_cpp.Llama(
        sys.argv[1],
        n_ctx=4096,
        n_batch=512,
        n_threads=os.cpu_count(),
        n_threads_batch=os.cpu_count(),
        verbose=False,
    )

    def generate(prompts: list[list[int]], new: int) -> None:
        for ids in prompts:
            model.reset()
            tokens = model.generate(ids, temp=0.0, reset=True)
            for _ in range(new):
                next(tokens)

    serve(llama_cpp.__version__, generate)


if __name__ == "__main__":
    main()
