"""Serves one constant answer, for the floor of `cpu_per_request`: the HTTP part of the appliance and nothing else.

python -m bench.constant_server PORT [connection|aiohttp]
"""

import asyncio
import socket
import sys

import uvloop
from aiohttp import web

from appliance.http.limits import Limits
from appliance.http.server import HttpServer
from appliance.wire import WireReply, WireRequest

# as long as the answer to an encryption of 64 bytes
ANSWER = b'{"request_id":"%b","data":{"ciphertext":"%b"},"mount_type":"transit"}\n' % (b"r" * 36, b"c" * 260)


async def _answer(_request: WireRequest) -> WireReply:
    return WireReply(200, ANSWER)


async def _answer_by_aiohttp(request: web.BaseRequest) -> web.Response:
    await request.read()
    return web.Response(body=ANSWER, content_type="application/json")


async def _serve(port: int, kind: str) -> None:
    """Until somebody ends the process."""
    server = HttpServer(_answer, Limits()) if kind == "connection" else web.Server(_answer_by_aiohttp)
    bound = socket.create_server(("127.0.0.1", port))
    await asyncio.get_running_loop().create_server(server, sock=bound)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), sys.argv[2]))
