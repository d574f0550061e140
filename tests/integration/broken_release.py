"""Sources of a `llama-server` that builds in a second and then misbehaves, to be built as a release like any other."""

from __future__ import annotations

import io
import tarfile

CMAKE = """\
cmake_minimum_required(VERSION 3.14)
project(broken C)
add_custom_target(llama-server ALL
  COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/bin
  COMMAND ${CMAKE_COMMAND} -E copy ${CMAKE_SOURCE_DIR}/llama-server ${CMAKE_BINARY_DIR}/bin/llama-server)
"""

ANSWERS_QUESTIONS = """\
#!/usr/bin/python3
import sys
if "--help" in sys.argv:
    sys.exit(print(HELP))
if "--version" in sys.argv:
    sys.exit(print("version: 0 (broken)"))
"""

DIES = """\
sys.exit("error: this release dies at its start")
"""

NEVER_READY = """\
import http.server
class Loading(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(503, "Loading model")
http.server.HTTPServer(("0.0.0.0", int(sys.argv[sys.argv.index("--port") + 1])), Loading).serve_forever()
"""


def archive(behaviour: str, help_text: str) -> bytes:
    """A source archive whose `llama-server` accepts every flag of `help_text` and then behaves as told."""
    server = ANSWERS_QUESTIONS.replace("HELP", repr(help_text)) + behaviour
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text, mode in (("CMakeLists.txt", CMAKE, 0o644), ("llama-server", server, 0o755)):
            member = tarfile.TarInfo(f"broken/{name}")
            member.size, member.mode = len(text.encode()), mode
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()
