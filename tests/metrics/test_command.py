"""``belaypin metrics``: once, and as a server that Prometheus scrapes."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import belaypin

COMMAND = (sys.executable, "-m", "belaypin.cli", "metrics")


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/app.db"
    with belaypin.open(url) as store, store.lease("social", "user:1") as lease:
        for window in lease.windows("posts", since="1d"):
            for page in window.pages(lambda _: ([{"id": 1}], None)):
                with page.commit() as tx:
                    tx.fresh(page.items, key="id")
    return url


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False)


def test_figures_are_written_once(url: str) -> None:
    done = run("--store", url)
    assert done.returncode == 0, done.stderr
    assert 'belaypin_items_total{outcome="new",pipeline="social"} 1.0\n' in done.stdout
    assert 'belaypin_stream_lag_seconds{entity="user:1"' in done.stdout
    done = run("--store", url, "--openmetrics", "--worst", "0")
    assert done.stdout.endswith("# EOF\n")
    assert "belaypin_stream_lag_seconds{" not in done.stdout


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:x", "127.0.0.1:70000", "192.0.2.1:9464"])
def test_an_address_that_is_none_is_refused(url: str, address: str) -> None:
    done = run("--store", url, "--listen", address)
    assert done.returncode == 2
    assert "--listen" in done.stderr


@pytest.fixture
def server(url: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    words = [*COMMAND, "--store", url, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            yield process, process.stderr.readline().removeprefix("Listening on ").strip()
        finally:
            process.kill()


def test_it_serves_until_it_is_told_to_stop(server: tuple[subprocess.Popen[str], str]) -> None:
    process, address = server
    with urllib.request.urlopen(address, timeout=30) as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert b"belaypin_up 1.0" in response.read()
    asked = urllib.request.Request(address, headers={"Accept": "application/openmetrics-text"})
    with urllib.request.urlopen(asked, timeout=30) as response:
        assert response.read().endswith(b"# EOF\n")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(address.replace("/metrics", "/secrets"), timeout=30)
    refused.value.close()
    assert refused.value.code == 404
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
