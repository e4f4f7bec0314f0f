"""Class lists. A detection's label is the index into its bundle's list; background is not in it."""

from typing import Final

# Order and WordNet ids of ImageNet VID (ILSVRC 2015), as every published SELSA checkpoint uses them.
IMAGENET_VID_WORDNET: Final[dict[str, str]] = {
    "airplane": "n02691156",
    "antelope": "n02419796",
    "bear": "n02131653",
    "bicycle": "n02834778",
    "bird": "n01503061",
    "bus": "n02924116",
    "car": "n02958343",
    "cattle": "n02402425",
    "dog": "n02084071",
    "domestic_cat": "n02121808",
    "elephant": "n02503517",
    "fox": "n02118333",
    "giant_panda": "n02510455",
    "hamster": "n02342885",
    "horse": "n02374451",
    "lion": "n02129165",
    "lizard": "n01674464",
    "monkey": "n02484322",
    "motorcycle": "n03790512",
    "rabbit": "n02324045",
    "red_panda": "n02509815",
    "sheep": "n02411705",
    "snake": "n01726692",
    "squirrel": "n02355227",
    "tiger": "n02129604",
    "train": "n04468005",
    "turtle": "n01662784",
    "watercraft": "n04530566",
    "whale": "n02062744",
    "zebra": "n02391049",
}

IMAGENET_VID: Final[tuple[str, ...]] = tuple(IMAGENET_VID_WORDNET)

# The 80 classes of COCO 2017 detection, in the order of their category ids.
COCO: Final[tuple[str, ...]] = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard",
    "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase",
    "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
