"""The tools that the benches compare, each with a store of its own, and a table of what they took."""

import os
import shutil
import statistics
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def sh(command, **kwargs):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)


class Tool:
    """One builder with a store of its own."""

    name = ""

    def build(self, context, tag, *flags):
        raise NotImplementedError

    def images(self):
        raise NotImplementedError

    def import_base(self, tar):
        raise NotImplementedError

    def pull(self, reference):
        raise NotImplementedError

    def push(self, reference):
        raise NotImplementedError

    def tag(self, name, reference):
        raise NotImplementedError

    def save(self, name, file):
        raise NotImplementedError

    def load(self, file):
        raise NotImplementedError

    def start(self):
        pass

    def stop(self):
        pass

    def daemon_peak(self):
        """Peak memory in KiB of processes that outlive a command."""
        return 0


class DockersWords(Tool):
    """What strake and Docker are asked in the same words."""

    def images(self):
        return [*self.base, "images"]

    def import_base(self, tar):
        sh([*self.base, "import", tar, "bench-base:1"])

    def pull(self, reference):
        return [*self.base, "pull", "-q", reference]

    def push(self, reference):
        return [*self.base, "push", "-q", reference]

    def tag(self, name, reference):
        sh([*self.base, "tag", name, reference])

    def save(self, name, file):
        return [*self.base, "save", "-o", file, name]

    def load(self, file):
        return [*self.base, "load", "-q", "-i", file]


class Strake(DockersWords):
    name = "strake"

    def __init__(self, place):
        self.binary = os.environ.get("STRAKE", f"{TOP}/target/release/strake")
        self.base = [self.binary, "--root", f"{place}/strake"]

    def build(self, context, tag, *flags):
        return [*self.base, "build", "-q", *flags, "-t", tag, context]


class Buildah(Tool):
    name = "buildah"

    def __init__(self, place):
        self.store = ["--root", f"{place}/{self.name}", "--runroot", f"{place}/{self.name}-run"]
        self.base = [self.name, *self.store]

    def build(self, context, tag, *flags):
        runtime = ["--runtime", "runc"] if shutil.which("runc") else []
        return [*self.base, "bud", *runtime, "-q", "--layers", "--pull-never", *flags, "-t", tag, context]

    def images(self):
        return [*self.base, "images"]

    def import_base(self, tar):
        made = sh([*self.base, "from", "scratch"], text=True).stdout.strip()
        sh([*self.base, "add", made, tar, "/"])
        sh([*self.base, "config", "--env", "PATH=/bin", made])
        sh([*self.base, "commit", made, "localhost/bench-base:1"])


class Podman(Buildah):
    name = "podman"

    def __init__(self, place):
        super().__init__(place)
        self.base = ["podman", *self.store, "--cgroup-manager=cgroupfs", "--runtime", "runc"]

    def build(self, context, tag, *flags):
        return [*self.base, "build", "-q", "--layers", "--pull-never", *flags, "-t", tag, context]

    def import_base(self, tar):
        sh([*self.base, "import", tar, "localhost/bench-base:1"])

    def pull(self, reference):
        return [*self.base, "pull", "-q", "--tls-verify=false", reference]

    def push(self, reference):
        return [*self.base, "push", "-q", "--tls-verify=false", reference]

    def tag(self, name, reference):
        sh([*self.base, "tag", name, reference])

    def save(self, name, file):
        return [*self.base, "save", "-q", "-o", file, name]

    def load(self, file):
        return [*self.base, "load", "-q", "-i", file]


class Skopeo(Tool):
    """Copies between a registry and podman's kind of store; it has no store of its own."""

    name = "skopeo"

    def __init__(self, place):
        self.store = f"containers-storage:[overlay@{place}/skopeo+{place}/skopeo-run]"

    def pull(self, reference):
        return ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{reference}", f"{self.store}{reference}"]

    def push(self, reference):
        return ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"{self.store}{reference}", f"docker://{reference}"]

    def tag(self, name, reference):
        sh(["skopeo", "copy", "-q", f"{self.store}{name}", f"{self.store}{reference}"])

    def save(self, name, file):
        return ["skopeo", "copy", "-q", f"{self.store}{name}", f"docker-archive:{file}:{name}"]

    def load(self, file):
        return ["skopeo", "copy", "-q", f"docker-archive:{file}", f"{self.store}localhost/bench-image:1"]


class Docker(DockersWords):
    name = "docker"

    def __init__(self, place):
        self.place = f"{place}/docker"
        os.makedirs(self.place)
        self.socket = f"unix://{self.place}/sock"
        self.client = next((c for c in ("/usr/bin/docker", shutil.which("docker")) if c and os.path.exists(c)))
        self.base = ["env", "DOCKER_BUILDKIT=1", self.client, "-H", self.socket]

    def start(self):
        log = open(f"{self.place}/log", "w")
        self.daemon = subprocess.Popen(
            ["dockerd", "--data-root", f"{self.place}/data", "--exec-root", f"{self.place}/exec",
             "--pidfile", f"{self.place}/pid", "-H", self.socket, "--iptables=false", "--bridge=none"],
            stdout=log, stderr=log)
        for _ in range(100):
            if subprocess.run([*self.base, "info"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.2)
        raise RuntimeError(f"dockerd did not start: see {self.place}/log")

    def stop(self):
        self.daemon.terminate()
        self.daemon.wait()

    def build(self, context, tag, *flags):
        return [*self.base, "build", "-q", "--network", "host", *flags, "-t", tag, context]

    def daemon_peak(self):
        peak = 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                command = open(f"/proc/{pid}/cmdline").read()
                if self.place in command and ("dockerd" in command or "containerd" in command):
                    status = open(f"/proc/{pid}/status").read()
                    peak += int(status.split("VmHWM:")[1].split()[0])
            except (OSError, IndexError):
                continue
        return peak


def timed(command):
    """Seconds that the command took."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate()
    took = time.monotonic() - began
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{err.decode(errors='replace')[-2000:]}")
    return took


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def many_files(folder, count, total):
    """`count` files of some `total` bytes in all, in folders of 100, of unlike content."""
    size = total // count
    for number in range(count):
        path = f"{folder}/d{number // 100:03}/f{number:05}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(os.urandom(64) * (size // 64))


class Bench:
    def __init__(self, tools, place, turns):
        self.tools, self.place, self.turns = tools, place, turns
        self.rows = []
        self.number = 0

    def fresh(self):
        self.number += 1
        return self.number

    def row(self, name, command, turns=None, prepare=None, per=1, extra=None):
        """One row: `command(tool, turn)` is what is timed; `prepare` is done before it, untimed."""
        times = {}
        for turn in range(turns or self.turns):
            for tool in self.tools:
                if times.get(tool.name, ()) is None:
                    continue
                try:
                    if prepare:
                        prepare(tool, turn)
                    times.setdefault(tool.name, []).append(timed(command(tool, turn)) / per)
                except RuntimeError as error:
                    print(f"{tool.name}: {name}: {error}", file=sys.stderr)
                    times[tool.name] = None
            if extra:
                label, other = extra
                times.setdefault(label, []).append(timed(other(turn)) / per)
        medians = {k: statistics.median(v) for k, v in times.items() if v}
        self.rows.append((name, medians))
        self.print_row(name, medians)

    def print_row(self, name, medians):
        ours = medians.get("strake")
        cells = []
        for key, value in medians.items():
            ratio = f" ({value / ours:.1f}x)" if ours and key != "strake" else ""
            cells.append(f"{key} {value * 1000:.1f} ms{ratio}")
        print(f"{name:34} " + "   ".join(cells), flush=True)
