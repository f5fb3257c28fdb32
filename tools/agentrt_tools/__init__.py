"""Tools that agents act with: a shell and Python in a sandbox, files, and HTTP."""

from agentrt_tools.bash import bash, bash_tool
from agentrt_tools.edit_file import edit_file
from agentrt_tools.glob import glob
from agentrt_tools.grep import grep
from agentrt_tools.http import http_tool
from agentrt_tools.limits import Limits
from agentrt_tools.python import python, python_tool
from agentrt_tools.read_file import read_file
from agentrt_tools.write_file import write_file

#: All that read and change the files of a workspace.
files = (read_file, write_file, edit_file, glob, grep)

__all__ = [
    "Limits",
    "bash",
    "bash_tool",
    "edit_file",
    "files",
    "glob",
    "grep",
    "http_tool",
    "python",
    "python_tool",
    "read_file",
    "write_file",
]
