"""The order of files: it matters where several processes share them."""

#: The files that take longest; begun first, so that no process is left alone with one at the end.
LONG = ("test_cli", "test_queries", "test_wheel", "test_verdicts")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONG)
