"""A web app of one page. With an argument it asks itself once and ends."""

import os
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"Hello from Python in a container, as uid %d.\n" % os.getuid()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


once = "--once" in sys.argv
server = HTTPServer(("127.0.0.1" if once else "", 0 if once else int(os.environ["PORT"])), Page)
if once:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/").read().decode(), end="")
else:
    server.serve_forever()
