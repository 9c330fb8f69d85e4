"""Finished runs in an MLflow store beside them: an SQLite file, without a server and without a network."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from ftlib import artefact, plot

STORE = "mlflow.db"
ODD = re.compile(r"[^\w./ :-]")  # what the name of a metric may not hold


class Log:
    """The experiment of that name in OUT/mlflow.db; look at it with `mlflow ui --backend-store-uri`."""

    def __init__(self, out: Path, experiment: str):
        os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}
        from mlflow import MlflowClient

        out.mkdir(parents=True, exist_ok=True)
        self.client = MlflowClient(f"sqlite:///{out.absolute() / STORE}")
        found = self.client.get_experiment_by_name(experiment)
        self.experiment = found.experiment_id if found else self.client.create_experiment(experiment)

    def add(self, folder: Path) -> None:
        """Logs the run in a folder; one that is there already, by the digest of its manifest, stays as it is.

        A run whose logging was cut short is logged to its end: every entry keeps its time, so none is double.
        """
        from mlflow.entities import Metric, Param, RunTag

        path = folder / "manifest.json"
        manifest, mark = artefact.Manifest.read(folder), hashlib.sha256(path.read_bytes()).hexdigest()
        same = self.client.search_runs([self.experiment], f"tags.manifest = '{mark}'")
        if same and same[0].info.status == "FINISHED":
            return
        end = int(path.stat().st_mtime * 1000)
        start = {"start_time": end - int(manifest.seconds * 1000), "run_name": folder.name}
        made = same[0] if same else self.client.create_run(self.experiment, tags={"manifest": mark}, **start)
        numbers = {"seconds": manifest.seconds, "peak_memory_gb": manifest.peak_memory_gb}
        for name, value in manifest.metrics.items():
            ends = plot.interval(value) or {"mean": value}
            numbers |= {name if end == "mean" else f"{name} {end}": number for end, number in ends.items()}
        entries = {name: value for name, value in numbers.items() if isinstance(value, (int, float))}
        tags = {"chapter": manifest.chapter, "device": manifest.device, **manifest.versions}
        tags |= {f"input {name}": value for name, value in manifest.inputs.items()}
        self.client.log_batch(
            made.info.run_id,
            [Metric(ODD.sub("_", name), float(value), end, 0) for name, value in entries.items()],
            [Param(name, str(value)) for name, value in manifest.parameters.items()],
            [RunTag(name, str(value)) for name, value in tags.items()],
        )
        self.client.set_terminated(made.info.run_id, end_time=end)
