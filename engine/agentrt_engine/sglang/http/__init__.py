"""The plug-in in SGLang's HTTP process: identity, keys, routes under `/agentrt` and metrics.

`registration`   hooks all of it; the only module here that imports SGLang when imported
`server`         routes, and the order in which middlewares see a request
`channel`        questions to the scheduler
"""
