"""Running unattended: alerts, health checks, and the state of pipelines. A run whose settings ask for none of it
imports nothing from this folder.
"""
