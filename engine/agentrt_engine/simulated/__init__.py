"""An engine in virtual time: the policies of `agentrt_engine.policy` on a cost model."""
