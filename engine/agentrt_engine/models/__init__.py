"""The default model: where it comes from, where it lies, and whether it is whole.

`catalog`    which models can be fetched, pinned by size and hash
`folder`     from a name or path to a folder that was checked
`integrity`  the checks
`fetch`      download, verify, convert, put in place at once
`convert`    the child process of `fetch` that loads torch
"""
