"""What talks to other machines or waits on threads needs, whichever layer it stands in: HTTP, pauses, executors."""
