"""The table of inputs at the end of `make fuzz`."""

from __future__ import annotations

from collections import Counter

import execnet
import pytest

from support import fuzzing


def _reports(item: pytest.Item) -> list[pytest.TestReport]:
    """The reports of a test as they come from a worker, of its end last."""
    hook = item.config.hook
    reports = []
    for when in ("setup", "call", "teardown"):
        call = pytest.CallInfo.from_call(lambda: None, when)  # type: ignore[arg-type]
        made = hook.pytest_runtest_makereport(item=item, call=call)
        data = hook.pytest_report_to_serializable(config=item.config, report=made)
        sent = execnet.loads(execnet.dumps(data))
        reports.append(hook.pytest_report_from_serializable(config=item.config, data=sent))
    return reports


def test_inputs_of_all_tests_of_a_kind_are_added_up(request: pytest.FixtureRequest) -> None:
    request.node.add_marker(pytest.mark.fuzz("CSV"))
    assert fuzzing.table(_reports(request.node)) == []
    properties = list(request.node.user_properties)
    fuzzing.record(request.node, Counter(read=1_200, refused=7))
    reports = _reports(request.node)
    request.node.user_properties[:] = properties  # not in the table of this session
    assert fuzzing.table(reports * 2) == [
        "kind  inputs  outcome",
        "CSV    2,414  2,400 read, 14 refused",
        "all    2,414",
    ]
