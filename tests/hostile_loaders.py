"""Every loader with honest input, and what to attack it with beyond broken bytes. For `hostile.py`, in its child."""

from hostile import Loader
from hostile_arrays import (
    NPY,
    NPZ,
    PREDICTIONS_NPY,
    PREDICTIONS_NPZ,
    idx_attacks,
    load_idx,
    load_predictions,
    make_idx,
    make_npy,
    make_npz,
    make_predictions,
)
from hostile_bombs import official_attacks
from hostile_evaluation import (
    JOURNAL,
    METRICS,
    RESULTS,
    load_journal,
    load_metrics,
    load_results,
    make_journal,
    make_metrics,
    make_results,
)
from hostile_models import (
    MODEL,
    Reader,
    Writer,
    load_checkpoint,
    load_i3d,
    load_lpips,
    load_model,
    load_official,
    make_ckpt,
    make_config,
    make_i3d,
    make_lpips,
    make_model,
    make_official,
    save_script,
    torch_attacks,
)
from hostile_text import through_crew, yaml_attacks
from hostile_videos import (
    AVI,
    BAIR,
    GIF,
    KTH,
    LEROBOT,
    MP4,
    PNGS,
    STORE,
    load_clip,
    load_store,
    make_bair,
    make_kth,
    make_lerobot,
    make_pngs,
    make_store,
    make_video,
)

from stochvid.config import load_config

LOADERS = {
    "config": Loader(make_config, lambda f: load_config(f / "c.yaml"), yaml_attacks("c.yaml")),
    "model": Loader(make_model, load_model, MODEL),
    "ckpt": Loader(make_ckpt, load_checkpoint, torch_attacks("step-00000001.ckpt")),
    "official_old": Loader(make_official(True), load_official, torch_attacks("svg.pth")),
    "official_zip": Loader(make_official(False), load_official, official_attacks(), seconds=10, spare=500 << 20),
    "lpips": Loader(make_lpips, load_lpips, torch_attacks("alex.pth")),
    "fvd": Loader(
        make_i3d,
        load_i3d,
        torch_attacks("i3d.pt")
        | {
            "writes a file": lambda f: save_script(Writer(), f / "i3d.pt"),
            "reads a file": lambda f: save_script(Reader(), f / "i3d.pt"),
        },
    ),
    "npy": Loader(make_npy, through_crew("arrays"), NPY),
    "npz": Loader(make_npz(False), through_crew("arrays"), NPZ),
    "npz_packed": Loader(make_npz(True), through_crew("arrays")),
    "npy_clip": Loader(make_npy, load_clip("a.npy"), NPY),
    "npz_clip": Loader(make_npz(True), load_clip("a.npz"), NPZ),
    "predictions_npy": Loader(make_predictions("p.npy"), load_predictions("p.npy"), PREDICTIONS_NPY),
    "predictions_npz": Loader(make_predictions("p.npz"), load_predictions("p.npz"), PREDICTIONS_NPZ),
    "idx": Loader(make_idx(""), load_idx, idx_attacks("")),
    "idx_gz": Loader(make_idx(".gz"), load_idx, idx_attacks(".gz")),
    "mp4": Loader(make_video("a.mp4", "libx264"), load_clip("a.mp4"), MP4),
    "mp4_mpeg4": Loader(make_video("a.mp4", "mpeg4"), load_clip("a.mp4"), MP4),
    "avi": Loader(make_video("a.avi", "mpeg4"), load_clip("a.avi"), AVI),
    "gif": Loader(make_video("a.gif", "gif", "rgb8"), load_clip("a.gif"), GIF),
    "png": Loader(make_pngs, load_clip("clip"), PNGS),
    "videos": Loader(make_video("a.mkv", "libx264"), through_crew("videos")),
    "pictures": Loader(make_pngs, through_crew("videos"), PNGS),
    "bair": Loader(make_bair, through_crew("bair"), BAIR),
    "kth": Loader(make_kth, through_crew("kth"), KTH),
    "lerobot": Loader(make_lerobot, through_crew("lerobot"), LEROBOT),
    "store": Loader(make_store, load_store, STORE),
    "results": Loader(make_results, load_results, RESULTS),
    "journal": Loader(make_journal, load_journal, JOURNAL),
    "metrics": Loader(make_metrics, load_metrics, METRICS),
}
