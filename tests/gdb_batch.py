"""gdb in batch mode, as the tests start it."""


def gdb_words(*commands: str) -> list[str]:
    """The command line that makes gdb carry these out. A busy machine may answer it late."""
    words = ["gdb", "-q", "-nx", "-batch"]
    for command in ("set remotetimeout 60", "set confirm off", *commands):
        words += ["-ex", command]
    return words
