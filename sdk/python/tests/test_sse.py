import pytest
from consent_sdk._sse import LARGEST_EVENT, BadStream, Event, EventReader
from hypothesis import given
from hypothesis import strategies as st

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=20)
ends = st.sampled_from(["\n", "\r", "\r\n"])


def read(data: bytes, cuts: list[int] | None = None) -> list[Event]:
    reader, events, start = EventReader(), [], 0
    for cut in [*sorted(cuts or []), len(data)]:
        events += reader.feed(data[start:cut])
        start = max(start, cut)
    return events


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, str]]]:
    end = draw(ends)
    wanted, lines = [], []
    for name, data in draw(st.lists(st.tuples(texts, texts), max_size=5)):
        lines += draw(st.lists(texts.map(lambda text: f":{text}"), max_size=2))
        lines += [f"event: {name}", f"data: {data}", ""]
        wanted.append((name or "message", data))
    bom = draw(st.sampled_from(["", "\ufeff"]))
    return (bom + "".join(line + end for line in lines)).encode(), wanted


@given(streams(), st.data())
def test_events_are_the_same_however_the_bytes_are_cut(
    stream: tuple[bytes, list[tuple[str, str]]], data: st.DataObject
) -> None:
    sent, wanted = stream
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=20))

    events = read(sent, cuts)

    assert [(event.name, event.data) for event in events] == wanted


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_no_bytes_raise_anything_but_bad_stream(chunks: list[bytes]) -> None:
    reader = EventReader()
    for chunk in chunks:
        try:
            reader.feed(chunk)
        except BadStream:
            return


def test_an_event_without_its_empty_line_is_none() -> None:
    assert read(b"event: head\ndata: {}\n") == []


def test_the_id_stays_until_the_next_one() -> None:
    events = read(b"id: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n")

    assert [event.id for event in events] == ["7", "7", ""]
    assert [event.numbered for event in events] == [True, False, True]


def test_data_lines_are_joined() -> None:
    assert read(b"data: a\ndata:b\ndata\n\n") == [Event("message", "a\nb\n", "")]


def test_an_event_without_data_is_none() -> None:
    assert read(b"event: head\n\n\n\ndata: a\n\n") == [Event("message", "a", "")]


@pytest.mark.parametrize("data", [b"data: \xff\n\n", b"\xc3\n", b"event: \xed\xa0\x80\n"])
def test_what_is_not_utf8_ends_the_connection(data: bytes) -> None:
    with pytest.raises(BadStream):
        read(data)


def test_an_endless_line_ends_the_connection() -> None:
    with pytest.raises(BadStream):
        read(b"data: " + b"x" * LARGEST_EVENT)


def test_an_endless_event_ends_the_connection() -> None:
    with pytest.raises(BadStream):
        read(b"data: x\n" * LARGEST_EVENT)


def test_many_small_events_are_no_large_one() -> None:
    assert len(read(b"data: x\n\n" * LARGEST_EVENT)) == LARGEST_EVENT
