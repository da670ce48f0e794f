"""The main job: mine the history of a git repository under SIGKILL and prove the result.

An edge: it uses the public API of ``belaypin`` and nothing else, exactly as a user would.
``miner`` is the pipeline; ``killer`` runs it and kills it; ``proof`` asks git what
should be there and reads the tables with the plain driver; ``run`` puts them together.
"""
