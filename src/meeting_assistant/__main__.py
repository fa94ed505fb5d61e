"""`python -m meeting_assistant`."""

from meeting_assistant.cli import main

if __name__ == "__main__":
    main()
