"""`--read URL`: readings of another device instead of this machine's. Loaded only where it is asked for."""
