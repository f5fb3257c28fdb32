"""The command line.

`main`      the application and its process boundary
`console`   stdout, stderr, progress and `--json`, shared by all commands
`settings`  flag > environment > file
`options`   parameters that several commands have

One module per command.
"""
