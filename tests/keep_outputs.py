"""A plugin of pytest beside nbval: keeps the outputs of the execution in the notebook that was executed."""

import nbformat


def pytest_sessionfinish(session):
    for number, item in enumerate(session.items, start=1):
        item.cell.outputs = [nbformat.from_dict(output) for output in item.test_outputs or ()]
        item.cell.execution_count = number
    if session.items:
        nbformat.write(item.parent.nb, item.parent.path)
