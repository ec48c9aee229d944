"""`python -m hookmill` is the same program as `hookmill`."""

from hookmill.cli.main import main

if __name__ == "__main__":
    main()
