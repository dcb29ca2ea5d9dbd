"""Run localstripe on a socket that was handed over, keeping nothing on disk: python localstripe_serve.py <fd>."""

import socket
import sys

from aiohttp import web
from localstripe import resources, server


def main() -> None:
    # Its own command listens on every address and keeps its objects in one file of /tmp for all its processes.
    resources.Store.dump_to_disk = lambda _store: None
    web.run_app(server.app, sock=socket.socket(fileno=int(sys.argv[1])), print=None, access_log=None)


if __name__ == "__main__":
    main()
