"""A gateway before a model server: who may ask, how much, how long. Each request leaves one record.

Run by `ftlib.serve.gateway` as a process of its own. What becomes of the records is decided in one place: the
key "record" of the configuration names a function, "module:function". It is called once with the whole
configuration, and returns the keeper: it is called with the `Record` of each request, when that has ended.

With "record_first" the keeper goes before the answer. It is called twice: once a request is let in, while its
status is still 0, and when it has ended, before the end of its answer goes out. So even where the gateway is
killed at any moment, a request of which its caller saw anything is known, and one whose answer the caller saw
to its end is known with that answer.

A keeper with a function `metrics` shows what that returns at /metrics, to the callers named in "monitors".
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import os
import re
import secrets
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect
from tokenizers import Tokenizer

from ftlib.settings import WorkbookError

MODEL = "workbook"  # the name that callers see; where the model lies is not their concern
CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
AGAIN_SECONDS = 0.2  # after that time a model server that did not answer is asked again
PER_TURN = 4  # tokens that a chat template writes around a turn, or fewer
KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
KINDS |= dict.fromkeys((502, 503, 504), "server_error")


@dataclass(frozen=True)
class Limits:
    """What a caller may do. per_second, burst: of requests, as of `Bucket`. at_once: requests of all callers
    in work together. input_tokens: in the texts of a request. output_tokens: of an answer. seconds: from the
    first byte of a request to the last of its answer. body_bytes, upload_seconds: of a request's body.
    temperature: the highest.
    """

    per_second: float = 5.0
    burst: int = 10
    at_once: int = 32
    input_tokens: int = 384
    output_tokens: int = 64
    seconds: float = 60.0
    body_bytes: int = 65_536
    upload_seconds: float = 5.0
    temperature: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value <= 0 and not (name == "temperature" and value == 0):
                raise WorkbookError(f"limit {name} is {value}: it must be more than 0")


class Bucket:
    """A token bucket: it holds `burst` at most, each request takes one, and `per_second` come back.

    >>> bucket = Bucket(per_second=2, burst=1)
    >>> [bucket.wait(now) for now in (0.0, 0.1, 0.5)]
    [0.0, 0.4, 0.0]
    """

    def __init__(self, per_second: float, burst: int):
        self.per_second, self.burst = per_second, burst
        self.level, self.last = float(burst), float("-inf")

    def wait(self, now: float) -> float:
        """Takes one and returns 0; where there is none, returns the seconds until there will be one."""
        self.level = min(self.burst, self.level + max(0.0, now - self.last) * self.per_second)
        self.last = max(self.last, now)
        if self.level < 1 - 1e-9:  # sums of small numbers are never exact
            return (1 - self.level) / self.per_second
        self.level -= 1
        return 0.0


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "user", "assistant"]
    content: str


class Asked(BaseModel):
    """What both kinds of request may say. A field that is not named here is refused, not passed on."""

    model_config = ConfigDict(extra="forbid")
    model: Literal["workbook"] = MODEL
    max_tokens: int | None = Field(None, ge=1)
    temperature: float = Field(0.0, ge=0)
    stream: bool = False


class Chat(Asked):
    messages: list[Message] = Field(min_length=1, max_length=64)

    def texts(self) -> list[str]:
        return [message.content for message in self.messages]


class Completion(Asked):
    prompt: str

    def texts(self) -> list[str]:
        return [self.prompt]


SCHEMAS = {CHAT: Chat, COMPLETION: Completion}


@dataclass
class Record:
    """One request, as it ended. prompt and answer are what people wrote: who keeps them answers for that.

    began: Unix time. caller: "" for one without a valid key. status: as the caller saw it; a stream that
    breaks off later has 200 and an `error`. first_seconds: until the first piece of the answer. attempts:
    how often a model server was asked; more than 1 where it was restarted meanwhile.
    """

    request_id: str
    path: str
    began: float
    caller: str = ""
    status: int = 0
    error: str = ""
    stream: bool = False
    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    first_seconds: float | None = None
    seconds: float = 0.0
    finish: str = ""
    prompt: str = field(default="", repr=False)
    answer: str = field(default="", repr=False)


class Refused(Exception):
    """Ends a request: the status and the reason that its caller sees, and after which time to try again."""

    def __init__(self, status: int, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.status, self.wait = status, wait


def digest(key: str) -> str:
    """What is kept of a key. Keys are long and random, so their hash betrays nothing of them."""
    return hashlib.sha256(key.encode()).hexdigest()


def new_key() -> str:
    """A key for a caller: 256 random bits."""
    return secrets.token_urlsafe(32)


def point(file: str | Path, url: str, model: str | Path) -> None:
    """Says in `file`, which the gateway reads before each request, where the model server is now."""
    partial = Path(f"{file}.partial")
    partial.write_text(json.dumps({"url": url, "model": str(model)}), encoding="utf-8")
    partial.replace(file)


def special_tokens(folder: str | Path, tokenizer: Tokenizer) -> list[str]:
    """The tokens that are no text: those marked as special, and those that the chat template writes."""
    folder = Path(folder)
    jinja, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if jinja.is_file():
        template = jinja.read_text(encoding="utf-8")
    else:
        template = str(json.loads(config.read_text(encoding="utf-8")).get("chat_template"))
    added = tokenizer.get_added_tokens_decoder().values()
    return [one.content for one in added if one.content.strip() and (one.special or one.content in template)]


def plain(text: str, special: Iterable[str]) -> str:
    """The text with a space inside each imitation of a special token (in place of one of a single sign).

    >>> plain("Hi<|eos|>", ["<|eos|>"])
    'Hi< |eos|>'
    """
    pattern = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))) or "(?!)")
    for _ in range(10):  # tokens may overlap; one that begins with two spaces would come back for ever
        text, count = pattern.subn(_broken, text)
        if not count:
            break
    return text


def _broken(found: re.Match) -> str:
    first, rest = found[0][0], found[0][1:]
    return f"{first} {rest}" if rest else " "


class Stream(StreamingResponse):
    """A streamed answer. When it ends, or its caller goes away, so does our request to the model server."""

    def __init__(self, pieces: AsyncIterator[str], ended: Callable[[], None], source: httpx.Response):
        super().__init__(pieces, media_type="text/event-stream")
        self.ended, self.source = ended, source

    async def __call__(self, *arguments) -> None:
        try:
            await super().__call__(*arguments)
        finally:
            self.ended()
            with suppress(Exception):
                await self.source.aclose()


class Gateway:
    """The state of a gateway: callers, their buckets, what is in work, the way to the model server."""

    def __init__(self, config: Mapping):
        self.limits = Limits(**config.get("limits", {}))
        self.callers: Mapping[str, str] = config["callers"]  # digest of a key -> name
        self.upstream = Path(config["upstream"])
        self.tokenizer = Tokenizer.from_file(str(Path(config["folder"], "tokenizer.json")))
        self.special = set(special_tokens(config["folder"], self.tokenizer))
        described = json.loads(Path(config["folder"], "config.json").read_text(encoding="utf-8"))
        self.context = described.get("max_position_embeddings") or sys.maxsize
        self.buckets: dict[str, Bucket] = {}
        self.open: set[str] = set()  # the requests in work
        self.client = httpx.AsyncClient(timeout=None, trust_env=False, limits=httpx.Limits())
        module, _, name = config.get("record", "").partition(":")
        self.keep = getattr(importlib.import_module(module), name)(config) if module else None
        self.first = bool(config.get("record_first"))
        self.monitors = set(config.get("monitors", ()))
        self.keeper = ThreadPoolExecutor(max_workers=1)  # a slow disk must hold up no other request's work

    async def close(self) -> None:
        await self.client.aclose()
        self.keeper.shutdown(wait=True)

    async def handle(self, request: Request) -> Response:
        """Answers a request, or says why not; whatever happens, its record is kept."""
        record = Record(uuid.uuid4().hex, request.url.path, time.time())
        deadline = asyncio.get_running_loop().time() + self.limits.seconds
        self.open.add(record.request_id)
        response = None
        try:
            body = await self._admitted(request, record)
            await self._before(self._keep(record))
            response = await self._answer(body, record, deadline)
        except Refused as refused:
            record.error = str(refused)
            response = _refusal(refused, record)
        except (asyncio.CancelledError, ClientDisconnect):
            record.status, record.error = 499, "the caller went away"
            raise
        except Exception as error:
            record.error = f"{type(error).__name__}: {error}"
            response = _refusal(Refused(500, "the gateway failed; the record says why"), record)
        finally:
            kept = None if isinstance(response, Stream) else self.ended(record)
        await self._before(kept)
        return response

    def ended(self, record: Record) -> Future | None:
        """The one place where a request has ended: here it leaves its record, once."""
        if record.request_id not in self.open:
            return None
        self.open.remove(record.request_id)
        record.seconds = time.time() - record.began
        return self._keep(record)

    def _keep(self, record: Record) -> Future | None:
        """Hands the keeper a copy of the record; of one that has not ended only with "record_first"."""
        if self.keep and (self.first or record.request_id not in self.open):
            return self.keeper.submit(_kept, self.keep, replace(record))
        return None

    async def _before(self, kept: Future | None) -> None:
        """With "record_first": waits until the record is kept, so that it is before the answer goes out.

        The caller may go away meanwhile; the record is kept nevertheless.
        """
        if kept and self.first:
            await asyncio.shield(asyncio.wrap_future(kept))

    async def _admitted(self, request: Request, record: Record) -> dict:
        """The body for the model server, once the caller is known and the request within all limits."""
        self._identify(request, record)
        if len(self.open) > self.limits.at_once:
            raise Refused(503, f"{self.limits.at_once} requests are in work already: try again", 1.0)
        try:
            async with asyncio.timeout(self.limits.upload_seconds):
                raw = await self._read(request)
        except TimeoutError:
            raise Refused(408, f"no whole request in {self.limits.upload_seconds:g} s") from None
        try:
            asked = SCHEMAS[record.path].model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            status = 400 if first["type"] == "json_invalid" else 422
            raise Refused(status, f"{where or 'body'}: {first['msg']}") from None
        return self._within(asked, record)

    def _caller(self, request: Request) -> str:
        kind, _, key = request.headers.get("authorization", "").partition(" ")
        caller = self.callers.get(digest(key.strip())) if kind.lower() == "bearer" else None
        if caller is None:
            raise Refused(401, "no valid key: send it as `Authorization: Bearer KEY`")
        return caller

    def _identify(self, request: Request, record: Record) -> None:
        record.caller = caller = self._caller(request)
        fresh = Bucket(self.limits.per_second, self.limits.burst)
        if wait := self.buckets.setdefault(caller, fresh).wait(time.monotonic()):
            raise Refused(429, f"more than {self.limits.per_second:g} requests a second: wait", wait)

    async def _read(self, request: Request) -> bytes:
        """The body, unless it is too large: by the length that it declares, or by what really comes."""
        limit, raw = self.limits.body_bytes, bytearray()
        if int(request.headers.get("content-length", 0)) <= limit:
            async for part in request.stream():
                raw += part
                if len(raw) > limit:
                    break
            else:
                return bytes(raw)
        raise Refused(413, f"the request has more than {limit:,} bytes")

    def _within(self, asked: Chat | Completion, record: Record) -> dict:
        """The request as the model server gets it: within the limits, and no text of it a special token."""
        limits, texts = self.limits, [plain(text, self.special) for text in asked.texts()]
        encoded = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        record.input_tokens = sum(len(one.ids) for one in encoded)
        record.stream, record.prompt = asked.stream, "\n".join(asked.texts())
        if record.input_tokens > limits.input_tokens:
            raise Refused(413, f"{record.input_tokens} tokens: at most {limits.input_tokens} are read")
        if any(self.special.intersection(one.tokens) for one in encoded):
            raise Refused(400, "the text imitates a special token")
        if (asked.max_tokens or 0) > limits.output_tokens:
            raise Refused(422, f"max_tokens: at most {limits.output_tokens} are written")
        if asked.temperature > limits.temperature:
            raise Refused(422, f"temperature: at most {limits.temperature:g}")
        most = asked.max_tokens or limits.output_tokens
        if record.input_tokens + PER_TURN * (len(texts) + 1) + most > self.context:
            raise Refused(413, f"{record.input_tokens} tokens and an answer: the model holds {self.context}")
        body = {"max_tokens": most, "temperature": asked.temperature, "stream": asked.stream}
        if isinstance(asked, Completion):
            return body | {"prompt": texts[0]}
        turns = zip(asked.messages, texts, strict=True)
        return body | {"messages": [{"role": turn.role, "content": text} for turn, text in turns]}

    async def _answer(self, body: dict, record: Record, deadline: float) -> Response:
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._ask(body, record)
        except TimeoutError:
            raise Refused(504, f"no answer in {self.limits.seconds:g} s") from None
        if not response.is_success:
            await response.aclose()
            raise Refused(502, f"the model server says {response.status_code}")
        record.status = response.status_code
        if body["stream"]:
            pieces = self._pieces(response, record, deadline)
            return Stream(pieces, lambda: self.ended(record), response)
        reply = response.json() | {"model": MODEL}
        _note(record, reply)
        return JSONResponse(reply)

    async def _ask(self, body: dict, record: Record) -> httpx.Response:
        """The model server's response. Where it breaks off before the caller has seen any of it, ask again:
        a request changes nothing, so a second time does no harm, and the server may be starting anew.
        """
        while True:
            record.attempts += 1
            try:
                target = json.loads(self.upstream.read_text(encoding="utf-8"))
                body["model"] = target["model"]
                named = {"x-request-id": record.request_id}  # the answer carries it, as its id
                request = self.client.build_request(
                    "POST", target["url"] + record.path, json=body, headers=named
                )
                response = await self.client.send(request, stream=body["stream"])
                if response.status_code != 503:  # of a server whose worker has died, or that is going down
                    return response
                await response.aclose()
            except (httpx.TransportError, OSError, ValueError):
                pass
            await asyncio.sleep(AGAIN_SECONDS)

    async def _pieces(self, response: httpx.Response, record: Record, deadline: float) -> AsyncIterator[str]:
        """The events of a streamed answer, one a piece."""
        lines = response.aiter_lines()
        record.error = "the caller went away"  # unless the end is reached
        try:
            while True:
                async with asyncio.timeout_at(deadline):
                    line = await anext(lines, None)
                if line is None:
                    break
                if line.startswith("data: "):
                    piece = json.loads(line.removeprefix("data: ")) | {"model": MODEL}
                    _note(record, piece)
                    yield f"data: {json.dumps(piece)}\n\n"
            record.error = "" if record.finish else "the model server broke off"
        except TimeoutError:
            record.error = f"no end in {self.limits.seconds:g} s"
        except (httpx.TransportError, ValueError):
            record.error = "the model server broke off"
        await self._before(self.ended(record) if self.first else None)
        if record.error:
            yield f"data: {json.dumps(_error(502, record.error))}\n\n"
        yield "data: [DONE]\n\n"

    async def metrics(self, request: Request) -> Response:
        """What the keeper counts, for those who may see it; callers may know nothing of each other."""
        try:
            if self._caller(request) not in self.monitors:
                raise Refused(403, "this key may ask the model, and not see the metrics")
        except Refused as refused:
            return JSONResponse(_error(refused.status, str(refused)), refused.status)
        return Response(self.keep.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def ready(self) -> Response:
        """Whether a request would be answered now: the gateway may be well and the model server not."""
        with suppress(httpx.HTTPError, OSError, ValueError):
            url = json.loads(self.upstream.read_text(encoding="utf-8"))["url"]
            if (await self.client.get(f"{url}/health", timeout=5)).is_success:
                return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "the model server does not answer"}, 503)


def _note(record: Record, reply: dict) -> None:
    """Notes in the record what a reply, or a piece of one, says."""
    for choice in reply.get("choices") or ():
        said = choice.get("message") or choice.get("delta") or choice
        text = said.get("content") or said.get("text") or ""
        record.answer += text
        record.finish = choice.get("finish_reason") or record.finish
        if record.first_seconds is None and (text or record.finish):
            record.first_seconds = time.time() - record.began
    record.output_tokens = (reply.get("usage") or {}).get("completion_tokens", record.output_tokens)


def _kept(keep: Callable[[Record], None], record: Record) -> None:
    try:
        keep(record)
    except Exception as error:  # a full disk must not stop the service, and must be seen
        print(f"record {record.request_id} is lost: {error}", file=sys.stderr, flush=True)


def _error(status: int, reason: str) -> dict:
    return {"error": {"message": reason, "type": KINDS.get(status, "invalid_request_error"), "code": status}}


def _refusal(refused: Refused, record: Record) -> JSONResponse:
    """What a caller gets in place of an answer, in the form of OpenAI's interface."""
    record.status = refused.status
    headers = {"retry-after": str(max(1, round(refused.wait + 0.5)))} if refused.wait else {}
    return JSONResponse(_error(refused.status, str(refused)), refused.status, headers)


def json_lines(config: Mapping) -> Callable[[Record], None]:
    """A keeper of records: a line of JSON each, without its texts, into the file config["record_file"]."""

    def keep(record: Record) -> None:
        row = {name: value for name, value in asdict(record).items() if name not in ("prompt", "answer")}
        with open(config["record_file"], "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    return keep


def app(config: Mapping) -> FastAPI:
    """The gateway as an application. config: "callers" (digest of a key -> name), "folder" (of the model),
    "upstream" (the file of `point`); if you like "limits" (see `Limits`), and "record", "record_first",
    "monitors" (see above).
    """
    gateway = Gateway(config)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await gateway.close()

    served = FastAPI(lifespan=lifespan, openapi_url=None)
    for path in SCHEMAS:
        served.add_api_route(path, gateway.handle, methods=["POST"], response_model=None)
    served.add_api_route("/ready", gateway.ready, methods=["GET"], response_model=None)
    if hasattr(gateway.keep, "metrics"):
        served.add_api_route("/metrics", gateway.metrics, methods=["GET"], response_model=None)

    @served.get("/health")
    async def health() -> dict:
        return {"status": "ok", "at_work": len(gateway.open)}

    @served.get("/v1/models")
    async def models() -> dict:
        return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": MODEL}]}

    return served


def main() -> None:
    """Serves on the socket that is inherited under the number of the first argument, until SIGTERM."""
    import uvicorn

    config = json.loads(os.environ["FTLIB_GATEWAY"])
    served = app(config)
    grace = int(Limits(**config.get("limits", {})).seconds) + 5
    options = uvicorn.Config(served, log_level="warning", access_log=False, timeout_graceful_shutdown=grace)
    uvicorn.Server(options).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
