"""Local servers that simulate the providers' customer APIs, as documented, with failures on demand."""
