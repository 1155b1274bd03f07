"""Images of one's own, made on the spot: what is found and prepared against the arrays they were made of."""

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from bnstudy.config import check_config, config_text
from bnstudy.data import own
from bnstudy.data import prepare as preparing
from bnstudy.data.prepare import prepare
from bnstudy.data.prepared import PreparedData, open_prepared
from bnstudy.data.registry import DATASETS
from bnstudy.errors import UserError
from bnstudy.report.design import dataset_sentence

ROOT = Path(__file__).parents[2]
SPLIT_OFF = "They came without test images: a sixth of each class was set apart."
CLASSES = ("daisy", "rose", "tulip")


@pytest.fixture(autouse=True)
def registry_as_it_was() -> Iterator[None]:
    before = dict(DATASETS)
    yield
    DATASETS.clear()
    DATASETS.update(before)


def random_images(n: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def write_folder(root: Path, images: np.ndarray, suffix: str = ".png") -> Path:
    """Images in class folders, in turn."""
    for i, image in enumerate(images):
        file = root / CLASSES[i % 3] / f"{i:04}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return root


def make(tmp_path: Path, path: Path, **entry: object) -> PreparedData:
    own.register({"flowers": {"path": str(path), **entry}})
    prepare(DATASETS["flowers"], None, tmp_path / "prepared")
    return open_prepared(tmp_path / "prepared")


def all_images(data: PreparedData) -> dict[bytes, int]:
    """Label of each image of both parts, by its bytes."""
    parts = ((data.train_images, data.train_labels), (data.test_images, data.test_labels))
    return {
        image.numpy().tobytes(): int(label)
        for images, labels in parts
        for image, label in zip(images, labels, strict=True)
    }


def planes(images: np.ndarray) -> np.ndarray:
    return images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)


def expected(images: np.ndarray, labels: np.ndarray) -> dict[bytes, int]:
    return {image.tobytes(): int(label) for image, label in zip(planes(images), labels, strict=True)}


# What is found and prepared


def test_a_folder_of_300_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images(300, 9, 7)
    folder = write_folder(tmp_path / "flowers", images)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)  # planning decodes nothing
    own.register({"flowers": {"path": str(folder), "title": "Flowers"}})
    monkeypatch.undo()
    known = DATASETS["flowers"]
    assert (known.shape, known.classes, known.title) == ((1, 9, 7), CLASSES, "Flowers")
    assert (known.n_train, known.n_test) == (249, 51)  # 100 / 6 = 16.7 of each class
    data = make(tmp_path, folder, title="Flowers")
    assert (data.name, data.title, data.classes) == ("flowers", "Flowers", CLASSES)
    assert (data.pixel_max, data.split_off) == (255, True)
    assert all_images(data) == expected(images, np.arange(300) % 3)
    assert data.test_labels.bincount().tolist() == [17, 17, 17]
    assert dataset_sentence(data).endswith("classes. " + SPLIT_OFF)


def test_the_command_gives_the_same_bytes_twice(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "flowers", random_images(300, 8, 8))
    for out in "ab":
        command = ["prepare", "flowers", "--path", str(folder), "--out", str(tmp_path / out)]
        done = subprocess.run([sys.executable, "-m", "bnstudy", *command], check=True, capture_output=True, text=True)
        assert done.stderr == (
            "flowers: 249 training and 51 test images, split off, 8 x 8 pixels, grey; 3 classes: daisy, rose, tulip\n"
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_image_stays_on_its_side_when_others_are_added(tmp_path: Path) -> None:
    images = random_images(300, 6, 6)
    before = make(tmp_path / "a", write_folder(tmp_path / "few", images[:240]))
    after = make(tmp_path / "b", write_folder(tmp_path / "many", images))
    tested = [{image.numpy().tobytes() for image in data.test_images} for data in (before, after)]
    added = {image.tobytes() for image in planes(images[240:])}
    assert len(tested[0]) == 39
    # Those that leave make room for added ones, or others join because the share has grown.
    assert len(tested[0] - tested[1]) <= len(tested[1] & added)


def test_train_and_test_folders(tmp_path: Path) -> None:
    train, test = random_images(60, 8, 8), random_images(12, 8, 8, seed=1)
    write_folder(tmp_path / "flowers/train", train)
    write_folder(tmp_path / "flowers/test", test)
    (tmp_path / "flowers/README.txt").touch()  # beside classes, not in one
    (tmp_path / "flowers/train/.DS_Store").touch()
    data = make(tmp_path, tmp_path / "flowers")
    assert not data.split_off
    assert SPLIT_OFF not in dataset_sentence(data)
    assert {i.numpy().tobytes() for i in data.test_images} == {i.tobytes() for i in test}
    assert len(data.train_images) == 60


def test_jpeg_in_colour_resized_and_turned(tmp_path: Path) -> None:
    """Against Pillow by another way: decoded, turned by hand, resized."""
    folder = write_folder(tmp_path / "flowers", random_images(60, 12, 10, 3), ".JPG")
    upright = Image.Exif()
    upright[0x0112] = 6  # turned by 90 degrees clockwise when shown
    first = folder / "daisy/0000.JPG"
    Image.fromarray(random_images(1, 10, 12, 3)[0]).save(first, exif=upright)
    data = make(tmp_path, folder, size=[6, 5])
    assert DATASETS["flowers"].shape == (3, 6, 5)
    with Image.open(first) as image:
        turned = Image.fromarray(np.rot90(np.asarray(image), -1))
    small = np.asarray(turned.resize((5, 6), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert all_images(data)[small.tobytes()] == 0
    own.register({"flowers": {"path": str(folder)}})
    assert DATASETS["flowers"].shape == (3, 12, 10)


@pytest.mark.parametrize(("grey", "channels"), [(True, 1), (False, 3), (None, 3)])
def test_grey_and_colour(tmp_path: Path, grey: bool | None, channels: int) -> None:
    images = random_images(60, 8, 8, 3)
    folder = write_folder(tmp_path / "flowers", images)
    opaque = np.dstack([images[0], np.full((8, 8), 255, np.uint8)])
    Image.fromarray(opaque).save(folder / "daisy/0000.png")
    data = make(tmp_path, folder, **({} if grey is None else {"grey": grey}))
    assert data.train_images.shape[1:] == (channels, 8, 8)
    if channels == 3:
        assert all_images(data) == expected(images, np.arange(60) % 3)
    else:  # ITU-R 601, which Pillow rounds
        luma = images @ np.array([0.299, 0.587, 0.114])
        grey_ones = np.stack([*data.train_images.numpy(), *data.test_images.numpy()])[:, 0]
        for one in luma:
            assert min(np.abs(found - one).max() for found in grey_ones) <= 1
    if grey is False:
        grey_folder = write_folder(tmp_path / "grey", random_images(60, 8, 8))
        data = make(tmp_path, grey_folder, grey=False)
        assert torch.equal(data.train_images[:, 0], data.train_images[:, 2])


def save_npz(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("layout", ["grey", "grey channel", "channels last", "channels first"])
@pytest.mark.parametrize("scale", ["bytes", "integers", "shares"])
def test_npz(tmp_path: Path, layout: str, scale: str) -> None:
    shape = {"grey": (8, 6), "grey channel": (8, 6, 1)}.get(layout, (8, 6, 3))
    images, labels = random_images(50, *shape), np.arange(50) % 2
    images[0].flat[:2] = 0, 255
    stored = images.transpose(0, 3, 1, 2) if layout == "channels first" else images
    kinds = {"bytes": stored, "integers": stored.astype(np.int64), "shares": stored / 255}
    x, y = kinds[scale], labels[:, None].astype(float)
    path = save_npz(tmp_path / "a.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    data = make(tmp_path, path)
    assert data.train_images.numpy().tobytes() == planes(images[:40]).tobytes()
    assert data.test_images.numpy().tobytes() == planes(images[40:]).tobytes()
    assert torch.cat([data.train_labels, data.test_labels]).tolist() == labels.tolist()
    assert (data.classes, data.pixel_max, data.split_off) == (("0", "1"), 255, False)


def test_npz_without_a_test_part_with_words_and_pixels_up_to_16(tmp_path: Path) -> None:
    images = random_images(60, 5, 5) % 17
    words = np.array(CLASSES)[np.arange(60) % 3]
    data = make(tmp_path, save_npz(tmp_path / "a.npz", x_train=images, y_train=words))
    assert (data.pixel_max, data.classes, data.split_off) == (16, CLASSES, True)
    assert all_images(data) == expected(images, np.arange(60) % 3)
    assert data.test_labels.bincount().tolist() == [3, 3, 3]


def test_numbered_classes_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    images, labels = random_images(66, 4, 4), np.array([1, 2, 10] * 22)
    data = make(tmp_path, save_npz(tmp_path / "a.npz", x_train=images, y_train=labels))
    assert data.classes == ("1", "2", "10")
    assert all_images(data) == expected(images, np.arange(66) % 3)


def write_csv(path: Path, images: np.ndarray, labels: list, name: str = "label", at: int = 0) -> Path:
    cells = [[*map(str, row)] for row in images.reshape(len(images), -1).tolist()]
    header = [f"pixel{i}" for i in range(len(cells[0]))]
    rows = [[*row[:at], str(one), *row[at:]] for row, one in zip(cells, labels, strict=True)]
    lines = [[*header[:at], name, *header[at:]], *rows]
    path.write_text("\n".join(",".join(line) for line in lines) + "\n\n", encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("at", [0, 5, 16])
def test_csv(tmp_path: Path, at: int) -> None:
    images = random_images(60, 4, 4)
    labels = ['"a, b"', "c"] * 30
    path = write_csv(tmp_path / "a.csv", images, labels, "kind of thing", at)
    data = make(tmp_path, path, label="kind of thing")
    assert data.classes == ("a, b", "c")
    assert all_images(data) == expected(images, np.arange(60) % 2)


@pytest.mark.parametrize(
    ("shape", "size", "found"),
    [((5, 5, 3), None, (3, 5, 5)), ((6, 3), [6, 3], (1, 6, 3)), ((6, 3, 3), [6, 3], (3, 6, 3)), ((8, 8), 4, (1, 4, 4))],
)
def test_shapes_of_a_csv(tmp_path: Path, shape: tuple, size: object, found: tuple) -> None:
    images = random_images(24, *shape)
    path = write_csv(tmp_path / "a.csv", images, [0.0, 1.0] * 12)
    data = make(tmp_path, path, **({} if size is None else {"size": size}))
    assert tuple(data.train_images.shape[1:]) == found
    if size != 4:
        assert all_images(data) == expected(images, np.arange(24) % 2)


# What is refused


def good_folder(root: Path) -> Path:
    return write_folder(root / "flowers", random_images(30, 8, 8))


def overwrite(name: str, content: bytes | np.ndarray) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        if isinstance(content, bytes):
            (root / name).write_bytes(content)
        else:
            Image.fromarray(content).save(root / name)

    return change


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return file.getvalue()


GREY, LAST = random_images(1, 8, 8)[0], "tulip/0029.png"
CLEAR = np.dstack([random_images(1, 8, 8, 3)[0], random_images(1, 8, 8)[0]])


@pytest.mark.fault("images of one's own that cannot be used, formulas as classes")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (overwrite(LAST, png(GREY)[:-40]), f"{LAST} cannot be read"),
        (overwrite(LAST, b"no image"), f"{LAST} cannot be read (it is no PNG or JPEG image)"),
        (overwrite(LAST, b""), f"{LAST} cannot be read"),
        (overwrite("daisy/0000.png", png(GREY)[:-40]), "daisy/0000.png cannot be read"),
        (overwrite("daisy/0000.png", b"no image"), "daisy/0000.png cannot be read"),
        (overwrite(LAST, png(random_images(1, 8, 9)[0])), f"{LAST} has 9 x 8 pixels, but "),
        (overwrite(LAST, png(random_images(1, 8, 8, 3)[0])), f"{LAST} is in colour, but "),
        (overwrite(LAST, png(CLEAR)), f"{LAST} is partly transparent"),
        (overwrite(LAST, png(GREY.astype(np.uint16) * 257)), f"{LAST} has pixels of kind I;16"),
        (overwrite("rose/notes.txt", b""), "rose/notes.txt is no PNG or JPEG image"),
        (overwrite("rose/more/0.png", GREY), "rose/more is no PNG or JPEG image"),
        (lambda root: (root / "weed").mkdir(), "weed is empty"),
        (overwrite("weed/0.png", GREY), "too few images of class weed for the train part, 1"),
        (overwrite("we\ned/0.png", GREY), "the class 'we\\ned' has no printable name"),
        (overwrite("=1+cmd()/0.png", GREY), "a spreadsheet would run the class =1+cmd()"),
        (overwrite("@SUM(1)/0.png", GREY), "a spreadsheet would run the class @SUM(1)"),
        (overwrite("-2+3/0.png", GREY), "a spreadsheet would run the class -2+3"),
        (overwrite("-2.5/0.png", GREY), "too few images of class -2.5"),
        (overwrite("train/rose/0.png", GREY), "daisy lies beside a train folder"),
    ],
)
def test_a_folder_that_cannot_be_used(tmp_path: Path, change: Callable, said: str) -> None:
    folder = good_folder(tmp_path)
    change(folder)
    with pytest.raises(UserError) as caught:
        make(tmp_path, folder)
    message = str(caught.value)
    assert said in message
    assert str(folder) in message
    assert "\n" not in message
    assert not (tmp_path / "prepared").exists()


def test_folders_without_classes(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    one = write_folder(tmp_path / "one", random_images(30, 8, 8)[::3].repeat(3, 0)) / "daisy"
    for path, said in [
        (tmp_path / "empty", "empty has no class folders; make one"),
        (one, "daisy has no class folders"),
        (tmp_path / "nowhere", "there is no .*nowhere; name a folder"),
        (overwrite("data.txt", b"")(tmp_path) or tmp_path / "data.txt", "neither a folder nor"),
    ]:
        with pytest.raises(UserError, match=rf"^datasets\.flowers: .*{said}"):
            make(tmp_path, path)
    for part in ("train", "test"):  # which are no classes
        overwrite(f"parts/{part}/0.png", GREY)(tmp_path)
    with pytest.raises(UserError, match="parts/train has no class folders"):
        make(tmp_path, tmp_path / "parts")
    for name in CLASSES[1:]:
        for file in (tmp_path / "one" / name).iterdir():
            file.unlink()
        (tmp_path / "one" / name).rmdir()
    with pytest.raises(UserError, match="has one class only, daisy"):
        make(tmp_path, tmp_path / "one")


X, Y = random_images(40, 6, 6), np.arange(40) % 2
SHARES = X / 255


def altered(array: np.ndarray, value: object) -> np.ndarray:
    """With another value in its eighth image, or label."""
    changed = array.copy()
    changed.reshape(len(changed), -1)[7, -1] = value
    return changed


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x_train": X}, "has no y_train"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "has no y_test"),
        ({"x_train": X, "y_train": Y[:39]}, r"y_train: int64 of shape \(39,\) for 40 images"),
        ({"x_train": X, "y_train": np.eye(2)[Y]}, r"y_train: float64 of shape \(40, 2\)"),
        ({"x_train": X, "y_train": altered(Y, -1)}, "label of image 8, -1, is out of range"),
        ({"x_train": X, "y_train": altered(Y / 1.0, 0.5)}, "label of image 8, 0.5, is out of"),
        ({"x_train": X, "y_train": altered(Y / 1.0, np.nan)}, "image 8 has no label"),
        ({"x_train": X, "y_train": 0 * Y}, "has one class only, 0"),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 1}, "images of class 0 for the "),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 2 * (Y == 1)}, "class 1 for the "),
        (
            {"x_train": X, "y_train": Y, "x_test": X, "y_test": np.where(np.arange(40) == 9, 7, Y)},
            "test images of class 7 but none to train on",
        ),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :5], "y_test": Y}, "differ in shape"),
        ({"x_train": X[:, 0], "y_train": Y}, r"x_train has shape \(40, 6\)"),
        ({"x_train": altered(SHARES, np.nan), "y_train": Y}, "train image 8 has a pixel of nan"),
        ({"x_train": altered(SHARES, np.inf), "y_train": Y}, "train image 8 has a pixel of inf"),
        ({"x_train": altered(X * 1.0, -1), "y_train": Y}, "train image 8 has a pixel of -1"),
        ({"x_train": altered(X * 1.0, 0.5), "y_train": Y}, "train image 8 has a pixel of 0.5"),
        ({"x_train": altered(X.astype(int), 256), "y_train": Y}, "train image 8 has a pixel of 256"),
        ({"x_train": X * 0, "y_train": Y}, "all pixels are 0"),
        ({"x_train": X * 1j, "y_train": Y}, "pixels are complex128"),
        ({"x_train": X, "y_train": np.array([None] * 40)}, "cannot be read .*allow_pickle=False"),
    ],
)
def test_an_npz_that_cannot_be_used(tmp_path: Path, arrays: dict, said: str) -> None:
    path = save_npz(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=said) as caught:
        make(tmp_path, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 100, 1000])
def test_a_damaged_npz(tmp_path: Path, kept: int) -> None:
    path = save_npz(tmp_path / "a.npz", x_train=X, y_train=Y)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"a\.npz cannot be read"):
        make(tmp_path, path)
    whole = save_npz(tmp_path / "b.npz", x_train=X, y_train=Y)
    content = bytearray(whole.read_bytes())
    content[500] ^= 1
    whole.write_bytes(content)
    with pytest.raises(UserError, match=r"b\.npz cannot be read \(Bad CRC-32"):
        make(tmp_path, whole)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("label", "kind", "has no column 'label'; name the labels' column by `label`"),
        ("\n1,", "\n,", "image 2 has no label"),
        ("\n1,", "\n-1,", "the label of image 2, -1, is out of range"),
        ("\n1,", "\n1.5,", "the label of image 2, 1.5, is out of range"),
        ("\n1,", "\n1,7,", "line 3: there are not as many values as in the header, 17"),
        (",200,", ",nan,", "has a pixel of nan"),
        (",200,", ",,", "cannot be read"),
        (",200,", ",many,", "cannot be read"),
        (",200,", ",256,", "has a pixel of 256"),
        (",pixel3", "", "there are not as many values"),
    ],
)
def test_a_csv_that_cannot_be_used(tmp_path: Path, old: str, new: str, said: str) -> None:
    images = random_images(30, 4, 4)
    images[3, 2, 2] = 200
    path = write_csv(tmp_path / "a.csv", images, [0, 1] * 15)
    text = path.read_text(encoding="utf-8-sig")
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        make(tmp_path, path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_csv_of_no_shape(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", random_images(30, 5, 4), [0, 1] * 15)
    with pytest.raises(UserError, match="20 columns of pixels, which make no square"):
        make(tmp_path, path)
    path.write_bytes(b"label,a\n\xff\xfe")
    with pytest.raises(UserError, match=r"a\.csv cannot be read"):
        make(tmp_path, path)


# In a configuration


def configured(**datasets: dict) -> dict:
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    config |= yaml.safe_load((ROOT / "config/studies.yaml").read_text())
    config["datasets"] = datasets
    config["grid"] |= {"dataset": list(datasets), "batch_size": [16]}
    for name in ("input_scaling", "long_training"):  # in batches of 64, more than there are images
        config["studies"][name]["enabled"] = False
    return config


def test_a_configuration_knows_it_without_pytorch(tmp_path: Path) -> None:
    write_folder(tmp_path / "data/flowers", random_images(60, 8, 8))
    config = configured(flowers={"path": "data/flowers"})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    code = (
        "import sys, yaml; from bnstudy.config import DATASETS, check_config;"
        "check_config(yaml.safe_load(open('config.yaml'))); found = DATASETS['flowers']; print(found.n_train, found.shape, len(found.classes));"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "51 (1, 8, 8) 3\nFalse\n"


def test_batches_are_checked_against_what_was_found(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "flowers", random_images(60, 8, 8))
    config = configured(flowers={"path": str(folder)})
    config["grid"]["batch_size"] = [50]
    with pytest.raises(UserError, match="50 is larger than the 41 training images of flowers"):
        check_config(config)


@pytest.mark.parametrize(
    ("name", "entry", "said"),
    [
        ("flowers", {}, "datasets.flowers.path: this key is missing"),
        ("flowers", {"path": 3}, "datasets.flowers.path: 3 is not text"),
        ("flowers", {"path": "x", "names": "a"}, "datasets.flowers.names: there is no such key"),
        ("flowers", {"path": "x", "size": 0}, "datasets.flowers.size: 0 is too small"),
        ("flowers", {"path": "x", "grey": "no"}, 'datasets.flowers.grey: "no" is not true or false'),
        ("flowers", {"path": "nowhere"}, "datasets.flowers: there is no nowhere; name a folder"),
        ("../x", {"path": "x"}, 'datasets: "../x" cannot be a file name here'),
        ("mnist", {"path": "x"}, "datasets.mnist: there is a dataset of this name already"),
    ],
)
def test_a_declaration_that_cannot_be_used(name: str, entry: dict, said: str) -> None:
    with pytest.raises(UserError) as caught:
        check_config(configured(**{name: entry}))
    assert str(caught.value).startswith(said)


def test_the_record_names_no_place_and_serves_without_the_images(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "flowers", random_images(60, 8, 8))
    config = configured(flowers={"path": str(folder)})
    check_config(config)
    before, text = DATASETS.pop("flowers"), config_text(config)
    assert str(tmp_path) not in text
    recorded = yaml.safe_load(text)
    check_config(recorded)
    assert DATASETS["flowers"] == type(before)(**{**vars(before), "own": DATASETS["flowers"].own})
    assert repr(DATASETS["flowers"]) == repr(before)
    assert config_text(recorded) == text


def test_content_decides_and_neither_place_nor_date(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "flowers", random_images(60, 8, 8))

    def source(path: Path, **entry: object) -> str:
        own.register({"flowers": {"path": str(path), **entry}})
        return own.source(DATASETS["flowers"])

    first = source(folder)
    moved = folder.rename(tmp_path / "moved")
    (moved / "rose/.hidden").touch()
    assert source(moved) == first
    assert len({first, source(moved, size=9), source(moved, grey=True), source(moved, title="T")}) == 4
    (moved / "daisy/0000.png").rename(moved / "rose/0000.png")
    assert source(moved) != first
    (moved / "rose/0000.png").rename(moved / "daisy/0000.png")
    overwrite(LAST, png(GREY))(moved)
    assert source(moved) != first


def test_what_the_command_is_told_is_what_is_declared(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "flowers", random_images(60, 8, 8))
    entry = {"path": str(folder), "title": "Mine: {a} 'b'", "size": [6, 5], "grey": False}
    own.register({"flowers": dict(entry)})
    declared = DATASETS.pop("flowers")
    preparing.main(["flowers", *own.options(entry), "--out", str(tmp_path / "prepared")])
    assert DATASETS["flowers"] == declared
    assert open_prepared(tmp_path / "prepared").title == "Mine: {a} 'b'"
