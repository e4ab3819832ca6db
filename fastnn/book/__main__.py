"""``python -m fastnn.book`` runs a script of the book's."""

from .command import main

if __name__ == "__main__":
    main()
