"""Serve a folder on localhost and open it in a browser: ``python tools/serve.py FOLDER PORT``."""

from __future__ import annotations

import errno
import functools
import http.server
import sys
import webbrowser


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files without writing a line for each."""

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


def server(folder: str, port: int) -> http.server.ThreadingHTTPServer:
    """Return a server of ``folder`` on localhost; ``port`` 0 takes any free one.

    Raises ``SystemExit`` with advice where the port is taken or is none.
    """
    if not 0 <= port <= 65535:
        raise SystemExit(f"PORT: got {port}, needs a number from 0 to 65535")
    handler = functools.partial(Handler, directory=folder)
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        why = "is in use" if error.errno == errno.EADDRINUSE else "is not allowed to you"
        raise SystemExit(f"Port {port} {why}. Try another: make serve PORT=8001") from None


def main(folder: str, port: str) -> None:
    """Serve until interrupted."""
    if not port.isdigit():
        raise SystemExit(f"PORT: got {port!r}, needs a number from 0 to 65535")
    with server(folder, int(port)) as httpd:
        url = f"http://localhost:{httpd.server_address[1]}/"
        print(f"The book is at {url} (Ctrl+C stops it).", flush=True)
        webbrowser.open(url)
        try:
            httpd.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main(*sys.argv[1:3])
