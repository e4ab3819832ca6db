"""``python -m fastnn.book`` runs a script of the book's."""

if __name__ == "__main__":
    try:
        from .command import main

        main()
    except KeyboardInterrupt:  # while all that is loaded
        raise SystemExit(130) from None
