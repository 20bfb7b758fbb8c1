"""Messages over Flower's HTTP grid, an object at a time: none is ever whole in memory twice.

Symptom: ``Grid.push_messages`` holds a serialised copy of the model, ``Grid.pull_messages`` a reply
twice, and it blocks while the site uploads, so that memory grows with the sites that upload slowly.
Reason: both gather all objects of a message first. Protocol: send an object, drop it, take the
next; ask for a reply, which names its tree of objects, and write each array to a file as soon as
its parts are there. An object that is not there yet ends a poll; the next one goes on from there.
Two requests are under way at a time, so that neither end waits for the other. What a site has sent
is read here, so whatever is wrong with it is that site's error, and ends nobody's run.
What can still go wrong: these are private parts of Flower; ``tests/server/test_http_objects.py``
fails where they move.
"""

import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar, cast

from flwr.app import Array, Error, Message, Metadata
from flwr.app.message import make_message, remove_content_from_message
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree
from flwr.proto.runtime_pb2 import PullAppMessagesRequest, PushAppMessagesRequest
from flwr.supercore.constant import SYSTEM_MESSAGE_TYPE
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    get_all_nested_objects,
    get_object_head_values_from_object_content,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectUnavailableError,
    inflate_object_from_contents,
)
from flwr.superlink.grid.http_grid import HttpGrid

from server.parking import mapped

T = TypeVar("T")
R = TypeVar("R")
#: Requests under way at a time, as of stock Flower; what each holds is in memory.
CONCURRENT = 2


def push_objects(grid: HttpGrid, messages: Sequence[Message]) -> list[str]:
    """Send messages; what several of them hold goes once. Returns their ids."""
    objects: dict[str, InflatableObject] = {}
    request = PushAppMessagesRequest()
    with no_object_id_recompute():
        for message in messages:
            message.metadata.__dict__["_message_id"] = message.object_id
            objects |= get_all_nested_objects(message)
            request.messages_list.append(message_to_proto(remove_content_from_message(message)))
            request.message_object_trees.append(get_object_tree(message))
    link, run = grid._runtime_client, grid.run.run_id
    answer = link.PushMessages(request)
    send = make_push_object_fn_protobuf(link.PushObject, grid.node, run, answer.session_id)
    wanted = set(answer.objects_to_push)

    def push(name: str) -> None:
        send(name, objects[name].deflate())

    for _ in ahead(push, [name for name in objects if name in wanted]):
        pass
    return list(answer.message_ids)


@dataclass(slots=True)
class _Download:
    """A reply that is on its way: its small objects in memory, its arrays in a nameless file."""

    message_id: str
    tree: ObjectTree
    file: IO[bytes]
    contents: dict[str, bytes] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)
    places: dict[str, slice] = field(default_factory=dict)


class ObjectPull:
    """Polls for replies, without waiting for them.

    Args:
        grid: Connected to a SuperLink.
        folder: Where arrays wait.
    """

    def __init__(self, grid: HttpGrid, folder: Path) -> None:
        self._grid = grid
        self._folder = folder
        self._run_id = grid.run.run_id
        self._started: dict[str, _Download] = {}

    def poll(self, message_id: str) -> Message | None:
        """The reply to an instruction; None where it is not there, or not whole yet."""
        download = self._started.get(message_id) or self._begin(message_id)
        if download is None:
            return None
        self._started[message_id] = download
        try:
            self._fetch(download.tree, download)
        except ObjectUnavailableError:
            return None
        except ObjectPullError as error:
            del self._started[message_id]
            return self._unavailable(message_id, f"the site's upload broke off: {error}")
        except _UnreadableError as error:
            del self._started[message_id]
            return self._unavailable(message_id, str(error))
        del self._started[message_id]
        request = ConfirmMessageReceivedRequest(
            node=self._grid.node, run_id=self._run_id, message_object_id=download.message_id
        )
        self._grid._runtime_client.ConfirmMessageReceived(request)
        try:
            return _assembled(download)
        except _UnreadableError as error:
            return self._unavailable(message_id, str(error))

    def _begin(self, message_id: str) -> _Download | None:
        request = PullAppMessagesRequest(message_ids=[message_id])
        found = self._grid._runtime_client.PullMessages(request)
        if not found.messages_list:
            return None
        self._folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  (closed by `_assembled`)
        reply = found.messages_list[0].metadata.message_id
        return _Download(reply, found.message_object_trees[0], file)

    def _fetch(self, tree: ObjectTree, download: _Download) -> None:
        """Pull an object and all that it holds, level by level, but for what is here.

        Raises:
            ObjectUnavailableError: The site has not uploaded all of it yet.
            ObjectPullError: It never will.
            _UnreadableError: It is none of Flower's objects.
        """
        level = [tree]
        while level:
            unique = {node.object_id: node for node in level}
            here = download.contents.keys() | download.arrays.keys()
            missing = [node for name, node in unique.items() if name not in here]
            for name, parts in ahead(self._parts, missing):
                if _is_array(parts[name]):
                    _write(name, parts, download)
                else:
                    download.contents |= parts
            level = [
                child
                for name, node in unique.items()
                if name not in download.arrays
                for child in node.children
            ]

    def _parts(self, node: ObjectTree) -> tuple[str, dict[str, bytes]]:
        """An object's id and content; with an array come its chunks."""
        name = node.object_id
        parts = {name: self._pull(name)}
        if _is_array(parts[name]):
            parts |= {child.object_id: self._pull(child.object_id) for child in node.children}
        return name, parts

    def _pull(self, object_id: str) -> bytes:
        pull = make_pull_object_fn_protobuf(
            self._grid._runtime_client.PullObject, self._grid.node, self._run_id
        )
        return pull(object_id)

    def _unavailable(self, message_id: str, reason: str) -> Message:
        """The error reply of a site whose upload broke off, or cannot be read."""
        metadata = Metadata(
            run_id=self._run_id,
            message_id="",
            src_node_id=self._grid.node.node_id,
            dst_node_id=self._grid.node.node_id,
            reply_to_message_id=message_id,
            group_id="",
            created_at=0.0,
            ttl=0.0,
            message_type=SYSTEM_MESSAGE_TYPE,
        )
        return make_message(metadata, error=Error(ErrorCode.MESSAGE_UNAVAILABLE, reason))


def ahead(function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Results in order, a few of which are worked on at a time; no more of them are ever held."""
    with ThreadPoolExecutor(CONCURRENT) as pool:
        under_way: deque[Future[R]] = deque()
        try:
            for item in items:
                if len(under_way) == CONCURRENT:
                    yield under_way.popleft().result()
                under_way.append(pool.submit(function, item))
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()


class _UnreadableError(Exception):
    """What a site has sent is not what Flower's own site would send."""


@contextmanager
def _reading() -> Iterator[None]:
    """Nothing but a site's bytes is read within.

    Raises:
        _UnreadableError: Whatever reading them raised: they may be anything.
    """
    try:
        yield
    except Exception as error:
        name = type(error).__name__
        raise _UnreadableError(f"the site's message cannot be read ({name}).") from None


def _is_array(content: bytes) -> bool:
    with _reading():
        kind, _, _ = get_object_head_values_from_object_content(content)
    return kind == Array.__qualname__


def _write(name: str, parts: dict[str, bytes], download: _Download) -> None:
    """Put an array into the file of its download."""
    with _reading():
        array = cast(Array, inflate_object_from_contents(name, parts))
    start = download.file.tell()
    download.file.write(array.data)
    download.places[name] = slice(start, download.file.tell())
    array.data = name.encode()  # until the message is made, which takes bytes alone
    download.arrays[name] = array


def _assembled(download: _Download) -> Message:
    """The message of a whole download; its file lives as long as its arrays do.

    Raises:
        _UnreadableError: It is no message.
    """
    with download.file as file:
        file.flush()
        view = mapped(file)
    with _reading():
        made = inflate_object_from_contents(
            download.message_id, download.contents, objects=dict(download.arrays)
        )
        message = cast(Message, made)
        message.metadata.__dict__["_message_id"] = download.message_id
        for record in message.content.array_records.values() if message.has_content() else ():
            for array in record.values():
                # Every reader of Array.data takes any buffer; only its constructor wants bytes.
                array.data = view[download.places[array.data.decode()]]  # type: ignore[assignment]
    return message
