"""The pages of a running daemon, at a free port of this host."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

Series = dict[tuple[str, ...], float]
"""Each sample by its name and the values of its labels, in the order of the labels' names."""
_PATIENCE = 30.0


def find_free_port(host: str = "127.0.0.1") -> int:
    """Find a port that nobody listens on."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def read_series(text: str) -> Series:
    """Read the text format of Prometheus."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(found.name, *(found.labels[key] for key in sorted(found.labels))): found.value for found in samples}


class Pages:
    """The pages at one address."""

    def __init__(self) -> None:
        self.address = f"127.0.0.1:{find_free_port()}"

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=_PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except urllib.error.URLError:
            return 0, ""

    def scrape(self) -> Series:
        """What a scrape reads."""
        status, text = self.get("/metrics")
        return read_series(text) if status == 200 else {}
