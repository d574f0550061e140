"""The API key reaches the engine and nothing else."""

from __future__ import annotations

from .deployment import ROOT, Deployment

NEW_KEY = "a-new-key-that-must-not-be-seen-0123456789"


def test_the_key_is_nowhere_to_be_read(deployment: Deployment) -> None:
    key = (ROOT / ".cache" / "quickstart" / "api-key").read_text(encoding="utf-8").strip()

    unchanged = deployment.play("site.yml", {}, "-vvv", "--diff")
    assert unchanged.rc == 0, unchanged.output
    assert unchanged.changed == []
    changed = deployment.play("site.yml", {"inference_services": [tiny(NEW_KEY)]}, "-vvv", "--diff")
    assert changed.rc == 0, changed.output
    assert changed.changed

    host = deployment.run(
        "sh",
        "-c",
        "'ps axww -o args; cat /etc/systemd/system/inference-tiny.service; systemctl show inference-tiny; journalctl --no-pager -b;"
        ' cat /opt/llama.cpp/log/* 2>/dev/null; tr "\\\\0" "\\\\n" < /proc/$(systemctl show -P MainPID inference-tiny)/environ\'',
    )
    assert "llama-server" in host
    for secret in (key, NEW_KEY):
        assert secret not in unchanged.output
        assert secret not in changed.output
        assert secret not in host
    assert deployment.run("stat", "-c", "%a:%U", "/etc/inference/tiny/api-key").split()[-1] == "600:root"


def tiny(key: str) -> dict[str, object]:
    return {
        "name": "tiny",
        "model": {"file": "/var/lib/inference/models/quickstart-tiny.gguf"},
        "host": "0.0.0.0",
        "port": 8080,
        "api_key": key,
        "options": {"ctx_size": 2048, "parallel": 2},
    }
