"""``python -m musicrec`` is the command line."""

from musicrec.cli import main

if __name__ == "__main__":
    main()
