"""What `--help` says of stochvid and of every command, with examples."""

DESCRIPTION = """\
Draw many sharp, different, plausible futures of a video, and say how uncertain each step is.

  stochvid demo                                          what it does, in seconds
  stochvid train --config laptop                         train a small model in minutes (no data needed)
  stochvid prepare my-videos data/videos                 decode your videos once, to train on them
  stochvid search --config laptop --space space.yaml     find better settings by many short trainings
  stochvid predict runs/laptop moving-mnist:1 my.mp4     draw futures of clips
  stochvid evaluate runs/laptop                          score them as the papers do
  stochvid doctor runs/laptop                            is something wrong with it?
  stochvid uncertainty runs/laptop                       is it uncertain where the motion is?
  stochvid surprise runs/laptop long.mp4                 when does a video do what nobody expects?
  stochvid watch runs/laptop /dev/video0                 the same of a camera, frame by frame
  stochvid app runs/laptop                               all of this on a web page, on this machine"""

DEMO = """\
Draw futures with a shipped model: no data, no network, seconds.

  stochvid demo            two digits that bounce
  stochvid demo pusht      a robot that pushes a block, driven by what it did"""

TRAIN = """\
Train a model; the run folder gets config.yaml, metrics.csv, checkpoints/, samples/ and model/.

  stochvid train --videos my-videos                      your own videos, prepared first
  stochvid train --config smmnist-lp --data.mnist PATH
  stochvid train --config laptop --optim.lr 1e-3 --out runs/slower
  stochvid train --resume runs/slower --trainer.max_steps 4000"""

SEARCH = """\
Search for better settings: many trainings, proposed by Optuna; those that are no good end early.

  stochvid search --config laptop --space space.yaml --trials 30 --trainer.max_steps 1000
  stochvid search --data.store data/videos --space space.yaml --minutes 60
  stochvid search --config laptop --space space.yaml --storage shared/study.log     the same, on each machine

space.yaml holds what may vary:

  optim.lr: {low: 1.0e-4, high: 1.0e-2, log: true}
  model.z_dim: [4, 8, 16]

The folder gets best.yaml (a config), report.md, trials.csv and pictures. Stopped, the same command goes on.
docs/search.md tells more."""

PREDICT = """\
Draw futures of clips; each clip gets a folder with futures.gif, futures.mp4, strip.png, uncertainty.png, maps.gif,
maps.png, futures.npz.

  stochvid predict runs/laptop moving-mnist:1 --samples 7 --horizon 30
  stochvid predict runs/mine lab.mp4 frames/ array.npy --fit crop --out futures"""


PREPARE = """\
Decode clips once into a store to train on: a memory-mapped array for each split, and an index.

  stochvid prepare my-videos data/videos --size 64        videos or folders of frames; what it is, is recognised
  stochvid prepare KTH data/kth64                         the original tree of AVI files
  stochvid prepare softmotion30_44k data/bair             BAIR's TFRecords
  stochvid prepare moving-mnist data/test --variant srvp2020 --mnist PATH     the published test set
  stochvid prepare --verify data/kth64                    compare a store with its checksums

Stopped by Ctrl-C or a full disk, the same command goes on where it was. docs/data.md tells more."""

EVALUATE = """\
Score futures by a published protocol: results.json, curves.csv, curves.png, best.gif, and a table.

  stochvid evaluate runs/laptop                                            on the clips that it was trained for
  stochvid evaluate runs/kth-fp --data data/kth-srvp-test --clips 1000     against the published numbers
  stochvid evaluate copy-last --data laptop                                a floor: the last given frame stays
  stochvid evaluate --predictions theirs.npy --data data/test --context 5  futures of any other tool

Stopped by Ctrl-C, the same command with --resume continues. docs/evaluation.md has the protocols step by step."""

COMPARE = """\
Put evaluations of one protocol on the same clips side by side: a table and a plot, and differences clip by clip.

  stochvid compare evaluations/copy-last evaluations/lp evaluations/fp --out comparison"""

UNCERTAINTY = """\
Compare the prior's σ with the true bounces of Moving MNIST: AUROC, σ around a bounce, and a clip's σ above its frames.

  stochvid uncertainty runs/laptop
  stochvid uncertainty runs/smmnist-lp --mnist PATH --clips 1000"""

DOCTOR = """\
What is wrong with a model, in sentences with numbers, and what to try next: unused latents, futures that are alike, or
soft, or worth less than a frame that just stays, clips in which nothing moves.

  stochvid doctor runs/mine
  stochvid doctor runs/mine --data data/other-videos"""

SURPRISE = """\
How much each frame of a video surprises the model: KL(q ‖ p) in nats and reconstruction error, CSV and a picture.

  stochvid surprise runs/mine camera.mp4 --out surprise/camera"""

WATCH = """\
Watch a camera, or any frames as they come: a line of JSON for each, with how much it surprised the model.

  stochvid watch runs/mine /dev/video0
  stochvid watch runs/mine camera.mp4                    a file, played in real time
  ffmpeg -i rtsp://camera -f rawvideo -pix_fmt rgb24 - | stochvid watch runs/mine - --raw 640x480x3

frame and seconds count from the first frame; kl is in nats, sigma the prior's, mse per pixel; peak: kl is far above
what is usual lately; dropped: how many frames so far came while the model was busy with another."""

APP = """\
Show a model on a web page, on this machine: futures to play, to scrub and to branch, surprise along a video, and,
where a model is driven by actions, a world to act in.

  stochvid app                       with a shipped model; open http://127.0.0.1:7860
  stochvid app pusht                 one that is driven by actions: play in what it imagines
  stochvid app runs/laptop --port 8000
  stochvid app runs/laptop --allow-host futures.example.org    behind a proxy of that name

It needs gradio: pip install 'stochvid[app]'.

Nothing is loaded from elsewhere. There is no login: docs/app.md says how to let others in."""

IMPORT = """\
Turn a checkpoint of the paper's published code into a model, without executing anything in it.

  stochvid import svglp_smmnist2.pth models/svglp
  stochvid predict models/svglp moving-mnist:1"""

CARD = """\
Put the numbers of evaluations into a model's card, README.md in its folder, which the Hugging Face Hub shows.

  stochvid evaluate runs/mine --out evaluations/mine
  stochvid card runs/mine evaluations/mine"""

EXPORT = """\
Write a model as two graphs that run without stochvid, one for the given frames and one for each step of the future.

  stochvid export runs/laptop exported                            ONNX; needs pip install 'stochvid[export]'
  stochvid export runs/laptop exported --format torch-export      for torch alone, without this package

docs/export.md has the inputs and outputs, and a whole program around them."""

COMMANDS = {
    "demo": DEMO,
    "prepare": PREPARE,
    "train": TRAIN,
    "search": SEARCH,
    "predict": PREDICT,
    "evaluate": EVALUATE,
    "compare": COMPARE,
    "uncertainty": UNCERTAINTY,
    "doctor": DOCTOR,
    "surprise": SURPRISE,
    "watch": WATCH,
    "app": APP,
    "import": IMPORT,
    "export": EXPORT,
    "card": CARD,
}
