"""What `recorded_run.py` runs on a GPU: settings and arms of each chapter at paper scale, and what its options say."""

from typing import NamedTuple


class Experiment(NamedTuple):
    """settings: parameters of its notebook that are options, with their defaults. arms: name -> further parameters.

    scores: metrics in the table, with the digits that are shown.
    """

    settings: dict
    arms: dict
    help: str
    seeds: int = 3
    scores: tuple = (("mAP", 1), ("R1", 1))


COMMON = {
    "dataset": "market-like",
    "root": None,
    "height": 256,
    "width": 128,
    "backbone": "resnet50",
    "weights": "auto",
    "device": "cuda",
    "precision": "bfloat16",
}

# the settings that the papers state, so the arms have the names of the grids that end in @paper
EXPERIMENTS = {
    "triplet": Experiment(
        {"images_seen": 96000, "learning_rate": 1e-4},
        {
            "triplet@paper": {"margin": 0.5},
            "lossless@paper": {"loss": "lossless"},
            "mildnet@paper": {"backbone": "mildnet", "margin": 0.5},
            "lossless-offline2@paper": {"loss": "lossless", "mining": "offline2"},
            "lossless-batch-all@paper": {"loss": "lossless", "mining": "batch_all"},
        },
        "chapter P1: losses, mining, MILDNet",
    ),
    "samplers": Experiment(
        {
            "epochs": 50,
            "iterations": None,
            "batch_size": 32,
            "eps": 0.5,
            "temperature": 0.09,
            "learning_rate": 3.5e-4,
            "evaluate_every": 10,
        },
        {
            "cluster-k8@paper": {"sampler": "cluster", "k": 8},
            "random@paper": {"sampler": "random"},
            "cluster-k32@paper": {"sampler": "cluster", "k": 32},
            "proxy-k8@paper": {"sampler": "proxy", "k": 8},
            "group-n16@paper": {"sampler": "group", "group_size": 16},
        },
        "chapter P0: sampler strategies",
    ),
    "clothing": Experiment(
        {
            "dataset": "ltcc-like",
            "height": 384,
            "width": 192,
            "parsing": "drawn",
            "epochs": 12,
            "stage1_epochs": 4,
            "learning_rate": 3.5e-4,
            "kernel": 7,
            "triple_looks": 0.6,
        },
        {
            "baseline@paper": {"ikt": False, "cbd": False, "sampler": "pk"},
            "ifd@paper": {},
            "masked@paper": {"main_input": "masked", "ikt": False, "cbd": False, "sampler": "pk"},
            "ikt@paper": {"cbd": False, "sampler": "pk"},
            "cbd@paper": {"ikt": False},
            "ifd-cl@paper": {"contrast": "supcon"},
        },
        "chapter P2: Table II of the clothing paper, and the masked picture alone",
    ),
    "label_smoothing": Experiment(
        {
            "images_seen": 32768,
            "batch_size": 32,
            "learning_rate": 0.01,
            "cluster_epochs": 10,
            "gan_height": 128,
            "gan_width": 128,
            "gan_base": 64,
            "gan_batch": 64,
            "gan_rate": 2e-4,
            "g_steps": 2,
            "parent_steps": 955,
            "gan_steps": 318,
        },
        {
            "none@paper": {"target": "none", "lr_mode": "inv"},
            "lsro@paper": {"target": "lsro", "lr_mode": "inv"},
            "slsr@paper": {"lr_mode": "inv"},
            "as-released@paper": {"target": "as_released", "lr_mode": "inv"},
        },
        "chapter P3: no generated images, and three targets of them",
        seeds=1,
    ),
    "reconstruction": Experiment(
        {
            "networks": "reference",
            "generator_start": "none",
            "steps": 250,
            "batch_size": 8,
            "lr_generator": 1e-3,
            "lr_discriminator": 1e-3,
            "lr_appearance": 2e-3,
            "teacher_steps": 300,
            "outline_steps": 1600,
        },
        {  # the last ones are left out first where the time is short
            "l1@paper": {"recon": "l1"},
            "l1+rmse@paper": {"recon": "l1+rmse"},
            "2xl1@paper": {"recon": "l1", "recon_weights": [2.0]},
            "l1+mse@paper": {"recon": "l1+mse"},
            "rmse@paper": {"recon": "rmse"},
        },
        "chapter P4: DG-Net with L1, RMSE, two sums, and twice L1",
        seeds=1,
        scores=(("mAP", 1), ("R1", 1), ("frechet", 2), ("identity", 1), ("outline", 1)),
    ),
}
PRECISIONS = ("float32", "bfloat16", "float16")
HELP = {
    "root": "folder of a data set on disk: --dataset market1501 --root DIR",
    "parsing": "label set of the maps: drawn, lip, atr, pascal",
    "epochs": "of training; on clothes, of both streams jointly",
    "stage1_epochs": "before that, of the attention stream alone, in the arms that have one",
    "kernel": "of the convolution that makes the attention weights: CBAM's 7 on the 24x12 places of 384x192 pixels",
    "backbone": "the trunk of every arm but mildnet",
    "weights": "auto (a warm start on other drawn people; ImageNet for a data set on disk), imagenet, none, or a file",
    "iterations": "batches an epoch; the paper's 400 are for 751 people, so the default is as many for each person "
    "(69 on market-like, 400 on market1501)",
    "parent_steps": "of the generator of all images: 30 epochs of the 2,037 images of market-like",
    "gan_steps": "of each cluster's generator: 30 epochs of a third of them",
    "networks": "reference (DG-Net's own, for 256x128 pixels), or small (fewer layers and maps, for 64x32)",
    "generator_start": "none (from noise), or auto (small networks on drawn people: trained on others before)",
    "steps": "of DG-Net, 100,000 in the paper; 250 are estimated to let five arms end within eight minutes on one "
    "H100: 0.12 to 0.25 s a step of 5 TFLOP and 14,000 small operations, and 20 s a run of scoring",
    "lr_generator": "of Adam: ten times DG-Net's, as in the reduced schedule of the grid; for 100,000 steps 1e-4",
    "lr_discriminator": "of Adam, likewise",
    "teacher_steps": "of the teacher, once for each seed",
    "outline_steps": "of the network that finds outlines, once (drawn people only)",
}
