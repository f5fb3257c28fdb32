"""The Berkeley Function Calling Leaderboard: its entries, tool back ends and checkers.

Data and code are those of the package `bfcl-eval`; an entry becomes a program, and every call
passes interception.
"""
