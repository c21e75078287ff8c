"""Local servers that play the providers' customer APIs, as documented, with simulated failures on demand."""
