"""Texts about codes: what each means and what to do, for `tranship explain` and the documentation."""
