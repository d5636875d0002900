"""What the scripts about sources share: programs and servers as counterparts, and what an agent says of a series."""
import contextlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.parse
import urllib.request

from harness import Agent, directory, expect, wait_for

BINARY = sys.argv[1]


def program(name):
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    expect(path, f"{name} is not installed")
    return path


@contextlib.contextmanager
def running(*words, **options):
    process = subprocess.Popen(list(map(str, words)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def answers(url):
    def probe():
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(url, timeout=10).status == 200
    return probe


@contextlib.contextmanager
def served(respond):
    """An HTTP server on a free port; respond(handler) writes the answer."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            respond(self)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128  # all targets ask at once

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def send(handler, body, content_type="text/plain; version=0.0.4", status=200, headers=()):
    body = body.encode() if isinstance(body, str) else body
    handler.send_response(status)
    handler.send_header("Content-Type", content_type)
    for name, value in headers:
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def values(agent, expression):
    """Labels as JSON -> value."""
    return {json.dumps(row["metric"], sort_keys=True): float(row["value"][1]) for row in agent.query(expression)}


def value(agent, expression):
    rows = agent.query(expression)
    return float(rows[0]["value"][1]) if rows else None


def becomes(agent, expression, expected):
    """Waits for it: what was asked a moment ago is not yet told, or a single scrape or probe was late on a busy machine."""
    wait_for(f"{expression} being {expected}", lambda: value(agent, expression) == expected)


@contextlib.contextmanager
def agent_with(config, name="agent"):
    with directory() as where:
        agent = Agent(BINARY, where, config, name)
        try:
            yield agent.start()
        finally:
            agent.close()


def ask_prometheus(port, expression):
    url = f"http://127.0.0.1:{port}/api/v1/query?query=" + urllib.parse.quote(expression)
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)["data"]["result"]
