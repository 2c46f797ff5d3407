"""`sentinel`, and `python -m sentinel_assets`: the command line."""

import signal


def main() -> None:
    """Ctrl-C ends it without a word while the command line itself is imported, which takes half a second."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # whoever runs it in the background may have it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from sentinel_assets.cli import main as run

    signal.signal(signal.SIGINT, before)
    run()


if __name__ == "__main__":
    main()
