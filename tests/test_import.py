"""The library needs torch, torchvision, numpy, pandas, scikit-learn and pillow only."""

import os
import subprocess
import sys

CODE = """
import sys
for name in ("faiss", "papermill", "anywidget", "ipywidgets", "IPython", "snakemake", "jupyter_book", "nbformat",
             "yaml", "safetensors", "tqdm", "seaborn", "matplotlib", "numba"):
    sys.modules[name] = None
import dataclasses, torch
torch.manual_seed(0)
import reidlib
from reidlib import baseline, data, mining, models, results, training
from reidlib.data.frame import rows_of
from reidlib.data.pedestrians import PRESETS, draw
from reidlib.embedding import embed
from reidlib.losses import triplet
from reidlib.retrieval import CrossCamera, evaluate, search
from reidlib.samplers import PKSampler
frame, images, parts = draw(dataclasses.replace(PRESETS["viper-like"], name="import-test"), size=(32, 16))
store = data.ImageStore(images, parts)
model = models.build("resnet-small", weights=None)
baseline.fit(model, frame, store, steps=3, seed=0, persons=4, views=2)
found = {s: embed(model, store, rows_of(frame, s)) for s in ("query", "gallery")}
query, gallery = (frame[frame["split"] == s] for s in found)
scores = evaluate(found["query"], found["gallery"], query, gallery, CrossCamera())
record = results.new_record("triplet", {"seed": 0}, 0, scores.summary(), {"dataset": "x", "fingerprint": "y"})
results.save(record, sys.argv[1])
print(search(found["query"], found["gallery"], 3).indices.shape, results.load(sys.argv[1]).metrics["mAP"] > 0)
try:
    search(found["query"], found["gallery"], 3, index="hnsw")
except ImportError as error:
    print("faiss" in str(error))
"""


def test_imports_and_trains_without_the_optional_packages(tmp_path):
    command = [sys.executable, "-W", "error", "-c", CODE, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == ["torch.Size([60, 3]) True", "True"]
