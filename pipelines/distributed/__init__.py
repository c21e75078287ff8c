"""Cleaning on an engine of many machines, through the DataFrame API that Spark Connect carries.

Records are normalised and judged by the functions that one machine uses, within the tasks of the engine. Which records
are one customer is decided by the engine on keys alone; `pipelines/identify.py` is the reference.
"""
