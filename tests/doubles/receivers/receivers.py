"""Doubles of the services that notifications go to; see README.md."""
import email
import email.policy
import hashlib
import hmac
import http.server
import json
import re
import ssl
import threading
import time
import urllib.parse

SECRETS = {"slack": "xoxb-5ecre7-bot", "pagerduty": "5ecre7" + "k" * 26, "opsgenie": "5ecre7-genie", "telegram": "123456:5ecre7",
           "ntfy": "tk_5ecre7", "webhook": "5ecre7-signature"}


class Bad(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Bad(what)


def text(most, least=1):
    def check(value, where):
        need(isinstance(value, str), f"{where}: expected a string, got {value!r}")
        need(least <= len(value) <= most, f"{where}: {len(value)} characters, expected {least} to {most}")
    return check


def one_of(*values):
    return lambda value, where: need(value in values, f"{where}: {value!r}, expected one of {values}")


def boolean(value, where):
    need(isinstance(value, bool), f"{where}: expected a boolean, got {value!r}")


def integer(low, high):
    return lambda value, where: need(isinstance(value, int) and not isinstance(value, bool) and low <= value <= high, f"{where}: {value!r}")


def time_text(value, where):
    need(isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value), f"{where}: {value!r} is no time")


def strings(value, where):
    need(isinstance(value, dict) and all(isinstance(one, str) for one in value.values()), f"{where}: expected strings by name")


def array(of, least=0, most=10_000):
    def check(value, where):
        need(isinstance(value, list) and least <= len(value) <= most, f"{where}: expected {least} to {most} items, got {value!r}")
        for number, item in enumerate(value):
            of(item, f"{where}[{number}]")
    return check


def table(required, optional=None):
    optional = optional or {}

    def check(value, where):
        need(isinstance(value, dict), f"{where}: expected an object, got {value!r}")
        for key in required:
            need(key in value, f"{where}: {key} is missing")
        for key, one in value.items():
            need(key in required or key in optional, f"{where}: unknown key {key}")
            (required.get(key) or optional[key])(one, f"{where}.{key}")
    return check


MARKDOWN = table({"type": one_of("mrkdwn"), "text": text(3000)})


def slack_block(value, where):
    kind = value.get("type")
    if kind == "header":
        table({"type": one_of("header"), "text": table({"type": one_of("plain_text"), "text": text(150)})})(value, where)
    elif kind == "actions":
        button = table({"type": one_of("button"), "text": table({"type": one_of("plain_text"), "text": text(75)}), "url": text(3000)},
                       {"style": one_of("primary", "danger")})
        table({"type": one_of("actions"), "elements": array(button, 1, 25)})(value, where)
    else:
        table({"type": one_of("section"), "text": MARKDOWN})(value, where)
        need(not re.search(r"<(?!(?:!|@|#|https?:))|&(?!amp;|lt;|gt;)", value["text"]["text"]), f"{where}: markup is not escaped")
        need("<!" not in value["text"]["text"], f"{where}: calls a whole channel")


SLACK = {"text": text(4000), "attachments": array(table({"color": text(7), "blocks": array(slack_block, 1, 50)}), 1, 20)}
ALERT = table({"status": one_of("firing", "resolved"), "labels": strings, "annotations": strings, "startsAt": time_text,
               "endsAt": time_text, "generatorURL": text(2000, 0), "fingerprint": text(16, 16)})


def slack_hook(request, body):
    table(SLACK)(body, "body")
    return 200, "ok"


def slack_api(request, body):
    """chat.postMessage, and the three steps of a file: a place for it, the upload, and where it is shown."""
    method = request.path.removeprefix("/slack-api/")
    if method.startswith("upload/"):
        need(method in request.server.uploads, f"nobody was given the address {method}")
        need(len(request.body) == request.server.uploads[method], "the length is not the one that was announced")
        return 200, f"OK - {len(request.body)}"
    need(request.headers["Authorization"] == "Bearer " + SECRETS["slack"], "Authorization is not the bot's")
    if method == "files.getUploadURLExternal":
        form = dict(urllib.parse.parse_qsl(request.body.decode(), strict_parsing=True))
        need(form.keys() == {"filename", "length"} and form["length"].isdigit(), f"form {form}")
        place = f"upload/{len(request.server.uploads)}"
        request.server.uploads[place] = int(form["length"])
        return 200, json.dumps({"ok": True, "upload_url": f"{request.server.address}/slack-api/{place}", "file_id": "F1"})
    if method == "files.completeUploadExternal":
        table({"files": array(table({"id": one_of("F1"), "title": text(100)}), 1, 1), "channel_id": one_of("C1"), "thread_ts": text(20)})(body, "body")
        request.server.pictures["slack-api"].append(body["thread_ts"])
        return 200, json.dumps({"ok": True, "files": [{"id": "F1"}]})
    need(method == "chat.postMessage", f"no such method: {method}")
    table({**SLACK, "channel": text(80)}, {"thread_ts": text(20), "reply_broadcast": boolean})(body, "body")
    if body["channel"] == "#gone":
        return 200, json.dumps({"ok": False, "error": "channel_not_found"})
    if request.server.threads_locked and "thread_ts" in body:
        return 200, json.dumps({"ok": False, "error": "restricted_action_thread_locked"})
    return 200, json.dumps({"ok": True, "channel": "C1", "ts": f"{time.time():.6f}"})


def pagerduty(request, body):
    need(body.get("event_action") in ("trigger", "acknowledge", "resolve"), "event_action")
    common = {"routing_key": one_of(SECRETS["pagerduty"]), "event_action": text(11), "dedup_key": text(255)}
    if body["event_action"] in ("acknowledge", "resolve"):
        table(common)(body, "body")
    else:
        payload = table({"summary": text(1024), "source": text(255), "severity": one_of("critical", "warning", "error", "info")},
                        {"timestamp": time_text, "component": text(255, 0), "group": text(255), "class": text(255, 0),
                         "custom_details": lambda value, where: need(isinstance(value, dict), where)})
        table({**common, "payload": payload},
              {"client": text(255), "client_url": text(2000), "links": array(table({"href": text(2000)}, {"text": text(255)}))})(body, "body")
    return 202, json.dumps({"status": "success", "message": "Event processed", "dedup_key": body["dedup_key"]})


def opsgenie(request, body):
    need(request.headers["Authorization"] == "GenieKey " + SECRETS["opsgenie"], "Authorization is not GenieKey and the key")
    path = request.path.removeprefix("/opsgenie")
    if path == "/v2/alerts":
        table({"message": text(130)},
              {"alias": text(512), "description": text(15000), "details": strings, "entity": text(512, 0), "source": text(100),
               "priority": one_of("P1", "P2", "P3", "P4", "P5")})(body, "body")
    else:
        need(re.fullmatch(r"/v2/alerts/[\w-]+/close\?identifierType=alias", path), f"no such path: {path}")
        table({}, {"source": text(100), "user": text(100), "note": text(25000)})(body, "body")
    return 202, json.dumps({"result": "Request will be processed", "took": 0.1, "requestId": "1"})


def discord(request, body):
    embed = table({}, {"image": table({"url": one_of("attachment://chart.png")}), "title": text(256), "description": text(4096), "color": integer(0, 0xffffff), "timestamp": time_text, "url": text(2000)})
    table({}, {"content": text(2000, 0), "embeds": array(embed, 1, 10), "allowed_mentions": table({"parse": array(text(10))})})(body, "body")
    need(body["allowed_mentions"] == {"parse": []}, "an alert could call everybody")
    return 204, ""


def teams(request, body):
    block = table({"type": one_of("TextBlock"), "text": text(8000)},
                  {"wrap": boolean, "size": one_of("Large"), "weight": one_of("Bolder"),
                   "color": one_of("default", "dark", "light", "accent", "good", "warning", "attention")})
    picture = table({"type": one_of("Image"), "url": text(20_000), "altText": text(200)})
    link = table({"type": one_of("Action.OpenUrl"), "title": text(100), "url": text(2000)})

    def part(value, where):
        (picture if value.get("type") == "Image" else block)(value, where)
    card = table({"type": one_of("AdaptiveCard"), "version": text(5), "body": array(part, 1)}, {"$schema": text(200), "actions": array(link)})
    table({"type": one_of("message"),
           "attachments": array(table({"contentType": one_of("application/vnd.microsoft.card.adaptive"), "content": card}), 1, 1)})(body, "body")
    need(len(json.dumps(body)) <= 28 * 1024, "more than 28 KB")
    return 202, ""


def telegram(request, body):
    need(request.path == f"/telegram/bot{SECRETS['telegram']}/sendMessage", f"no such path: {request.path}")
    table({"chat_id": text(100), "text": text(4096)}, {"disable_web_page_preview": boolean, "disable_notification": boolean})(body, "body")
    return 200, json.dumps({"ok": True, "result": {"message_id": 1}})


def ntfy_file(request):
    need(request.headers["Authorization"] == "Bearer " + SECRETS["ntfy"], "Authorization is not the token")
    need(request.path == "/ntfy/nexus", "a file goes to its topic")
    need(request.headers["Filename"] == "chart.png" and request.headers["Priority"] == "1", "headers of the attachment")
    request.check_png(request.body)
    request.server.pictures["ntfy"].append("nexus")
    return 200, json.dumps({"id": "2", "time": 1, "event": "message", "topic": "nexus", "attachment": {"name": "chart.png"}})


def ntfy(request, body):
    need(request.path == "/ntfy/", "published as JSON only at the root")
    need(request.headers["Authorization"] == "Bearer " + SECRETS["ntfy"], "Authorization is not the token")
    table({"topic": text(64)}, {"title": text(250), "message": text(4096), "priority": integer(1, 5), "tags": array(text(50)),
                                "click": text(2000)})(body, "body")
    return 200, json.dumps({"id": "1", "time": 1, "event": "message", "topic": body["topic"]})


def webhook(request, body):
    table({"version": one_of("4"), "groupKey": text(2000), "truncatedAlerts": integer(0, 10_000), "status": one_of("firing", "resolved"),
           "receiver": text(200), "groupLabels": strings, "commonLabels": strings, "commonAnnotations": strings,
           "externalURL": text(2000, 0), "alerts": array(ALERT, 1)})(body, "body")
    firing = any(alert["status"] == "firing" for alert in body["alerts"])
    need(body["status"] == ("firing" if firing else "resolved"), "the status is not that of the alerts")
    for alert in body["alerts"]:
        need((alert["endsAt"] == "0001-01-01T00:00:00Z") == (alert["status"] == "firing"), f"endsAt of {alert}")
    given = request.headers.get("X-Nexus-Signature")
    if given is not None:
        need(hmac.compare_digest(given, "sha256=" + hmac.new(SECRETS["webhook"].encode(), request.body, hashlib.sha256).hexdigest()),
             "the signature is not that of the body")
    return 200, ""


SERVICES = {"slack-hook": slack_hook, "slack-api": slack_api, "pagerduty": pagerduty, "opsgenie": opsgenie, "discord": discord,
            "teams": teams, "telegram": telegram, "ntfy": ntfy, "webhook": webhook}


class Receivers(http.server.ThreadingHTTPServer):
    """All services on one port, by the first part of the path. behave[name] is "ok", "hang", "late" (taken, and not
    answered), "dead" (no answer), or (status, headers)."""
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, tls=None):
        self.got = {name: [] for name in SERVICES}
        self.attempts = {name: [] for name in SERVICES}
        self.complaints = []
        self.behave = {}
        self.threads_locked = False  # Slack takes no answers
        self.uploads = {}  # place: announced length
        self.pictures = {name: [] for name in SERVICES}
        self.headers = {name: [] for name in SERVICES}
        self.paths = {name: [] for name in SERVICES}
        self.lock = threading.Lock()
        self.closing = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.address = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass  # a handshake that was refused, a client that has gone

    def of(self, name):
        with self.lock:
            return list(self.got[name])

    def stop(self):
        self.closing.set()
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        self.do_POST()

    def do_POST(self):
        server = self.server
        name = self.path.split("/")[1]
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if name not in SERVICES:
            return self.answer(404, "no such service")
        with server.lock:
            server.attempts[name].append(time.monotonic())
        behave = server.behave.get(name, "ok")
        if behave == "hang":
            server.closing.wait(600)
            return None
        if behave == "dead":
            self.close_connection = True
            return None
        if behave not in ("ok", "late"):
            return self.answer(behave[0], "as told", behave[1])
        try:
            kind = self.headers["Content-Type"]
            need((self.command == "PUT") == (name == "ntfy" and kind == "image/png"), f"{self.command} of {kind}")
            if self.command == "PUT":
                return self.answer(*ntfy_file(self))
            if name == "slack-api" and "chat.postMessage" not in self.path:
                if kind == "image/png":
                    self.check_png(self.body)
                body = json.loads(self.body) if kind.startswith("application/json") else None
                return self.answer(*slack_api(self, body))
            fields, pictures = self.form(kind) if kind.startswith("multipart/form-data") else ({}, [])
            need(pictures or kind.startswith("application/json"), f"Content-Type is {kind}")
            need(not pictures or name in ("discord", "telegram"), f"{name} takes no file")
            if pictures:
                self.check_png(pictures[0])
                server.pictures[name].append("form")
            if self.path.endswith("/sendPhoto"):  # the words came before it
                need(fields.keys() == {"chat_id", "disable_notification"}, f"fields {fields.keys()}")
                return self.answer(200, json.dumps({"ok": True, "result": {"message_id": 2}}))
            body = json.loads(fields["payload_json"] if pictures else self.body.decode("utf-8"))
            status, said = SERVICES[name](self, body)
        except (Bad, ValueError, KeyError) as wrong:
            with server.lock:
                server.complaints.append(f"{name}: {wrong!r} in {self.body[:2000]!r}")
            return self.answer(400, str(wrong))
        with server.lock:
            server.got[name].append(body)
            server.headers[name].append(dict(self.headers))
            server.paths[name].append(self.path)
        if behave == "late":
            server.closing.wait(600)
            return None
        return self.answer(status, said)

    def form(self, kind):
        message = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + self.body, policy=email.policy.HTTP)
        fields, pictures = {}, []
        for part in message.iter_parts():
            if part.get_filename():
                need(part.get_content_type() == "image/png", part.get_content_type())
                pictures.append(part.get_payload(decode=True))
            else:
                fields[part.get_param("name", header="content-disposition")] = part.get_payload(decode=True).decode()
        return fields, pictures

    @staticmethod
    def check_png(data):
        need(data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xaeB`\x82"), "the picture is no PNG")

    def answer(self, status, said, headers=None):
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        payload = said.encode()
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_):
        pass
