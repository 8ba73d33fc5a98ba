"""Says who it is, and who asks: netexec.py [http=PORT,...] [udp=PORT,...] [tls=PORT,... cert=FILE key=FILE]

HTTP: /hostname, /clientip, /healthz, /echo?msg=, /dial?host=&port=&request= (what another such server answers), /json (the method
and path of the request), and for other paths the environment variable SERVE_PORT_<port>. UDP: the words hostname, clientip and `echo MESSAGE`.
"""

import http.server
import json
import os
import socket
import socketserver
import ssl
import sys
import threading
import urllib.request
from urllib.parse import parse_qs, urlsplit

HOSTNAME = socket.gethostname()


def dial(asked):
    host, port, request = (asked[name][0] for name in ("host", "port", "request"))
    with urllib.request.urlopen(f"http://{host}:{port}/{request}", timeout=5) as answer:
        return json.dumps({"responses": [answer.read().decode(errors="replace")]})


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def say(self):
        url, port = urlsplit(self.path), self.server.server_address[1]
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        serves = os.environ.get(f"SERVE_PORT_{port}")
        if os.environ.get("JSON_RESPONSE"):
            text = json.dumps({"Method": self.command, "Path": url.path, "Body": serves or ""})
        elif serves is not None:
            text = serves
        elif url.path == "/dial":
            text = dial(parse_qs(url.query))
        else:
            message = parse_qs(url.query).get("msg", [""])[0]
            client = f"{self.client_address[0]}:{self.client_address[1]}"
            said = {"/hostname": HOSTNAME, "/hostName": HOSTNAME, "/clientip": client, "/healthz": "ok", "/echo": message, "/": HOSTNAME}
            text = said.get(url.path)
        body = (text if text is not None else "not found").encode()
        self.send_response(200 if text is not None else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8" if body.startswith(b"<") else "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = say

    def log_message(self, *_):
        pass


class Udp(socketserver.BaseRequestHandler):
    def handle(self):
        datagram, answers = self.request
        word, _, rest = datagram.decode(errors="replace").strip().partition(" ")
        said = {"hostname": HOSTNAME, "clientip": f"{self.client_address[0]}:{self.client_address[1]}", "echo": rest}
        answers.sendto(said.get(word.lower(), "").encode(), self.client_address)


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


def main():
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])

    def ports(kind):
        return [int(port) for port in options.get(kind, "").split(",") if port]

    servers = [Server(("", port), Http) for port in ports("http")] + [socketserver.ThreadingUDPServer(("", port), Udp) for port in ports("udp")]
    for port in ports("tls"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options["cert"], options["key"])
        server = Server(("", port), Http)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        servers.append(server)
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main()
