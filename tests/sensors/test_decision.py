"""What is to be done about messages: all of it decided without a queue, a bucket or a database."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.footage import FootageRecord
from resources.upload_queue import Message
from sensors.decision import Absent, Decision, Found, Ledger, Object, PastRun, Receipt, Unknown, decide
from tests.builders.messages import MALFORMED, TEST_EVENT, from_backend, from_s3

A, B = "s3://footage/videos/1/a.mp4", "s3://footage/videos/2/b.mp4"


def there(uri: str, etag: str = "e1", modified: float = 100.0) -> Found:
    return Found(FootageRecord(uri, etag, 10), modified)


def decided(*bodies: str, objects: dict[str, Object] | None = None, **known: object) -> Decision:
    messages = [Message(f"m{number}", f"r{number}", body) for number, body in enumerate(bodies)]
    found = objects if objects is not None else {A: there(A), B: there(B)}
    given: dict[str, object] = {"ledger": Ledger(), "past": {}, **known}
    return decide(messages, objects=found, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bodies", "past", "started", "receipts"),
    [
        # one upload, one run, and the message waits for it
        ([from_s3("videos/1/a.mp4")], {}, ["1:e1"], [("r0", "1:e1")]),
        # the same message twice; Put and CompleteMultipartUpload of one upload; the backend's beside S3's own
        ([from_s3("videos/1/a.mp4")] * 2, {}, ["1:e1"], [("r0", "1:e1"), ("r1", "1:e1")]),
        (
            [from_s3("videos/1/a.mp4"), from_backend(1, "videos/1/a.mp4")],
            {},
            ["1:e1"],
            [("r0", "1:e1"), ("r1", "1:e1")],
        ),
        # it comes again when its run is on record
        ([from_s3("videos/1/a.mp4")], {"1": [PastRun("1:e1", "e1")]}, [], [("r0", "1:e1")]),
        # a late message of content that is gone asks for what is there now
        ([from_s3("videos/1/a.mp4", etag="e0")], {"1": [PastRun("1:e1", "e1")]}, [], [("r0", "1:e1")]),
        # other content than last time
        ([from_s3("videos/1/a.mp4")], {"1": [PastRun("1:e0", "e0")]}, ["1:e1"], [("r0", "1:e1")]),
        # content that was there before, and came back after another
        (
            [from_s3("videos/1/a.mp4")],
            {"1": [PastRun("1:e2", "e2"), PastRun("1:e1", "e1")]},
            ["1:e1:100"],
            [("r0", "1:e1:100")],
        ),
        # and its message again
        (
            [from_s3("videos/1/a.mp4")],
            {"1": [PastRun("1:e1:100", "e1"), PastRun("1:e2", "e2"), PastRun("1:e1", "e1")]},
            [],
            [("r0", "1:e1:100")],
        ),
        # uploaded once more since its run failed; and that message again, while the second runs or when it failed too
        (
            [from_s3("videos/1/a.mp4")],
            {"1": [PastRun("1:e1", "e1", 50, failed=True)]},
            ["1:e1:100"],
            [("r0", "1:e1:100")],
        ),
        (
            [from_s3("videos/1/a.mp4")],
            {"1": [PastRun("1:e1:100", "e1", 100), PastRun("1:e1", "e1", 50, failed=True)]},
            [],
            [("r0", "1:e1:100")],
        ),
        (
            [from_s3("videos/1/a.mp4")],
            {"1": [PastRun("1:e1:100", "e1", 100, failed=True), PastRun("1:e1", "e1", 50, failed=True)]},
            [],
            [("r0", "1:e1:100")],
        ),
        # the message of an upload whose run has failed, and one more upload of what runs or was analysed
        ([from_s3("videos/1/a.mp4")], {"1": [PastRun("1:e1", "e1", 100, failed=True)]}, [], [("r0", "1:e1")]),
        ([from_s3("videos/1/a.mp4")], {"1": [PastRun("1:e1", "e1", 50)]}, [], [("r0", "1:e1")]),
        # two videos in one message: two runs, recorded together
        ([from_s3("videos/1/a.mp4", "videos/2/b.mp4")], {}, ["1:e1", "2:e1"], [("r0", "2:e1")]),
        # nothing to do, deleted at once
        ([TEST_EVENT], {}, [], [("r0", None)]),
    ],
)
def test_what_a_message_asks_for(
    bodies: list[str], past: dict[str, Sequence[PastRun]], started: list[str], receipts: list[tuple[str, str | None]]
) -> None:
    decision = decided(*bodies, past=past)
    assert [start.run_key for start in decision.starts] == started
    assert decision.ledger.receipts == tuple(Receipt(*receipt) for receipt in receipts)
    assert not decision.reports


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_message_is_reported_once_and_left_to_the_queue(body: str) -> None:
    """And stops none of its neighbours."""
    first = decided(body, from_s3("videos/1/a.mp4"))
    assert [report.message_id for report in first.reports] == ["m0"]
    assert [start.partition for start in first.starts] == ["1"]
    assert [receipt.receipt for receipt in first.ledger.receipts] == ["r1"]
    again = decided(body, ledger=Ledger.from_cursor(first.ledger.to_cursor()))
    assert not again.reports
    assert not again.ledger.receipts


def test_a_good_record_beside_a_bad_one_is_followed_and_the_message_kept() -> None:
    decision = decided(from_s3("videos/1/a.mp4").replace("]", ', {"s3": 1}]'))
    assert [start.partition for start in decision.starts] == ["1"]
    assert decision.reports
    assert not decision.ledger.receipts


def test_a_missing_object_fails_its_video_and_the_message_is_done_with() -> None:
    decision = decided(from_s3("videos/1/a.mp4"), objects={A: Absent("no such object")})
    assert [(upload.partition, why) for upload, why in decision.missing] == [("1", "no such object")]
    assert decision.ledger.receipts == (Receipt("r0"),)
    assert not decision.starts


def test_what_s3_does_not_tell_now_is_asked_again_later() -> None:
    decision = decided(from_s3("videos/1/a.mp4", "videos/2/b.mp4"), objects={A: Unknown("S3 is away"), B: there(B)})
    assert decision.waiting == ("S3 is away",)
    assert [start.partition for start in decision.starts] == ["2"]
    assert not decision.ledger.receipts


def test_of_two_objects_of_one_video_the_later_one_counts() -> None:
    """Two runs of one video would be of the same content: that which was registered last."""
    other = "s3://footage/videos/1/b.mp4"
    objects: dict[str, Object] = {A: there(A, "old", 200.0), other: there(other, "new", 300.0)}
    decision = decided(from_s3("videos/1/b.mp4"), from_s3("videos/1/a.mp4"), objects=objects)
    assert [(start.record.uri, start.run_key) for start in decision.starts] == [(other, "1:new")]
    assert {receipt.run_key for receipt in decision.ledger.receipts} == {"1:new"}


def test_what_the_warehouse_refuses_is_reported() -> None:
    decision = decided(from_s3("videos/1/a.mp4"), from_s3("videos/2/b.mp4"), refused={A: "registered differently"})
    assert [report.reason for report in decision.reports] == ["registered differently"]
    assert [start.partition for start in decision.starts] == ["2"]


@pytest.mark.parametrize("cursor", [None, "", "not ours", "[]", '{"receipts": 1}', '{"receipts": [["a"]]}'])
def test_a_cursor_that_is_not_ours_is_an_empty_ledger(cursor: str | None) -> None:
    """Somebody reset it by hand; the messages come again by themselves."""
    assert Ledger.from_cursor(cursor) == Ledger()


def test_nothing_is_deleted_before_its_run_is_on_record() -> None:
    ledger = Ledger((Receipt("r0", "1:e1"), Receipt("r1", "2:e1"), Receipt("r2")))
    assert Ledger.from_cursor(ledger.to_cursor()) == ledger
    assert ledger.deletable({"2:e1"}) == ["r1", "r2"]


_BODIES = st.sampled_from(
    [
        *(from_s3(f"videos/{n}/a.mp4", etag=etag) for n in (1, 2, 3) for etag in ("e1", "e2")),
        from_s3("videos/1/a.mp4", "videos/2/a.mp4"),
        from_backend(1, "videos/1/a.mp4"),
        TEST_EVENT,
        *list(MALFORMED.values())[:3],
    ]
)
_STATES = st.sampled_from(["e1", "e2", "absent", "unknown"])


@settings(deadline=None)
@given(bodies=st.lists(_BODIES, max_size=12), states=st.tuples(_STATES, _STATES, _STATES))
def test_every_message_is_accounted_for_and_none_asks_twice(bodies: list[str], states: tuple[str, ...]) -> None:
    """Each is deleted later, reported, or comes again; after the runs are on record the same messages ask for none."""
    objects: dict[str, Object] = {}
    for number, state in zip((1, 2, 3), states, strict=True):
        uri = f"s3://footage/videos/{number}/a.mp4"
        special: dict[str, Object] = {"absent": Absent("gone"), "unknown": Unknown("away")}
        objects[uri] = special.get(state) or there(uri, state)
    decision = decided(*bodies, objects=objects)
    kept = {receipt.receipt for receipt in decision.ledger.receipts}
    reported = {report.message_id.replace("m", "r") for report in decision.reports}
    assert kept.isdisjoint(reported)
    if not decision.waiting:
        assert kept | reported == {f"r{number}" for number in range(len(bodies))}
    keys = [start.run_key for start in decision.starts]
    assert len(keys) == len(set(keys)) == len({start.partition for start in decision.starts})
    assert {receipt.run_key for receipt in decision.ledger.receipts} - {None} <= set(keys)
    past = {start.partition: [PastRun(start.run_key, start.record.etag)] for start in decision.starts}
    assert not decided(*bodies, objects=objects, past=past).starts
