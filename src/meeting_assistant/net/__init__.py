"""HTTP, pauses and executors for code of any layer that talks to other machines or waits on threads."""
