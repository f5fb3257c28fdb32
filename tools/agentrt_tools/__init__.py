"""Tools that agents act with: a shell in a sandbox, and reading and searching files."""

from agentrt_tools.bash import bash
from agentrt_tools.grep import grep
from agentrt_tools.read_file import read_file

__all__ = ["bash", "grep", "read_file"]
