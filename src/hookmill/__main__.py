"""`python -m hookmill` is the same program as `hookmill`."""

from hookmill.cli import main

if __name__ == "__main__":
    main()
