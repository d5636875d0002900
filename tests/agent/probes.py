"""nginx as a target of scrapes over TLS and of probes, blackbox_exporter beside ours; a server that speaks DNS.

    probes.py NEXUS_AGENT
"""
import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import urllib.parse
import urllib.request

from counterparts import BINARY, agent_with, answers, becomes, program, running, value
from harness import Agent, closed_port, directory, equal, expect, free_port, run_tests, wait_for


NGINX = """
daemon off;
pid {where}/nginx.pid;
error_log {where}/error.log;
events {{}}
http {{
  access_log {where}/access.log;
  client_body_temp_path {where}/t1; proxy_temp_path {where}/t2; fastcgi_temp_path {where}/t3; uwsgi_temp_path {where}/t4;
  scgi_temp_path {where}/t5;
  gzip on; gzip_min_length 1; gzip_types text/plain;
  server {{
    listen 127.0.0.1:{port};
    location = /moved {{ return 302 /; }}
    location = /metrics {{ default_type text/plain; return 200 "nginx_says 42\n"; }}
    location = /private {{ auth_basic "x"; auth_basic_user_file {where}/users; default_type text/plain; alias {where}/private.txt; }}
    location / {{ add_header Last-Modified "Wed, 21 Oct 2015 07:28:00 GMT"; return 200 "welcome here\n"; }}
  }}
  server {{
    listen 127.0.0.1:{tls_port} ssl;
    ssl_certificate {where}/cert.pem; ssl_certificate_key {where}/cert-key.pem;
    location = /metrics {{ default_type text/plain; return 200 "tls_says 43\n"; }}
    location / {{ return 200 "welcome, safely\n"; }}
  }}
  server {{
    listen 127.0.0.1:{strict_port} ssl;
    ssl_certificate {where}/other.pem; ssl_certificate_key {where}/other-key.pem;
    ssl_client_certificate {where}/client.pem; ssl_verify_client on;
    location = /metrics {{ default_type text/plain; return 200 'asked{{host="$http_host",who="$ssl_client_s_dn"}} 44\n'; }}
  }}
}}
"""


def certificate(where, name, subject, alternative):
    """A certificate that is its own authority: NAME.pem and NAME-key.pem."""
    subprocess.run([program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={subject}",
                    "-addext", f"subjectAltName={alternative}", "-keyout", where / f"{name}-key.pem", "-out", where / f"{name}.pem"],
                   check=True, capture_output=True)


@contextlib.contextmanager
def nginx():
    """(where, port, TLS port, port of who wants a client's certificate): a real nginx; its certificates are their own authorities."""
    with directory() as where:
        where.chmod(0o755)
        port, tls_port, strict_port = free_port(), free_port(), free_port()
        certificate(where, "cert", "localhost", "DNS:localhost,IP:127.0.0.1")
        certificate(where, "other", "other.example", "DNS:other.example")
        certificate(where, "client", "nexus", "DNS:nexus.example")
        hashed = subprocess.run([program("openssl"), "passwd", "-apr1", "pass-of-sixteen-x"], check=True, capture_output=True,
                                text=True).stdout.strip()
        (where / "users").write_text(f"nexus:{hashed}\n")
        (where / "users").chmod(0o644)
        (where / "private.txt").write_text("secret_says 1\n")
        (where / "private.txt").chmod(0o644)
        (where / "nginx.conf").write_text(NGINX.format(where=where, port=port, tls_port=tls_port, strict_port=strict_port))
        with running(program("nginx"), "-c", where / "nginx.conf", "-p", where):
            wait_for("nginx", answers(f"http://127.0.0.1:{port}/"))
            yield where, port, tls_port, strict_port


def scrapes_over_tls():
    """nginx as a scrape target: gzip, TLS with and without its authority, by another name, with a client's certificate, passwords."""
    with nginx() as (where, port, tls_port, strict_port):
        strict = f'targets = ["https://127.0.0.1:{strict_port}/metrics"]\ntls = {{ ca_file = "{where}/other.pem", '
        mine = f'cert_file = "{where}/client.pem", key_file = "{where}/client-key.pem"'
        (where / "password").write_text("pass-of-sixteen-x\n")

        def target(name, extra):
            return f'[[scrape]]\nname = "{name}"\ninterval = "1s"\n{extra}\n'
        with agent_with(target("plain", f'targets = ["127.0.0.1:{port}"]')
                        + target("tls", f'targets = ["https://localhost:{tls_port}/metrics"]\ntls = {{ ca_file = "{where}/cert.pem" }}')
                        + target("unknown", f'targets = ["https://localhost:{tls_port}/metrics"]')
                        + target("careless", f'targets = ["https://localhost:{tls_port}/metrics"]\ntls = {{ insecure_skip_verify = true }}')
                        + target("private", f'targets = ["http://127.0.0.1:{port}/private"]\nusername = "nexus"\n'
                                            f'password_file = "{where}/password"')
                        + target("strict", strict + f'server_name = "other.example", {mine} }}')
                        + target("misnamed", strict + mine + " }")
                        + target("nobody", strict + 'server_name = "other.example" }')
                        + target("refused", f'targets = ["http://127.0.0.1:{port}/private"]')) as agent:
            wait_for("all scraped", lambda: len(agent.query("up")) == 9)
            wait_for("what is up", lambda: {row["metric"]["job"] for row in agent.query("up == 1")}
                     == {"plain", "tls", "careless", "private", "strict"})
            becomes(agent, f'count(asked{{host="127.0.0.1:{strict_port}",who="CN=nexus"}})', 1.0)
            becomes(agent, 'nginx_says{job="plain"}', 42.0)
            becomes(agent, 'tls_says{job="tls"}', 43.0)
            becomes(agent, "secret_says", 1.0)
            errors = {}

            def told():
                errors.update({t["scrapePool"]: t["lastError"] for t in agent.get("/api/v1/targets").json["data"]["activeTargets"]})
                return all(said in errors[name] for name, said in (("unknown", "certificate"), ("misnamed", "127.0.0.1"),
                                                                   ("nobody", "400"), ("refused", "401")))
            wait_for("what each refusal was", told)
            expect("pass-of-sixteen" not in agent.log + json.dumps(errors), "a secret was printed")


BLACKBOX = """
modules:
  http: {{prober: http, timeout: 30s, http: {{preferred_ip_protocol: ip4, fail_if_body_not_matches_regexp: [welcome]}}}}
  tls: {{prober: tcp, timeout: 30s, tcp: {{preferred_ip_protocol: ip4, tls: true, tls_config: {{ca_file: {where}/cert.pem}}}}}}
  https: {{prober: http, timeout: 30s, http: {{preferred_ip_protocol: ip4, tls_config: {{ca_file: {where}/cert.pem}}}}}}
  icmp: {{prober: icmp, timeout: 30s, icmp: {{preferred_ip_protocol: ip4}}}}
  tcp: {{prober: tcp, timeout: 30s, tcp: {{preferred_ip_protocol: ip4}}}}
  starttls: {{prober: tcp, timeout: 30s, tcp: {{preferred_ip_protocol: ip4, tls_config: {{ca_file: {where}/cert.pem, server_name: localhost}},
    query_response: [{{expect: "^220"}}, {{send: "EHLO prober"}}, {{expect: "^250[ -]STARTTLS"}}, {{send: STARTTLS}}, {{expect: "^220"}},
                     {{starttls: true}}, {{send: "EHLO prober"}}, {{expect: "^250[ -]"}}, {{send: QUIT}}]}}}}
  dns_udp: {{prober: dns, timeout: 30s, dns: {{preferred_ip_protocol: ip4, query_name: example.org, query_type: A}}}}
  dns_tcp: {{prober: dns, timeout: 30s, dns: {{preferred_ip_protocol: ip4, transport_protocol: tcp, query_name: example.org, query_type: TXT}}}}
  nothing_http: {{prober: http, timeout: 30s, http: {{preferred_ip_protocol: ip4}}}}
  nothing_dns: {{prober: dns, timeout: 1s, dns: {{preferred_ip_protocol: ip4, transport_protocol: tcp, query_name: example.org, query_type: A}}}}
  nothing_tcp: {{prober: tcp, timeout: 30s, tcp: {{preferred_ip_protocol: ip4}}}}
"""

STEPS = """
[[probe.step]]
expect = "^220"
[[probe.step]]
send = "EHLO prober"
[[probe.step]]
expect = "^250[ -]STARTTLS"
[[probe.step]]
send = "STARTTLS"
[[probe.step]]
expect = "^220"
[[probe.step]]
starttls = true
[[probe.step]]
send = "EHLO prober"
[[probe.step]]
expect = "^250[ -]"
[[probe.step]]
send = "QUIT"
"""
SMTP_SERVER = """
import ssl, sys
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
Controller(Sink(), hostname="127.0.0.1", port=int(sys.argv[1]), tls_context=context).start()
sys.stdin.read()
"""


@contextlib.contextmanager
def smtp_server(where):
    """aiosmtpd with STARTTLS; its port."""
    port = free_port()
    with running("/usr/bin/python3", "-c", SMTP_SERVER, port, where / "cert.pem", where / "cert-key.pem", stdin=subprocess.PIPE):
        wait_for("the SMTP server", lambda: listens(port))
        yield port


@contextlib.contextmanager
def dns_server(where):
    """dnsmasq with a few records of its own; its port."""
    port = free_port()
    with running(program("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root",
                 f"--pid-file={where}/dnsmasq.pid", f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces",
                 "--host-record=example.org,192.0.2.1,2001:db8::1", "--host-record=example.org,192.0.2.2",
                 "--txt-record=example.org,some text,more", "--mx-host=example.org,mail.example.org,10", "--local=/org/"):
        wait_for("dnsmasq", lambda: listens(port))
        yield port


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10):
        return True
    return False


def probes():
    """nginx and others, probed by blackbox_exporter and by the agent: the same metrics, and the same values where they stay."""
    with nginx() as (where, port, tls_port, _), directory() as other, smtp_server(where) as smtp_port, dns_server(other) as dns_port:
        nothing_port = closed_port()
        blackbox_port = free_port()
        (other / "blackbox.yml").write_text(BLACKBOX.format(where=where))
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(other / "greeter.sock"))
        sock.listen(8)

        def greet():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = sock.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.sendall(b"220 hello\r\n")
                        if connection.recv(100).startswith(b"HELO"):
                            connection.sendall(b"250 fine\r\n")
        threading.Thread(target=greet, daemon=True).start()

        def probe(name, kind, target, extra=""):
            return (f'[[probe]]\nname = "{name}"\nkind = "{kind}"\ntargets = ["{target}"]\ninterval = "5s"\n'
                    f'ip_protocol = "ip4"\n{extra}\n')
        ca = f'tls = {{ ca_file = "{where}/cert.pem" }}'
        targets = {"http": f"http://127.0.0.1:{port}/moved", "https": f"https://localhost:{tls_port}/", "tls": f"localhost:{tls_port}",
                   "icmp": "127.0.0.1", "tcp": f"127.0.0.1:{port}", "starttls": f"127.0.0.1:{smtp_port}",
                   "dns_udp": f"127.0.0.1:{dns_port}", "dns_tcp": f"127.0.0.1:{dns_port}",
                   "nothing_http": f"http://127.0.0.1:{nothing_port}/", "nothing_dns": f"127.0.0.1:{nothing_port}",
                   "nothing_tcp": f"127.0.0.1:{nothing_port}"}
        config = (probe("http", "http", targets["http"], 'fail_if_body_not_matches = ["welcome"]')
                  + probe("https", "http", targets["https"], ca) + probe("tls", "tls", targets["tls"], ca)
                  + probe("icmp", "icmp", targets["icmp"]) + probe("tcp", "tcp", targets["tcp"])
                  + probe("regex", "http", f"http://127.0.0.1:{port}/", 'fail_if_body_matches = ["wel+come"]')
                  + probe("status", "http", f"http://127.0.0.1:{port}/private")
                  + probe("closed", "tcp", f"127.0.0.1:{closed_port()}") + probe("untrusted", "tls", targets["tls"])
                  + probe("greeter", "unix", other / "greeter.sock",
                          '[[probe.step]]\nexpect = "^220 (?P<greeting>\\\\w+)"\n[[probe.step]]\nsend = "HELO \\\\1"\n[[probe.step]]\nexpect = "^250"')
                  + probe("nobody", "unix", other / "nobody.sock")
                  + probe("starttls", "tcp", targets["starttls"],
                          f'tls = {{ ca_file = "{where}/cert.pem", server_name = "localhost" }}\n{STEPS}')
                  + probe("starttls_misnamed", "tcp", targets["starttls"],
                          f'tls = {{ ca_file = "{where}/cert.pem", server_name = "other.example" }}\n{STEPS}')
                  + probe("dns_udp", "dns", targets["dns_udp"], 'query_name = "example.org"')
                  + probe("dns_tcp", "dns", targets["dns_tcp"], 'query_name = "example.org"\nquery_type = "TXT"\ntransport = "tcp"\n'
                          "fail_if_answer_not_matches = ['\\tTXT\\t\"some text\" \"more\"$']")
                  + probe("nothing_http", "http", targets["nothing_http"])
                  + probe("nothing_dns", "dns", targets["nothing_dns"], 'query_name = "example.org"\ntransport = "tcp"')
                  + probe("nothing_tcp", "tcp", targets["nothing_tcp"])
                  + probe("nowhere", "http", "http://nowhere.invalid/"))
        with running(program("prometheus-blackbox-exporter"), f"--config.file={other}/blackbox.yml",
                     f"--web.listen-address=127.0.0.1:{blackbox_port}"), agent_with(config) as agent:
            wait_for("blackbox_exporter", answers(f"http://127.0.0.1:{blackbox_port}/metrics"))
            wait_for("all probed", lambda: len(agent.query("probe_success")) == 19)

            def jobs(expression):
                return {row["metric"]["job"] for row in agent.query(expression)}
            wait_for("what succeeds", lambda: jobs("probe_success == 1") == {"http", "https", "tls", "icmp", "tcp", "greeter", "starttls",
                                                                              "dns_udp", "dns_tcp"})
            # What a pattern found, as blackbox_exporter shows it.
            becomes(agent, 'probe_expect_info{job="greeter",greeting="hello"}', 1.0)
            equal(jobs("probe_expect_info"), {"greeter"}, "where a pattern has names")
            becomes(agent, 'probe_http_status_code{job="nowhere"}', 0.0)
            wait_for("what a pattern fails", lambda: jobs("probe_failed_due_to_regex == 1") == {"regex"})
            for module, target in targets.items():
                url = f"http://127.0.0.1:{blackbox_port}/probe?module={module}&target=" + urllib.parse.quote(target, safe="")
                with urllib.request.urlopen(url, timeout=30) as answer:
                    theirs = {}
                    for line in answer.read().decode().splitlines():
                        match = re.match(r"(probe_\w+)(\{.*\})? (\S+)$", line)
                        if match and match[1] != "probe_icmp_duration_seconds":
                            theirs[match[1], re.sub(r'(cipher|version|fingerprint_sha256|subject|issuer|serialnumber|subjectalternative)="[^"]*"', "", match[2] or "")] = float(match[3])
                equal(theirs["probe_success", ""], 0.0 if module.startswith("nothing") else 1.0, f"blackbox_exporter on {target}")
                ours = {}
                for row in agent.query(f'{{job="{module}",__name__=~"probe_.*"}}'):
                    phase = row["metric"].get("phase")
                    ours[row["metric"]["__name__"], f'{{phase="{phase}"}}' if phase else ""] = float(row["value"][1])
                missing = {name for name, _ in theirs} - {name for name, _ in ours}
                expect(not missing, f"{module}: blackbox_exporter has also {sorted(missing)}")
                for key in theirs:
                    if key[0] in ("probe_http_status_code", "probe_http_redirects", "probe_http_ssl", "probe_ip_protocol",
                                  "probe_http_uncompressed_body_length", "probe_ssl_earliest_cert_expiry",
                                  "probe_ssl_last_chain_expiry_timestamp_seconds", "probe_http_last_modified_timestamp_seconds",
                                  "probe_failed_due_to_regex", "probe_http_version", "probe_dns_answer_rrs", "probe_dns_authority_rrs",
                                  "probe_dns_additional_rrs", "probe_dns_query_succeeded", "probe_dns_serial"):
                        equal(ours[key], theirs[key], f"{module} {key}")
            wait_for("days left", lambda: 28 < (value(agent, "tls_certificate_days_left") or 0) < 31)
            wait_for("availability", lambda: value(agent, 'probe_availability_percent{job="tcp"}') == 100)
            for name, said in (("regex", "wel"), ("status", "status 401"), ("closed", "refused"), ("untrusted", "self-signed"), ("starttls_misnamed", "mismatch"),
                               ("nobody", "No such file")):
                def tells(name=name, said=said):
                    targets = agent.get("/api/v1/targets").json["data"]["activeTargets"]
                    return any(t["scrapePool"] == name and said in t["lastError"] for t in targets)
                wait_for(f"{name} failing because of {said}", tells)
        sock.close()


def dns_probes():
    """A server that speaks DNS in Python (named a double: no DNS server is installed) and checks what it is asked."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    wrong = []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                query, peer = server.recvfrom(512)
                question = b"\x07example\x03org\x00\x00\x01\x00\x01"
                if query[2:12] != b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" or query[12:] not in (question, question.replace(b"example", b"nowhere")):
                    wrong.append(query)
                    continue
                found = query[12:] == question
                head = query[:2] + (b"\x81\x80" if found else b"\x81\x83") + b"\x00\x01" + (b"\x00\x02" if found else b"\x00\x00") + b"\x00\x00\x00\x00"
                record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\xc0\x00\x02"
                server.sendto(head + query[12:] + (record + b"\x01" + record + b"\x02" if found else b""), peer)
    threading.Thread(target=serve, daemon=True).start()
    port = server.getsockname()[1]

    def probe(name, query, extra=""):
        return (f'[[probe]]\nname = "{name}"\nkind = "dns"\ntargets = ["127.0.0.1:{port}"]\ninterval = "5s"\n'
                f'query_name = "{query}"\n{extra}\n')
    with agent_with(probe("good", "example.org", "fail_if_answer_not_matches = ['^example\\.org\\.\\t3600\\tIN\\tA\\t192\\.0\\.2\\.']")
                    + probe("gone", "nowhere.org") + probe("expected", "nowhere.org", 'valid_rcodes = ["NXDOMAIN"]')
                    + probe("bad", "example.org", "fail_if_answer_matches = ['192\\.0\\.2\\.2$']")) as agent:
        wait_for("all probed", lambda: len(agent.query("probe_success")) == 4)
        wait_for("what succeeds", lambda: {row["metric"]["job"] for row in agent.query("probe_success == 1")} == {"good", "expected"})
        becomes(agent, 'probe_dns_answer_rrs{job="good"}', 2.0)
        becomes(agent, 'probe_dns_query_succeeded{job="gone"}', 1.0)  # an answer that says no is an answer
        equal(wrong, [], "queries that are none")
    server.close()


def raw_icmp():
    """Where nobody may ping (a network namespace of its own allows no ping socket), root does it over a raw one."""
    with directory() as where:
        wrapper = where / "agent-in-namespace"
        wrapper.write_text('#!/bin/sh\nexec unshare --net sh -c \'ip link set lo up && test "$(cat /proc/sys/net/ipv4/ping_group_range)" = '
                           f'"1\t0" && exec "$0" "$@"\' {BINARY} "$@"\n')
        wrapper.chmod(0o755)
        agent = Agent(wrapper, where, '[[probe]]\nname = "ping"\nkind = "icmp"\ntargets = ["127.0.0.1", "::1"]\ninterval = "5s"\n'
                                      'payload_size = 1000\n')
        try:
            agent.start()
            wait_for("both answering", lambda: len(agent.query("probe_success == 1")) == 2)
            wait_for("both hop limits", lambda: [row["value"][1] for row in agent.query("probe_icmp_reply_hop_limit")] == ["64", "64"])
        finally:
            agent.close()


TESTS = [("raw ICMP", raw_icmp), ("scrapes over TLS", scrapes_over_tls), ("the same probes as blackbox_exporter", probes), ("DNS probes", dns_probes)]

if __name__ == "__main__":
    chosen = sys.argv[2:]
    run_tests([(name, test) for name, test in TESTS if not chosen or test.__name__ in chosen])
