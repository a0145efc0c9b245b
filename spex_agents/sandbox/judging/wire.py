"""What the tests and the program that they test say to each other, and how.

Both ends have this code; neither trusts what the other has made with it.
"""

import json
import os
import struct
import sys
from collections.abc import Callable
from typing import Any

from spex_agents.sandbox.judging.data import MUTABLE, Broken, Decoder, Encoder

MOST_BYTES = 16 << 20


class Pipe:
    """Whole messages over two pipes."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes

    def send(self, message: dict[str, Any]) -> None:
        text = json.dumps(message).encode()
        data = memoryview(struct.pack("!I", len(text)) + text)
        try:
            while data:
                data = data[os.write(self._writes, data) :]
        except OSError as error:
            raise Broken("the program has ended") from error

    def receive(self) -> dict[str, Any]:
        (size,) = struct.unpack("!I", self._whole(4))
        if size > MOST_BYTES:
            raise Broken("the program answers too much")
        message = json.loads(self._whole(size))
        if not isinstance(message, dict):
            raise Broken("the program does not answer in form")
        return message

    def _whole(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            if not (part := os.read(self._reads, min(1 << 16, size - len(parts)))):
                raise Broken("the program has ended")
            parts += part
        return bytes(parts)


class Peer:
    """One end: asks the other, and answers what it asks meanwhile.

    Args:
        pipe: To the other end.
        proxy: Makes what stands here for something of the other end, from its node.
    """

    def __init__(self, pipe: Pipe, proxy: Callable[["Peer", list[Any]], Any]) -> None:
        self._pipe = pipe
        self._proxy = proxy
        self._own: list[Any] = []
        self._numbers: dict[int, int] = {}

    # What the two ends do differently.

    def number_of(self, value: Any) -> int | None:
        """The other end's number of what is its own."""
        raise NotImplementedError

    def kind_of(self, value: Any) -> list[Any]:
        return ["mine"]

    def perform(self, what: str, target: Any, arguments: list[Any], named: dict[str, Any]) -> Any:
        raise NotImplementedError

    def failed(self, error: BaseException) -> dict[str, Any]:
        raise NotImplementedError

    def raised(self, message: dict[str, Any]) -> BaseException:
        raise NotImplementedError

    def printed(self) -> str:
        return ""

    # What they share.

    def ask(self, what: str, target: Any, *arguments: Any, **named: Any) -> Any:
        """Have the other end do something with what is its own; raises what it raises there."""
        encoder = Encoder(self._speak)
        roots = encoder.roots((target, *arguments, *named.values()))
        self._pipe.send({"ask": what, "nodes": encoder.nodes, "roots": roots, "names": list(named)})
        while True:
            message = self._pipe.receive()
            if "ask" in message:
                self._answer(message)
                continue
            sys.stdout.write(str(message.get("printed", "")))
            decoder = Decoder(message["nodes"], self._find, encoder.objects)
            for index, node in message["changed"]:
                decoder.update(encoder.objects[index], node)
            if "error" in message:
                message["arguments"] = [decoder.value(index) for index in message["arguments"]]
                raise self.raised(message)
            return decoder.value(message["root"])

    def serve(self) -> None:
        while True:
            self._answer(self._pipe.receive())

    def _answer(self, message: dict[str, Any]) -> None:
        decoder = Decoder(message["nodes"], self._find)
        values = [decoder.value(index) for index in message["roots"]]
        names = message["names"]
        target, *rest = values
        plain = rest[: len(rest) - len(names)]
        named = dict(zip(map(str, names), rest[len(plain) :], strict=True))
        containers = {i: v for i, v in decoder.objects.items() if type(v) in MUTABLE}
        reply: dict[str, Any] = {}
        arguments: tuple[Any, ...] = ()
        result: Any = None
        try:
            result = self.perform(message["ask"], target, plain, named)
        except Broken:
            raise
        except BaseException as error:
            reply = self.failed(error)
            arguments = error.args
        encoder = Encoder(self._speak, {id(value): index for index, value in containers.items()})
        try:
            reply["changed"] = [[i, encoder.content(v)] for i, v in containers.items()]
            reply["root"] = encoder.roots([result])[0]
            reply["arguments"] = encoder.roots(arguments)
        except BaseException as error:
            encoder = Encoder(self._speak)
            reply = {**self.failed(error), "changed": [], "arguments": []}
        self._pipe.send({**reply, "nodes": encoder.nodes, "printed": self.printed()})

    def _speak(self, value: Any) -> list[Any]:
        if (number := self.number_of(value)) is not None:
            return ["yours", number]
        if (number := self._numbers.get(id(value))) is None:
            self._numbers[id(value)] = number = len(self._own)
            self._own.append(value)
        kind, *rest = self.kind_of(value)
        return [kind, number, *rest]

    def _find(self, node: list[Any]) -> Any:
        if node[0] == "yours":
            return self._own[node[1]]
        return self._proxy(self, node)
