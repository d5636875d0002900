"""Servers that notifications meet, all real: mail servers (aiosmtpd), a proxy (tinyproxy) and what hears heartbeats; a small SOCKS 5 server; for the scripts of this directory."""
import contextlib
import http.server
import socket
import socketserver
import ssl
import struct
import subprocess
import threading

import aiosmtpd.controller
import aiosmtpd.smtp

from harness import expect, free_port, wait_for


class Post:
    """Mail servers of one certificate, each with its own habits; what each took and was told of passwords."""

    def __init__(self, where):
        self.where = where
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-keyout", where / "key.pem", "-out", where / "cert.pem"], check=True, capture_output=True)
        self.controllers = {}
        self.mails = {}
        self.logins = {}

    def context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.where / "cert.pem", self.where / "key.pem")
        return context

    def open(self, name, mechanisms=("PLAIN", "LOGIN"), tls="starttls", refuses=""):
        mails, logins = self.mails.setdefault(name, []), self.logins.setdefault(name, [])

        class Handler:
            async def handle_RCPT(self, server, session, envelope, address, options):
                if refuses and address.startswith(refuses):
                    return "550 5.1.1 no such user"
                envelope.rcpt_tos.append(address)
                return "250 OK"

            async def handle_DATA(self, server, session, envelope):
                mails.append(envelope)
                return "250 taken"

        def login(server, session, envelope, mechanism, data):
            logins.append((mechanism, data.password))
            good = data.login == b"agent" and data.password == PASSWORD.encode()
            return aiosmtpd.smtp.AuthResult(success=good, handled=good)  # who is not handled is answered with 535

        others = {
            "starttls": {"tls_context": self.context(), "require_starttls": True, "auth_require_tls": True},
            "tls": {"ssl_context": self.context(), "auth_require_tls": False},
            "none": {"auth_require_tls": False},
        }[tls]
        controller = aiosmtpd.controller.Controller(
            Handler(), hostname="127.0.0.1", port=free_port(), authenticator=login, auth_required=True, enable_SMTPUTF8=True,
            auth_exclude_mechanism=[one for one in ("PLAIN", "LOGIN") if one not in mechanisms], **others)
        controller.start()
        self.controllers[name] = controller
        return f"127.0.0.1:{controller.port}"

    def stop(self):
        for controller in self.controllers.values():
            controller.stop()


PASSWORD = "5ecre7 pass: \"quoted\" ü"


@contextlib.contextmanager
def proxy(where, ports):
    """tinyproxy, which wants to know who asks and connects to these ports only; (its URL, what it logged)."""
    port = free_port()
    log = where / "proxy.log"
    (where / "proxy.conf").write_text(f"Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nLogFile \"{log}\"\nLogLevel Connect\n"
                                      "Allow 127.0.0.1\nBasicAuth agent 5ecre7proxy\n" + "".join(f"ConnectPort {one}\n" for one in ports))
    process = subprocess.Popen(["tinyproxy", "-d", "-c", str(where / "proxy.conf")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        def listens():
            expect(process.poll() is None, f"tinyproxy ended: {log.read_text() if log.exists() else ''}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                return True
        wait_for("tinyproxy", listens)
        yield f"http://127.0.0.1:{port}", lambda: log.read_text()
    finally:
        process.kill()
        process.wait()


class Listener(http.server.ThreadingHTTPServer):
    """What hears heartbeats: any method; counts them."""
    daemon_threads = True

    def __init__(self):
        self.beats = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.server.beats.append((self.command, self.path))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
            do_GET = do_POST

            def log_message(self, *_):
                pass
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Socks(socketserver.ThreadingTCPServer):
    """SOCKS 5 (RFC 1928) as far as CONNECT goes, for those who know a user and a password (RFC 1929); whom it led where."""
    daemon_threads = True

    def __init__(self, user, password):
        self.login = (user.encode(), password.encode())
        self.asked = []
        super().__init__(("127.0.0.1", 0), _SocksHandler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass  # a client that has gone

    def stop(self):
        self.shutdown()
        self.server_close()


class _SocksHandler(socketserver.StreamRequestHandler):
    def text(self):
        return self.rfile.read(self.rfile.read(1)[0])

    def handle(self):
        version, count = self.rfile.read(2)
        if version != 5 or 2 not in self.rfile.read(count):
            return self.wfile.write(b"\x05\xff")
        self.wfile.write(b"\x05\x02")
        self.rfile.read(1)
        known = (self.text(), self.text()) == self.server.login
        self.wfile.write(b"\x01\x00" if known else b"\x01\x01")
        if not known:
            return None
        _, command, _, kind = self.rfile.read(4)
        expect(command == 1 and kind in (1, 3), f"command {command} of an address of kind {kind}")
        host = socket.inet_ntoa(self.rfile.read(4)) if kind == 1 else self.text().decode()
        port, = struct.unpack("!H", self.rfile.read(2))
        self.server.asked.append((host, port))
        with socket.create_connection((host, port), timeout=60) as there:
            self.wfile.write(b"\x05\x00\x00\x01" + bytes(6))
            back = threading.Thread(target=self.pump, args=(there.recv, self.connection), daemon=True)
            back.start()
            self.pump(self.rfile.read1, there)
            back.join()

    @staticmethod
    def pump(read, to):
        with contextlib.suppress(OSError):
            while data := read(65536):
                to.sendall(data)
        with contextlib.suppress(OSError):
            to.shutdown(socket.SHUT_WR)
