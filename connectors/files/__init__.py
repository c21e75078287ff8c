"""Files as sources and destinations: here, compressed, in archives and folders, in cloud storage, or on the web."""
