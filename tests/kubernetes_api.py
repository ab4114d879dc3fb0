"""The part of a Kubernetes API that Snakemake's executor calls, for want of a cluster.

A job's pod is a process on this machine: its container's command, in an empty folder, with nothing
of the submitter's environment. What a cluster does beside that (images, volumes, limits, its
scheduling) is not here: a manifest is kept, not obeyed.
"""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml


@dataclass
class Api:
    """What was asked for, and the processes of it."""

    folder: Path
    runs_pods: bool  # else every job fails at once
    jobs: list[dict] = field(default_factory=list)
    pods: dict[str, subprocess.Popen] = field(default_factory=dict)
    url: str = ""

    def create(self, path: str, body: dict) -> dict:
        if path.endswith("/jobs"):
            self.jobs.append(body)
            if self.runs_pods:
                self.pods[body["metadata"]["name"]] = self._start(body)
        return body

    def _start(self, job: dict) -> subprocess.Popen:
        container = job["spec"]["template"]["spec"]["containers"][0]
        folder = self.folder / job["metadata"]["name"]
        folder.mkdir()
        with (folder / "log").open("wb") as log:
            return subprocess.Popen(
                [*container["command"], *container["args"]],
                cwd=folder,
                env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def read(self, path: str) -> dict:
        if not path.endswith("/status"):
            return {"items": []}  # of pods: the executor then goes by the job's status alone
        pod = self.pods.get(path.split("/")[-2])
        code = pod.poll() if pod else 1
        if code is None:
            return {"status": {"active": 1}}
        return {"status": {"failed": 1} if code else {"succeeded": 1}}

    def kubeconfig(self) -> Path:
        """The file that says where this is."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": self.url}}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        }
        path = self.folder / "kubeconfig"
        path.write_text(yaml.safe_dump(content))
        return path


@contextmanager
def serving(folder: Path, runs_pods: bool) -> Iterator[Api]:
    """An Api behind HTTP, on a free port of this machine."""
    api = Api(folder, runs_pods)

    class Handler(BaseHTTPRequestHandler):
        def answer(self, make) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            content = json.dumps(make(self.path.partition("?")[0], body)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.answer(api.create)

        def do_GET(self) -> None:
            self.answer(lambda path, body: api.read(path))

        def do_DELETE(self) -> None:
            self.answer(lambda path, body: {"status": "Success"})

        def log_message(self, *words) -> None:
            """Keep the tests' output to the tests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        for pod in api.pods.values():
            if pod.poll() is None:
                pod.terminate()
            pod.wait()
