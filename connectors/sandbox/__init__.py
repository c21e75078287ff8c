"""The five providers' customer APIs, served on this machine: what their pages say, with weather on demand."""
