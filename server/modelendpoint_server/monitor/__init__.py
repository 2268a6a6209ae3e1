"""The monitor: a process of its own that gets samples from the servers, stores them and counts them."""
