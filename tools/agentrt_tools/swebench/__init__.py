"""SWE-bench as programs: mini-swe-agent's loop, our model and environment, swebench's graders."""
