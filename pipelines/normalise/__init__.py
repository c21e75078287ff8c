"""Convert raw values to canonical values, one module per kind of value."""
